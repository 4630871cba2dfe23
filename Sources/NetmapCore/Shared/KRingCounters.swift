// What is counted on a ring lies in its kring: every process on the port can write there, so sums wrap.

extension DropReason {
  /// Where the counter is in a kring; see ``KRing/Counter/offset``.
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
    // One word further: `retries` lies between.
    case .noDestination: KRingLayout.drops &+ 72
    case .filtered: KRingLayout.drops &+ 80
    case .tooManyFragments: KRingLayout.drops &+ 88
    case .noReceiver: KRingLayout.drops &+ 96
    case .badHeader: KRingLayout.drops &+ 104
    case .indirect: KRingLayout.drops &+ 112
    }
  }
}

extension KRing {
  /// The counters one by one; their order is their place in shared memory.
  @usableFromInline
  package enum Counter {
    case packets, bytes, syncs, busySyncs, systemCalls, sleeps, resets, moves, retries, broadcasts,
      copies

    /// Where the counter is in a kring. A switch, because the compiler sees through it where it does
    /// not see through a raw value.
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
      // The first eight kinds of drops lie between.
      case .retries: KRingLayout.drops &+ 64
      // Behind the last kind of drops.
      case .broadcasts: KRingLayout.drops &+ 176
      case .copies: KRingLayout.drops &+ 184
      }
    }
  }

  /// Adds to a counter. Only the holder of the ring's lock may, except for `busySyncs` and `sleeps`,
  /// where a lost increment between two threads is accepted.
  @inlinable @inline(always)
  package func count(_ counter: Counter, _ amount: UInt64 = 1) {
    unsafe setRawLongWord(counter.offset, rawLongWord(counter.offset) &+ amount)
  }

  @inlinable @inline(always)
  package func countDrop(_ reason: DropReason, _ amount: UInt64 = 1) {
    unsafe setRawLongWord(reason.offset, rawLongWord(reason.offset) &+ amount)
  }

  func value(of counter: Counter) -> UInt64 { unsafe rawLongWord(counter.offset) }

  /// The counters as they stand; not one instant for all of them.
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
    for reason in DropReason.allCases {
      result.drops[reason] = unsafe rawLongWord(reason.offset)
    }
    // What the senders on a switch were refused; 0 on every other ring.
    unsafe result.drops[.ringFull] &+= refused(.full)
    unsafe result.drops[.busy] &+= refused(.busy)
    return result
  }
}
