/// The shared memory of a VALE switch: its ports and its address table.
///
/// Every process that has a port on the switch maps this segment for writing. A port is identified by its index,
/// 0 to 253. The memory of the ports is not here; each process finds it through its ``DestinationTable``.
@safe
package struct SwitchSegment: Sendable {
  package let memory: SharedMemory

  /// Creates the segment of a new switch.
  ///
  /// - Throws: ``NetmapError`` when no memory or descriptor is left.
  package init(creating name: String) throws(NetmapError) {
    memory = try SharedMemory(creating: "netmap-\(name)", byteCount: SwitchLayout.byteCount)
    memory.store(SwitchLayout.magicNumber, at: SwitchLayout.magic)
    memory.store(SwitchLayout.layoutVersion, at: SwitchLayout.version)
    unsafe view.setBatch(SwitchLimits.batch)
  }

  /// Attaches to a segment that the engine created, in this process or in another one.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the memory is not a segment of this layout.
  package init(mapping memory: SharedMemory) throws(NetmapError) {
    self.memory = memory
    guard memory.byteCount >= SwitchLayout.byteCount,
      memory.load(at: SwitchLayout.magic, as: UInt64.self) == SwitchLayout.magicNumber,
      memory.load(at: SwitchLayout.version, as: UInt32.self) == SwitchLayout.layoutVersion
    else {
      throw NetmapError(
        .invalidArgument, "attach", "switch segment",
        reason: "it is not a switch segment of this version of netmap",
        remedy: "use one version of netmap for all processes")
    }
  }

  package var view: SwitchView { unsafe SwitchView(base: memory.base) }

  /// The version of the layout of segments.
  static var layoutVersion: UInt32 { SwitchLayout.layoutVersion }

  /// The words before the configurations of modules: for dumps.
  var dumpedBytes: [UInt8] { memory.bytes(at: 0, count: SwitchLayout.configurations) }

  /// Writes the words of a dump, as far as they belong there.
  func restore(_ bytes: [UInt8]) {
    memory.write(Array(bytes.prefix(SwitchLayout.configurations)), at: 0)
  }
}

/// Offsets in a switch segment, in bytes.
///
/// Any change of a number here requires a new ``layoutVersion``.
enum SwitchLayout {
  static let magicNumber: UInt64 = 0x6764_7262_706d_746e  // "ntmpbrdg"
  static let layoutVersion: UInt32 = 4

  static let magic = 0
  static let version = 8
  /// The most slots that a sender forwards together; 0 discards all packets.
  static let batch = 12
  /// Whether any bit of ``holding`` is set.
  ///
  /// It lies next to the batch because every sync reads the batch.
  static let holdsAny = 16

  /// One bit for each active port: the receivers of a broadcast.
  static let active = 64
  static let activeWords = 4
  /// One bit for each active port that makes its senders wait so that no packets are dropped.
  static let holding = 96

  /// The switch's module: ``ModuleProgram``.
  static let program = 128

  /// The address table: one atomic word per entry.
  static let table = 4096
  static let tableBits = 10

  static let ports = table + 8 << tableBits
  static let portByteCount = 64
  // In a port's record:
  static let state = 0
  /// Packets for the port that a sender dropped because the sender had not mapped the port's memory yet.
  static let unknownRegion = 8
  /// Packets for the port that arrived while no binding had the receive ring open.
  static let noReceiver = 16

  /// Two areas for the configuration of a built-in module or for the report of a module host.
  ///
  /// One area is in use; the engine writes a new configuration to the other.
  static let configurations = (ports + SwitchLimits.indexes * portByteCount + 4095) & ~4095
  static let configurationByteCount = 65_536

  /// The counts that the sender of each transmit ring keeps for the module: ``ModuleCounter``, by port index and
  /// ring number.
  ///
  /// They are not reset when a new port takes the index, because readers use only their sum.
  static let moduleCounters = configurations + 2 * configurationByteCount
  static let moduleCountersByteCount = 16
  static let moduleCountersCount = SwitchLimits.indexes * SwitchLimits.rings.upperBound

  static let byteCount = moduleCounters + moduleCountersCount * moduleCountersByteCount
}

/// netmap's limits for VALE switches.
package enum SwitchLimits {
  /// Number of port indexes; 254 stands for "all" and 255 for "none".
  static let indexes = 256
  /// Number of indexes that a port can have.
  static let ports = 254
  /// A switch with this many ports accepts no more, because attaching a NIC may need two.
  package static let activePorts = 252
  /// Rings of one direction of a switch port.
  package static let rings = 1...16
  /// Slots of a switch port's ring.
  package static let slots = 1...4096
  /// The most slots of a packet.
  ///
  /// A sender drops a packet with more.
  package static let fragments = 64
  /// The most slots that a sender forwards together.
  package static let batch: UInt32 = 1024
  /// The most bytes before the colon of a port's name, `vale` included; also the most bytes after the colon.
  package static let nameLength = 15
}

/// A switch segment as the data path uses it: one pointer, no ownership.
@unsafe
package struct SwitchView {
  let base: UnsafeMutableRawPointer
}
