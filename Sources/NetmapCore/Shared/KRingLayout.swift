/// Offsets of the fields of a kring, grouped in 128-byte lines by writer.
///
/// - `0..<128`: the indexes that a sync of this ring reads and writes, and the description of the ring.
/// - `128..<384`: counters, written by the same sync, read by processes that show statistics.
/// - `384..<512`: the outbox, written by this side, read by the other end: this side's position, and, on the
///   second line, the wait word. The wait word is the only word here that the other end writes, and only when it
///   goes to sleep. A sender on a switch reads the wait word for each lease, and the first line only when it
///   needs to.
/// - `512..<640`: for a switch port's receive ring: where senders reserve slots, counts of refused packets, and
///   the ports whose senders wait for room.
/// - `640..<768`: for a switch port's transmit ring: the reservation that its sender is about to make, and the
///   ports that already have the broadcast at its head. For a receive ring: the exchange of an application with
///   another ring. For both, at the end: the ring's monitors. For those who fill a monitor's ring without copies: their
///   exchange.
///
/// A line here is a pair of 64-byte cache lines, because processors fetch neighboring lines together: two sides
/// that write to the same pair would slow each other down.
///
/// The offsets are computed properties, because a stored constant would cost the modules of backends a call.
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

  // The description from which a process builds its own view of the ring.
  @inlinable package static var slotCount: Int { 64 }
  @inlinable package static var ringID: Int { 68 }
  @inlinable package static var direction: Int { 72 }
  @inlinable package static var kind: Int { 76 }
  @inlinable package static var ringOffset: Int { 80 }
  @inlinable package static var peerKRing: Int { 88 }
  @inlinable package static var peerRingOffset: Int { 96 }

  /// The next lease that a switch port's receive ring takes over.
  @inlinable package static var arriving: Int { 104 }
  /// Whether senders keep packets that do not fit in a switch port's receive ring, and wait for room.
  @inlinable package static var holdsSenders: Int { 112 }

  @inlinable package static var counters: Int { 128 }
  @inlinable package static var drops: Int { 192 }

  @inlinable package static var position: Int { 384 }
  @inlinable package static var waitWord: Int { 448 }

  // Every sender reads these together, so they lie on the line that senders write anyway.
  @inlinable package static var reservation: Int { 512 }
  @inlinable package static var isOpen: Int { 520 }
  @inlinable package static var openRingOffset: Int { 528 }
  @inlinable package static var openOffsetMask: Int { 536 }
  @inlinable package static var openOffsetMax: Int { 544 }
  @inlinable package static var refusedFull: Int { 552 }
  @inlinable package static var refusedBusy: Int { 560 }
  /// For rings of both directions of a switch port: the virtio-net header and the longest frame (``FrameShape``).
  @inlinable package static var frameShape: Int { 568 }
  /// The ports whose senders sleep until the ring has room: one bit each, four words.
  @inlinable package static var heldSenders: Int { 576 }

  @inlinable package static var intent: Int { 640 }
  /// For a receive ring: the ``ExchangeNote`` of an application that is forwarding from it; four words.
  @inlinable package static var exchange: Int { 640 }
  /// The ports that already have the broadcast at the ring's head, which waits for room in others: one bit each,
  /// four words.
  ///
  /// The word after them holds the broadcast's slot plus one.
  @inlinable package static var delivered: Int { 672 }
  @inlinable package static var deliveredSlot: Int { 704 }

  /// Of a transmit ring with monitors: the end of the slots that the monitors have, plus one; 0 for none.
  @inlinable package static var monitoredEnd: Int { 708 }
  /// The monitors of the ring: ``MonitorEntry`` each.
  @inlinable package static var monitors: Int { 712 }
  /// Of a ring whose buffers a monitor exchanges: the end of the slots that have been exchanged, plus one; 0 for none.
  @inlinable package static var exchangedEnd: Int { 760 }
  /// Of those who fill a ring of a monitor without copies: ``MonitorNote``, four words.
  @inlinable package static var monitorNote: Int { 640 }
}

/// The kind of port that a ring belongs to, which determines what a sync of the ring does.
package enum RingKind: UInt32, Sendable {
  /// No packets move (null ports).
  case null = 0
  /// The engine discards all sent packets (a virtual port that is attached to nothing).
  case discard = 1
  /// One direction of a pipe.
  case pipe = 2
  /// A backend moves the packets.
  case backend = 3
  /// A port of a VALE switch.
  case vale = 4
  /// A monitor: the processes that sync the monitored rings fill its receive rings.
  case monitor = 5
}

/// The direction of a ring, from the application's point of view.
@frozen
public enum Direction: UInt32, Sendable, CaseIterable {
  case receive = 0
  case transmit = 1
}
