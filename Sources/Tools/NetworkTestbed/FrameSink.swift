internal import CLinux
package import NetmapCore
internal import NetmapLinuxSetup

/// Counts and drops all frames that an interface receives, with an XDP program in its driver.
package final class FrameSink: Sendable {
  private let counter: FrameCounter
  private let link: BPFLink

  /// - Parameter end: An interface without an XDP program.
  /// - Throws: ``NetmapError`` `EPERM` without the right to load programs, and other errors of the
  ///   kernel.
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

  /// Number of frames that have arrived so far.
  package var count: UInt64 { counter.count }
}
