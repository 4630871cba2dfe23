/// A copy of an engine's records and of the shared memory that describes its rings, without packets.
///
/// ``Engine/dump()`` makes one, ``bytes`` writes it for a file, and ``DumpedEngine`` reads it, in any process and at any
/// later time.
package struct EngineDump: Hashable, Sendable {
  /// A client of the engine when the dump was made.
  package struct Client: Hashable, Sendable {
    package var slot: UInt32
    package var epoch: UInt32
    package var process: Int32
  }

  /// Numbers of objects in a region's three pools.
  package struct Objects: Hashable, Sendable {
    package var interfaces: [UInt32]
    package var rings: [UInt32]
    package var buffers: [UInt32]
  }

  /// Bytes of a region, from an offset on.
  package struct Piece: Hashable, Sendable {
    package var offset: UInt64
    package var bytes: [UInt8]

    package init(offset: UInt64, bytes: [UInt8]) {
      self.offset = offset
      self.bytes = bytes
    }
  }

  package struct RegionPart: Hashable, Sendable {
    package var id: UInt16
    package var isPrivate: Bool
    /// Whether objects have exactly these sizes, as in a program's memory.
    package var isExact: Bool
    package var isUsed: Bool
    package var parameters: RegionParameters
    package var taken: Objects
    package var quarantined: Objects
    /// The owner byte of each buffer.
    package var owners: [UInt8]
    /// Rings, `netmap_if`s and tables of kept buffers.
    package var pieces: [Piece]
    /// The lists of extra buffers: a buffer and the next one of its list.
    package var links: [UInt32]
  }

  package struct SegmentPart: Hashable, Sendable {
    /// For each end: the first kring, transmit rings, receive rings.
    package var ends: [UInt32]
    package var leaseSlots: UInt32
    package var bytes: [UInt8]
  }

  package struct PortPart: Hashable, Sendable {
    package var name: [UInt8]
    /// A ``RingKind``.
    package var kind: UInt32
    package var segment: UInt32
    package var end: UInt32
    package var region: UInt32
    package var geometry: PortGeometry
    /// Offsets of the ring objects in the region: transmit rings, then receive rings; ``noRing`` for none.
    package var rings: [UInt64]
    /// Whether a process synced the ring while the dump was made, in the order of ``rings``.
    package var moving: [UInt8]
    /// The number of bindings as the engine counts them.
    package var bindings: UInt32
    /// For the master end of a pipe, the slave end's number; ``none`` for other ports.
    package var slave: UInt32
    package var parent: UInt32
    package var isPersistent: Bool
    /// The name on a switch of an interface that the engine holds there; empty for none.
    package var attachedAs: [UInt8]
  }

  package struct BindingPart: Hashable, Sendable {
    package var id: UInt64
    package var port: UInt32
    package var index: UInt32
    package var record: BindingRecord
    package var isExclusive: Bool
  }

  package struct Member: Hashable, Sendable {
    package var port: UInt32
    package var name: [UInt8]
    package var index: UInt32
    package var generation: UInt32
    package var isHidden: Bool
  }

  package struct SwitchPart: Hashable, Sendable {
    package var name: [UInt8]
    package var number: UInt32
    package var serial: UInt64
    package var members: [Member]
    /// The segments of ports that have left the switch, and that may still be in the middle of a sync there.
    package var leaving: [UInt32]
    /// The words that the switch's ports share: addresses and generations.
    package var bytes: [UInt8]
  }

  /// What netmapd knows about an open of a port.
  package struct Owner: Hashable, Sendable {
    package var binding: UInt64
    package var user: UInt32
    /// Whether a copy of its token is still open.
    package var isOpen: Bool
    package var isIsolated: Bool
    /// Whether the worker or a module host has it, and listings leave it out.
    package var isHidden: Bool
    /// The process that opened the port, and those that may have its rings mapped.
    package var opener: Int32
    package var viewers: [Int32]

    package init(
      binding: UInt64, user: UInt32, isOpen: Bool, isIsolated: Bool, isHidden: Bool,
      opener: Int32, viewers: [Int32]
    ) {
      self.binding = binding
      self.user = user
      self.isOpen = isOpen
      self.isIsolated = isIsolated
      self.isHidden = isHidden
      self.opener = opener
      self.viewers = viewers
    }
  }

  /// A process that was a client, as /proc described it.
  package struct Process: Hashable, Sendable {
    package var number: Int32
    /// The letter of its state, as in proc_pid_stat(5).
    package var state: UInt8
    package var name: [UInt8]

    package init(number: Int32, state: UInt8, name: [UInt8]) {
      self.number = number
      self.state = state
      self.name = name
    }
  }

  /// The time of the dump, seconds since 1970.
  package var seconds: UInt64 = 0
  /// The epoch of the last client.
  package var lastEpoch: UInt32 = 0
  package var clients: [Client] = []
  package var regions: [RegionPart] = []
  package var segments: [SegmentPart] = []
  package var ports: [PortPart] = []
  package var bindings: [BindingPart] = []
  package var switches: [SwitchPart] = []
  package var owners: [Owner] = []
  package var processes: [Process] = []

  /// Stands for a port that does not exist.
  package static let none = UInt32.max
  /// Stands for a ring that does not exist.
  package static let noRing = UInt64.max

  package init() {}
}
