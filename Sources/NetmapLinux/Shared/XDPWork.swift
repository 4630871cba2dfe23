internal import Synchronization

/// What the XDP program on a veth has done to the frames of one queue, since the program was loaded.
package struct XDPWork: Equatable, Sendable {
  /// Checksums that it completed.
  package var checksums: UInt64 = 0
  /// VLAN tags that it put back into frames.
  package var tags: UInt64 = 0
  /// Frames that it dropped because it could not complete them.
  package var unfinished: UInt64 = 0

  package init() {}
}

/// A view of the counters of one queue. It owns nothing.
@unsafe
package struct XDPWorkCounters {
  private let base: UnsafeMutableRawPointer

  /// - Parameter base: The first byte of the queue's counters.
  init(_ base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  @inline(__always)
  private func word(_ index: Int) -> UInt64 {
    unsafe (base + 8 * index).assumingMemoryBound(to: Atomic<UInt64>.self)
      .pointee.load(ordering: .relaxed)
  }

  /// The present values, each loaded once.
  @inline(__always)
  package var work: XDPWork {
    var result = XDPWork()
    unsafe result.checksums = word(0)
    unsafe result.tags = word(1)
    unsafe result.unfinished = word(2)
    return result
  }
}
