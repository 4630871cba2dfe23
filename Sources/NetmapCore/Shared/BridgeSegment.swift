/// The shared half of a VALE switch: which ports are on it, and where addresses were last seen.
///
/// A segment of its own, mapped for writing by every process that has a port on the switch. Ports are
/// known by index, 0 to 253; their memory is not here but in each process's ``DestinationTable``.
@safe
package struct BridgeSegment: Sendable {
  package let memory: SharedMemory

  /// Makes the segment of a new switch.
  ///
  /// - Throws: ``NetmapError`` when there is no memory or descriptor left.
  package init(creating name: String) throws(NetmapError) {
    memory = try SharedMemory(creating: "netmap-\(name)", byteCount: BridgeLayout.byteCount)
    memory.store(BridgeLayout.magicNumber, at: BridgeLayout.magic)
    memory.store(BridgeLayout.layoutVersion, at: BridgeLayout.version)
    unsafe view.setBatch(SwitchLimits.batch)
  }

  /// Takes over a segment that the engine made, here or in another process.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the memory is not a segment of this layout.
  package init(attaching memory: SharedMemory) throws(NetmapError) {
    self.memory = memory
    guard memory.byteCount >= BridgeLayout.byteCount,
      memory.load(at: BridgeLayout.magic, as: UInt64.self) == BridgeLayout.magicNumber,
      memory.load(at: BridgeLayout.version, as: UInt32.self) == BridgeLayout.layoutVersion
    else {
      throw NetmapError(
        .invalidArgument, "attach", "switch segment",
        reason: "it is something else, or was made by another version of netmap",
        remedy: "use one version of netmap for all processes")
    }
  }

  package var view: BridgeView { unsafe BridgeView(base: memory.base) }
}

/// Offsets in a bridge segment, bytes. A change of any number here is a new ``layoutVersion``.
enum BridgeLayout {
  static let magicNumber: UInt64 = 0x6764_7262_706d_746e  // "ntmpbrdg"
  static let layoutVersion: UInt32 = 4

  static let magic = 0
  static let version = 8
  /// Slots that are forwarded together, at most; 0 discards everything.
  static let batch = 12
  /// Whether any bit of ``holding`` is set. Beside the batch, because every sync reads that.
  static let holdsAny = 16

  /// One bit for each active port: who gets a broadcast.
  static let active = 64
  static let activeWords = 4
  /// One bit for each active port that makes its senders wait instead of losing packets.
  static let holding = 96

  /// The switch's module: ``ModuleProgram``.
  static let program = 128

  /// The address table: one atomic word an entry.
  static let table = 4096
  static let tableBits = 10

  static let ports = table + 8 << tableBits
  static let portByteCount = 64
  // In a port's record:
  static let state = 0
  /// Packets for the port that a sender dropped because it had not mapped its memory yet.
  static let unknownRegion = 8
  /// Packets for the port while nobody had the receive ring open.
  static let noReceiver = 16

  /// Two areas for the configuration of a built-in module, or for what a module host has to say: one
  /// is in use, the other one is written.
  static let configurations = (ports + SwitchLimits.indexes * portByteCount + 4095) & ~4095
  static let configurationByteCount = 65_536

  /// What each transmit ring's sender counts of the module: ``ModuleCounter``, by index of the port, and ring.
  /// They go on with the next port of that index: only their sum is looked at.
  static let moduleCounters = configurations + 2 * configurationByteCount
  static let moduleCountersByteCount = 16
  static let moduleCountersCount = SwitchLimits.indexes * SwitchLimits.rings.upperBound

  static let byteCount = moduleCounters + moduleCountersCount * moduleCountersByteCount
}

/// netmap's limits for switches.
package enum SwitchLimits {
  /// Port indexes; 254 stands for "all" and 255 for "none".
  static let indexes = 256
  /// Indexes that ports can have.
  static let ports = 254
  /// A switch with this many ports takes no more: attaching a NIC may need two.
  package static let activePorts = 252
  /// Rings of one direction of a switch port.
  package static let rings = 1...16
  /// Slots of a switch port's ring.
  package static let slots = 1...4096
  /// Slots of a packet. What has more is dropped.
  package static let fragments = 64
  /// Slots forwarded together.
  package static let batch: UInt32 = 1024
  /// Bytes before the colon of a port's name, `vale` included; and after it.
  package static let nameLength = 15
}

/// A bridge segment as the data path uses it: one pointer, no ownership.
@unsafe
package struct BridgeView {
  let base: UnsafeMutableRawPointer
}
