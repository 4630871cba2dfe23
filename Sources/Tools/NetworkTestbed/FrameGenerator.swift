internal import CBPF
internal import CLinux
internal import Glibc
package import NetmapCore
internal import NetmapLinuxSetup

/// Makes frames in the kernel, faster than a program could send them.
///
/// Uses `BPF_PROG_TEST_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES` (Documentation/bpf/bpf_prog_run.rst), which needs
/// Linux 5.18. The CPU of the thread that calls ``run(_:)`` does all of the kernel's work on a frame until the
/// frame is in a receiver's queue.
package final class FrameGenerator: Sendable {
  /// Where the frames reach the receiving end of a pair.
  package enum Entry: Sendable {
    /// Over the veth pair: for a receiver with an XDP program in the driver.
    case driver
    /// In the stack, as if just received: for receivers with generic XDP or packet sockets.
    case stack
  }

  private let counter: FrameCounter
  private let program: CInt
  private let parked: BPFLink
  private let interface: UInt32
  private let frame: [UInt8]
  private let subject: String

  /// - Parameters:
  ///   - pair: Frames arrive at its first end.
  ///   - entry: Where frames reach that end.
  ///   - frame: The bytes of each frame.
  /// - Throws: ``NetmapError`` `EPERM` without the right to load programs.
  package init(
    to pair: VethPair, entry: Entry, frame: [UInt8]
  ) throws(NetmapError) {
    counter = try FrameCounter(for: pair.first.name)
    program = try counter.program(entry == .driver ? "bench_send" : "bench_receive")
    interface = entry == .driver ? pair.second.index : pair.first.index
    self.frame = frame
    subject = pair.first.name
    // For each call, the kernel adds a program that is not attached anywhere to its XDP dispatcher and removes
    // it afterwards, which takes 20 to 30 ms each time. So the program is attached to a spare interface that is
    // down and carries no frames.
    let spare = try VethPair("parked0", "parked1", isUp: false)
    var failure: Int32 = 0
    let parked = BPFLink(
      program, to: spare.first.index, type: CLINUX_BPF_XDP, flags: CLINUX_XDP_FLAGS_SKB_MODE,
      failure: &failure)
    guard let parked else {
      throw BPFObject.refusal(failure, "attach an XDP program", spare.first.name)
    }
    self.parked = parked
  }

  /// Makes `count` frames, and returns when each has been delivered or lost.
  ///
  /// - Throws: ``NetmapError`` when the kernel refuses; `EINVAL` from a kernel without live frames.
  package func run(_ count: Int) throws(NetmapError) {
    let result = unsafe cbpf_run_live_frames(
      program, frame, UInt32(frame.count), interface, CInt(count))
    // EINTR: a signal arrived. The counter has the frames made until then.
    guard result == 0 || -result == EINTR else {
      throw BPFObject.refusal(-result, "generate frames", subject)
    }
  }

  /// Number of frames made so far.
  package var count: UInt64 { counter.count }
}
