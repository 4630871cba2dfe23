/// Where the fields of a kring lie. Four 128-byte lines, one for each kind of writer.
///
/// - `0..<128`: the indexes a sync of this ring reads and writes; nobody else does.
/// - `128..<384`: counters, written by the same sync, read by whoever shows statistics.
/// - `384..<512`: the outbox, written by this side, read by the other end: where it has got to. Its
///   wait word is the one word here the other end writes, and only when it goes to sleep.
///
/// Pairs of 64-byte lines, because processors fetch neighbouring lines together: two sides that
/// write to one pair would slow each other down.
package enum KRingLayout {
  package static let byteCount = 512

  static let lock = 0
  static let hwcur = 8
  static let hwtail = 12
  static let rhead = 16
  static let rcur = 20
  static let rtail = 24
  static let state = 28
  static let offsetMask = 32
  static let offsetMax = 40
  static let offsetGap = 48

  // What a process needs to build its own view of the ring.
  static let slotCount = 64
  static let ringID = 68
  static let direction = 72
  static let kind = 76
  static let ringOffset = 80
  static let peerKRing = 88
  static let peerRingOffset = 96

  static let counters = 128
  static let drops = 192

  static let position = 384
  static let waitWord = 388
}

/// What a ring belongs to, which decides what a sync of it does.
package enum RingKind: UInt32, Sendable {
  /// No packets move (null ports).
  case null = 0
  /// Whatever is sent vanishes (a virtual port that is attached to nothing).
  case discard = 1
  /// One direction of a pipe.
  case pipe = 2
  /// A backend moves the packets.
  case backend = 3
}

/// Transmit or receive, seen from the application.
@frozen
public enum Direction: UInt32, Sendable, CaseIterable {
  case receive = 0
  case transmit = 1
}
