internal import CLinux
package import NetmapCore
internal import NetmapLinuxSetup

/// Where frames end: an XDP program in the driver of an interface that counts and drops all it gets.
package final class FrameSink: Sendable {
  private let counter: FrameCounter
  private let link: BPFLink

  /// - Parameter end: An interface without an XDP program.
  /// - Throws: ``NetmapError`` `EPERM` without the right to load programs, and what else the kernel
  ///   has to say.
  package init(on end: Link) throws(NetmapError) {
    counter = try FrameCounter(for: end.name)
    var failure: Int32 = 0
    let link = BPFLink(
      try counter.program("bench_drop"), to: end.index, type: CLINUX_BPF_XDP,
      flags: CLINUX_XDP_FLAGS_DRV_MODE, failure: &failure)
    guard let link else {
      throw BPFObject.refusal(failure, "attach an XDP program", end.name)
    }
    self.link = link
  }

  /// Frames that have arrived so far.
  package var count: UInt64 { counter.count }
}
