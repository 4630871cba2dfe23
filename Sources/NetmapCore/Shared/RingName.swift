internal import Synchronization

/// The name of a ring in a doorbell's message: the number of the ring's sync segment, and the place of the kring with the
/// wait word that the sleeper has armed.
///
/// Each process on the port can change the segment's number, and each process that has the doorbell can send any name.
/// A wrong name makes its receiver look at a ring needlessly, or lose a wake-up until its next look at all rings.
package struct RingName: Hashable, Sendable {
  package let rawValue: UInt64

  /// Stands for all rings: the process that rings does not know which ones have made progress.
  package static let unknown = RingName(rawValue: 0)

  private init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// - Parameters:
  ///   - segment: The segment's number.
  ///   - kring: The place of the kring among the segment's krings.
  init(segment: UInt32, kring: Int) {
    rawValue = UInt64(segment) << 32 | UInt64(UInt32(truncatingIfNeeded: kring &+ 1))
  }

  /// The segment's number.
  package var segment: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
  /// The place of the kring plus one.
  package var position: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
}

extension WaitWord {
  /// The name of the ring whose sleepers the word announces.
  package var name: RingName {
    let segment = unsafe list - SyncSegmentLayout.waiters
    let number = unsafe (segment + SyncSegmentLayout.number).assumingMemoryBound(
      to: Atomic<UInt32>.self
    ).pointee.load(ordering: .relaxed)
    // Segments without a number have no krings, and their names are not known.
    guard number != 0 else { return .unknown }
    let distance = unsafe word - segment - SyncSegmentLayout.krings - KRingLayout.waitWord
    return RingName(segment: number, kring: distance / KRingLayout.byteCount)
  }
}
