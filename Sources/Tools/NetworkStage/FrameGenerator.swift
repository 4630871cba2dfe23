internal import CBPF
internal import CLinux
internal import Glibc
package import NetmapCore
internal import NetmapLinuxSetup

/// Makes frames in the kernel, faster than any program could send them: `BPF_PROG_TEST_RUN` with
/// `BPF_F_TEST_XDP_LIVE_FRAMES`, Documentation/bpf/bpf_prog_run.rst. Linux 5.18 or later.
///
/// Everything the kernel does with a frame until a receiver's queue has it happens on the CPU of the
/// thread that calls ``run(_:)``.
package final class FrameGenerator: Sendable {
  /// Where the frames enter the receiving end of a pair.
  package enum Entry: Sendable {
    /// They come over the veth: for a receiver with an XDP program in the driver.
    case driver
    /// They begin in the stack, as if just received: where generic XDP and packet sockets look.
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
  ///   - entry: How.
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
    // A program that is attached nowhere is entered into the kernel's XDP dispatcher for each call and
    // taken out again, 20 to 30 ms each time. On an interface that is down it is in nobody's way.
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

  /// Makes `count` frames, and returns when each of them is where it goes or lost.
  ///
  /// - Throws: ``NetmapError`` when the kernel refuses; `EINVAL` where it has no live frames.
  package func run(_ count: Int) throws(NetmapError) {
    let result = unsafe cbpf_run_live_frames(
      program, frame, UInt32(frame.count), interface, CInt(count))
    // EINTR: a signal came; what has been made until then is counted.
    guard result == 0 || -result == EINTR else {
      throw BPFObject.refusal(-result, "make frames", subject)
    }
  }

  /// Frames made so far.
  package var count: UInt64 { counter.count }
}
