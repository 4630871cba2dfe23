// The counters of a ring lie in its kring. Every process on the port can write there, so sums use wrapping
// addition.

extension DropReason {
  /// The counter's offset in a kring; see ``KRing/Counter/offset``.
  @inlinable @inline(always)
  package var offset: Int {
    switch self {
    case .ringFull: KRingLayout.drops
    case .badBufferIndex: KRingLayout.drops &+ 8
    case .badLength: KRingLayout.drops &+ 16
    case .notAttached: KRingLayout.drops &+ 24
    case .kernel: KRingLayout.drops &+ 32
    case .busy: KRingLayout.drops &+ 40
    case .unknownRegion: KRingLayout.drops &+ 48
    case .tooShort: KRingLayout.drops &+ 56
    // One word further, because `retries` lies in between.
    case .noDestination: KRingLayout.drops &+ 72
    case .filtered: KRingLayout.drops &+ 80
    case .tooManyFragments: KRingLayout.drops &+ 88
    case .noReceiver: KRingLayout.drops &+ 96
    case .badHeader: KRingLayout.drops &+ 104
    case .indirect: KRingLayout.drops &+ 112
    case .unfinished: KRingLayout.drops &+ 120
    }
  }
}

extension KRing {
  /// The counters of a ring; see ``offset`` for their places in shared memory.
  @usableFromInline
  package enum Counter {
    case packets, bytes, syncs, busySyncs, systemCalls, sleeps, resets, moves, retries, broadcasts,
      copies, repairedChecksums, segmentedPackets, restoredTags, shortCutPackets

    /// The counter's offset in a kring.
    ///
    /// A switch, because the compiler can evaluate it at compile time, unlike a raw value.
    @inlinable @inline(always)
    package var offset: Int {
      switch self {
      case .packets: KRingLayout.counters
      case .bytes: KRingLayout.counters &+ 8
      case .syncs: KRingLayout.counters &+ 16
      case .busySyncs: KRingLayout.counters &+ 24
      case .systemCalls: KRingLayout.counters &+ 32
      case .sleeps: KRingLayout.counters &+ 40
      case .resets: KRingLayout.counters &+ 48
      case .moves: KRingLayout.counters &+ 56
      // The first eight drop counters lie in between.
      case .retries: KRingLayout.drops &+ 64
      // After the last drop counter.
      case .shortCutPackets: KRingLayout.drops &+ 144
      case .repairedChecksums: KRingLayout.drops &+ 152
      case .segmentedPackets: KRingLayout.drops &+ 160
      case .restoredTags: KRingLayout.drops &+ 168
      case .broadcasts: KRingLayout.drops &+ 176
      case .copies: KRingLayout.drops &+ 184
      }
    }
  }

  /// Adds to a counter.
  ///
  /// Only the holder of the ring's lock may call this, except for `busySyncs` and `sleeps`, where a lost
  /// increment between two threads is acceptable.
  @inlinable @inline(always)
  package func count(_ counter: Counter, _ amount: UInt64 = 1) {
    unsafe setRawLongWord(counter.offset, rawLongWord(counter.offset) &+ amount)
  }

  @inlinable @inline(always)
  package func countDrop(_ reason: DropReason, _ amount: UInt64 = 1) {
    unsafe setRawLongWord(reason.offset, rawLongWord(reason.offset) &+ amount)
  }

  func value(of counter: Counter) -> UInt64 { unsafe rawLongWord(counter.offset) }

  /// The current counters, not a consistent snapshot.
  package var counters: RingCounters {
    var result = RingCounters()
    result.packets = unsafe value(of: .packets)
    result.bytes = unsafe value(of: .bytes)
    result.syncs = unsafe value(of: .syncs)
    result.busySyncs = unsafe value(of: .busySyncs)
    result.systemCalls = unsafe value(of: .systemCalls)
    result.sleeps = unsafe value(of: .sleeps)
    result.resets = unsafe value(of: .resets)
    result.moves = unsafe value(of: .moves)
    result.retries = unsafe value(of: .retries)
    result.broadcasts = unsafe value(of: .broadcasts)
    result.copies = unsafe value(of: .copies)
    result.shortCutPackets = unsafe value(of: .shortCutPackets)
    result.repairs.checksums = unsafe value(of: .repairedChecksums)
    result.repairs.superPackets = unsafe value(of: .segmentedPackets)
    result.repairs.tags = unsafe value(of: .restoredTags)
    for reason in DropReason.allCases {
      result.drops[reason] = unsafe rawLongWord(reason.offset)
    }
    // Packets that senders on a switch could not deliver for lack of room; 0 on every other ring.
    unsafe result.drops[.ringFull] &+= refused(.full)
    unsafe result.drops[.busy] &+= refused(.busy)
    return result
  }
}
