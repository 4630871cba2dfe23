/// Where the fields of a kring lie. 128-byte lines, one for each kind of writer.
///
/// - `0..<128`: the indexes a sync of this ring reads and writes; nobody else does.
/// - `128..<384`: counters, written by the same sync, read by whoever shows statistics.
/// - `384..<512`: the outbox, written by this side, read by the other end: where it has got to, and
///   on its second line the wait word, the one word here the other end writes, and only when it goes to
///   sleep. Senders on a switch read that for each lease, and the first line only when they need to.
/// - `512..<640`: of a switch port's receive ring: where senders reserve slots, what they were refused, and
///   who waits for room.
/// - `640..<768`: of a switch port's transmit ring: what its sender is about to reserve, and where; who has
///   got its first packet already. Of a receive ring: what an application is exchanging with another ring.
///
/// Pairs of 64-byte lines, because processors fetch neighbouring lines together: two sides that
/// write to one pair would slow each other down.
///
/// Computed, not stored: a stored constant would be a call for the modules of backends.
@usableFromInline
package enum KRingLayout {
  @inlinable package static var byteCount: Int { 768 }

  @inlinable package static var lock: Int { 0 }
  @inlinable package static var hwcur: Int { 8 }
  @inlinable package static var hwtail: Int { 12 }
  @inlinable package static var rhead: Int { 16 }
  @inlinable package static var rcur: Int { 20 }
  @inlinable package static var rtail: Int { 24 }
  @inlinable package static var state: Int { 28 }
  @inlinable package static var offsetMask: Int { 32 }
  @inlinable package static var offsetMax: Int { 40 }
  @inlinable package static var offsetGap: Int { 48 }
  @inlinable package static var published: Int { 56 }

  // What a process needs to build its own view of the ring.
  @inlinable package static var slotCount: Int { 64 }
  @inlinable package static var ringID: Int { 68 }
  @inlinable package static var direction: Int { 72 }
  @inlinable package static var kind: Int { 76 }
  @inlinable package static var ringOffset: Int { 80 }
  @inlinable package static var peerKRing: Int { 88 }
  @inlinable package static var peerRingOffset: Int { 96 }

  /// The lease that a switch port's receive ring waits for.
  @inlinable package static var arriving: Int { 104 }
  /// Whether senders keep what a switch port's receive ring has no room for, and wait.
  @inlinable package static var holdsSenders: Int { 112 }

  @inlinable package static var counters: Int { 128 }
  @inlinable package static var drops: Int { 192 }

  @inlinable package static var position: Int { 384 }
  @inlinable package static var waitWord: Int { 448 }

  // Read together by every sender, so on the line that they write anyway.
  @inlinable package static var reservation: Int { 512 }
  @inlinable package static var isOpen: Int { 520 }
  @inlinable package static var openRingOffset: Int { 528 }
  @inlinable package static var openOffsetMask: Int { 536 }
  @inlinable package static var openOffsetMax: Int { 544 }
  @inlinable package static var refusedFull: Int { 552 }
  @inlinable package static var refusedBusy: Int { 560 }
  /// Of both rings of a switch port: its virtio-net header and longest frame (``FrameShape``).
  @inlinable package static var frameShape: Int { 568 }
  /// Ports whose senders sleep until the ring has room: one bit each, four words.
  @inlinable package static var heldSenders: Int { 576 }

  @inlinable package static var intent: Int { 640 }
  /// Of a receive ring: the ``ExchangeNote`` of an application that is forwarding from it. Four words.
  @inlinable package static var exchange: Int { 640 }
  /// Ports that have got the broadcast which waits for others: one bit each, four words; and of which
  /// slot that is, plus one.
  @inlinable package static var delivered: Int { 672 }
  @inlinable package static var deliveredSlot: Int { 704 }
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
  /// A port of a VALE switch.
  case bridge = 4
}

/// Transmit or receive, seen from the application.
@frozen
public enum Direction: UInt32, Sendable, CaseIterable {
  case receive = 0
  case transmit = 1
}
