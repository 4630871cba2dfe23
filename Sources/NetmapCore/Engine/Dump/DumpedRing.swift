/// A process, or a client that has ended, as a word of shared memory names it.
package enum DumpedClient: Hashable, Sendable {
  case process(Int32)
  /// A client that was not attached when the dump was made, by its slot and epoch.
  case ended(slot: UInt32, epoch: UInt32)
}

/// A sleeper that has announced itself.
package enum DumpedSleeper: Hashable, Sendable {
  /// A thread of the processes that have a binding's rings mapped sleeps on the binding's futex.
  case futex(binding: Int)
  /// A process watches its doorbell, in poll(2), epoll_wait(2) or a wait for several ports.
  case doorbell(UInt32, DumpedClient?)
  /// Several sleepers: the port's list of waiters has them.
  case several
}

/// A lease of a switch port's receive ring that the ring has not taken over.
package struct DumpedLease: Hashable, Sendable {
  package var sequence: UInt64
  /// The slot at which it begins.
  package var start: UInt32
  /// The slots of a finished lease; nil for one that its sender has not finished.
  package var finishedSlots: UInt32?
  /// The packets that the sender of a finished lease has reported.
  package var packets: UInt64 = 0
  /// The senders that have announced the lease: their rings, and the holders of the rings' locks.
  package var senders: [Sender] = []

  package struct Sender: Hashable, Sendable {
    package var ring: String
    package var slots: UInt32
    package var holder: DumpedClient?
  }
}

/// One ring of a port in a dump, each number as it was stored.
package struct DumpedRing: Hashable, Sendable {
  package var direction: Direction
  package var index: Int
  package var slots: Int
  /// Whether a process synced the ring while the dump was made, so that its numbers may not belong together.
  package var isMoving = false
  /// Whether the ring has ended: the interface behind it is gone.
  package var isStopped = false

  // The application's words.
  package var head: UInt32 = 0
  package var cur: UInt32 = 0
  package var tail: UInt32 = 0

  package var cursors: KRingCursors
  /// The side's position as it last wrote it.
  package var published: UInt32 = 0

  /// The holder of the ring's lock; nil when it is free.
  package var lock: DumpedClient?
  /// Those that sleep until the ring makes progress.
  package var sleepers: [DumpedSleeper] = []
  package var counters: RingCounters

  // Of receive rings on a switch.
  /// Whether senders may fill the ring; nil for rings that they do not fill.
  package var isOpenToSenders: Bool?
  /// The next lease that a sender can reserve, and the next one that the ring takes over.
  package var reservation: Reservation?
  package var arriving: Reservation?
  /// The leases between the two, at most ``leasesMax``.
  package var leases: [DumpedLease] = []
  package var holdsSenders = false
  /// The ports, by index on the switch, whose senders sleep until the ring has room.
  package var heldSenders: [Int] = []

  // Of transmit rings on a switch.
  /// The lease that the sender has announced.
  package var announced: Announced?
  /// The slot of a broadcast that some receivers have, and those receivers' indexes.
  package var broadcast: Broadcast?

  // Of receive rings.
  /// An exchange of buffers with another ring that has not ended.
  package var exchange: ExchangeNote.Batch?

  package struct Announced: Hashable, Sendable {
    /// The receiving ring, as text.
    package var target: String
    package var sequence: UInt64
    package var start: UInt32
    package var slots: UInt32
  }

  package struct Broadcast: Hashable, Sendable {
    package var slot: UInt32
    package var receivers: [Int]
  }

  /// The most leases that are listed.
  static let leasesMax = 64
}

/// One open of a port in a dump.
package struct DumpedBinding: Hashable, Sendable {
  package var id: UInt64
  package var index: Int
  package var record: BindingRecord
  package var isExclusive: Bool
  /// How often sleepers on the binding's futex have been woken.
  package var bellCount: UInt32
  /// The client that runs the binding's sync loop.
  package var loop: DumpedClient?
  /// What netmapd knows about it; nil in the dump of an engine without a daemon.
  package var owner: EngineDump.Owner?
}

/// One port in a dump.
package struct DumpedPort: Hashable, Sendable {
  /// The name, without control characters.
  package var name: String
  package var kind: String
  package var memoryID: UInt16
  package var geometry: PortGeometry
  package var isPersistent: Bool
  /// Its places on switches, such as `vale0, index 3`.
  package var places: [String]
  package var bindings: [DumpedBinding]
  package var rings: [DumpedRing]
  /// The sleepers in the list of waiters, which the two ends of a pipe share.
  package var waiters: [DumpedSleeper]
}

/// One switch in a dump.
package struct DumpedSwitch: Hashable, Sendable {
  package var name: String
  /// Ports by index.
  package var members: [Member]
  /// The learned addresses, and the index of the port of each.
  package var addresses: [(address: UInt64, port: Int)]

  package struct Member: Hashable, Sendable {
    package var index: Int
    package var name: String
    package var generation: UInt32
    /// Whether the switch's own words name the same generation: senders find the port.
    package var isLinked: Bool
    package var isHidden: Bool
    package var isHolding: Bool
    package var unknownRegion: UInt64
    package var noReceiver: UInt64
  }

  package static func == (a: DumpedSwitch, b: DumpedSwitch) -> Bool {
    a.name == b.name && a.members == b.members
      && a.addresses.elementsEqual(b.addresses) { $0 == $1 }
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(name)
    hasher.combine(members)
  }
}
