internal import Synchronization

/// The engine's list of ports and of processes that sync them, in a segment of its own that clients map
/// read-only.
///
/// Only the engine writes a port's record, under its lock. The record's generation is odd while the engine writes
/// the record, and increases with every change. A reader that sees the same even number before and after has read
/// a consistent record. A reader that sees another number knows that its mappings for the old number may be
/// stale.
@safe
package final class Directory: Sendable {
  package let memory: SharedMemory

  /// The most bound ports that the directory lists.
  ///
  /// Further ports work, but are not listed.
  package static let portCapacity = 4096
  /// The most processes (in an embedded engine: open ports) that can sync at the same time.
  package static let clientCapacity = Int(ClientTag.slotCount)

  /// The records in use.
  ///
  /// The engine's locks guard these members and all writes; the clients have a separate lock.
  private nonisolated(unsafe) var ports = ObjectPool(count: portCapacity)
  private nonisolated(unsafe) var clients = ObjectPool(count: clientCapacity)
  private nonisolated(unsafe) var lastEpoch: UInt32 = 0

  init() throws(NetmapError) {
    memory = try SharedMemory(
      creating: "netmap-directory", byteCount: DirectoryLayout.byteCount, writableByOthers: false)
    memory.store(DirectoryLayout.magicNumber, at: 0)
    memory.store(DirectoryLayout.layoutVersion, at: 8)
  }

  /// The clients of a dump.
  ///
  /// - Parameters:
  ///   - list: The clients. Those whose slot does not exist are left out.
  ///   - lastEpoch: The epoch of the last client.
  /// - Throws: ``NetmapError`` when there is no memory or no descriptor left.
  convenience init(
    clients list: [EngineDump.Client], lastEpoch: UInt32
  ) throws(NetmapError) {
    try self.init()
    for client in list where client.slot < UInt32(Self.clientCapacity) {
      let base = DirectoryLayout.client(Int(client.slot))
      memory.store(client.process, at: base + 4)
      memory.store(client.epoch, at: base)
    }
    unsafe self.lastEpoch = lastEpoch
  }

  /// The clients that are attached now, and the epoch of the last one.
  var dumpedClients: (clients: [EngineDump.Client], lastEpoch: UInt32) {
    let found = (0..<Self.clientCapacity).compactMap { slot -> EngineDump.Client? in
      let base = DirectoryLayout.client(slot)
      let epoch = memory.load(at: base, as: UInt32.self)
      guard epoch > 0 else { return nil }
      return EngineDump.Client(
        slot: UInt32(slot), epoch: epoch, process: memory.load(at: base + 4, as: Int32.self))
    }
    return unsafe (found, lastEpoch)
  }

  /// A directory that lists no ports and no clients, for processes that may not see them.
  ///
  /// - Throws: ``NetmapError`` when there is no memory or no descriptor left.
  package static func empty() throws(NetmapError) -> Directory { try Directory() }

  /// Attaches to the directory of an engine in another process.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the memory is not a directory of this layout.
  package init(mapping memory: SharedMemory) throws(NetmapError) {
    self.memory = memory
    guard memory.byteCount >= DirectoryLayout.byteCount,
      memory.load(at: 0, as: UInt64.self) == DirectoryLayout.magicNumber,
      memory.load(at: 8, as: UInt32.self) == DirectoryLayout.layoutVersion
    else {
      throw NetmapError(
        .invalidArgument, "attach", "directory",
        reason: "it is not a directory of this version of netmap",
        remedy: "use one version of netmap for all processes")
    }
  }
}

/// A port as the directory lists it.
package struct DirectoryEntry: Hashable, Sendable {
  package var name: String
  package var memoryID: UInt16
  package var geometry: PortGeometry
  /// The number of bindings that have the port open.
  package var bindings: Int
  package var generation: UInt32
}

extension Directory {
  /// Every bound port whose record could be read in a consistent state.
  package var entries: [DirectoryEntry] {
    (0..<Self.portCapacity).compactMap { read($0) }
  }

  private func read(_ index: Int) -> DirectoryEntry? {
    let base = DirectoryLayout.port(index)
    // A writer changes a record only for a short time. The reader skips a record that keeps changing.
    for _ in 0..<16 {
      let before = unsafe generation(index).pointee.load(ordering: .acquiring)
      if before == 0 { return nil }
      guard before & 1 == 0 else { continue }
      let bindings = memory.load(at: base + 8, as: UInt32.self)
      let entry = DirectoryEntry(
        name: name(at: base + 64), memoryID: memory.load(at: base + 4, as: UInt16.self),
        geometry: PortGeometry(
          transmitRings: number(base + 16), receiveRings: number(base + 20),
          transmitSlots: number(base + 24), receiveSlots: number(base + 28),
          hostTransmitRings: number(base + 32), hostReceiveRings: number(base + 36)),
        bindings: Int(bindings), generation: before)
      atomicMemoryFence(ordering: .acquiring)
      if unsafe generation(index).pointee.load(ordering: .relaxed) == before {
        return bindings == 0 ? nil : entry
      }
    }
    return nil
  }

  private func number(_ offset: Int) -> Int { Int(memory.load(at: offset, as: UInt32.self)) }

  private func name(at offset: Int) -> String {
    var bytes: [UInt8] = []
    for index in 0..<PortName.byteCountMax {
      let byte = memory.load(at: offset + index, as: UInt8.self)
      if byte == 0 { break }
      bytes.append(byte)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Lists a port, or removes it from the list when no binding has it open.
  func publish(_ port: EnginePort) {
    guard port.isListed else { return }
    guard let index = unsafe port.directoryIndex ?? (port.bindings > 0 ? ports.allocate() : nil)
    else {
      return
    }
    port.directoryIndex = port.bindings > 0 ? index : nil
    let base = DirectoryLayout.port(index)
    let odd = unsafe generation(index).pointee.load(ordering: .relaxed) | 1
    unsafe generation(index).pointee.store(odd, ordering: .relaxed)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    memory.store(port.region.id, at: base + 4)
    memory.store(UInt32(port.bindings), at: base + 8)
    let geometry = port.geometry
    let numbers = [
      geometry.transmitRings, geometry.receiveRings, geometry.transmitSlots,
      geometry.receiveSlots, geometry.hostTransmitRings, geometry.hostReceiveRings,
    ]
    for (place, value) in numbers.enumerated() {
      memory.store(UInt32(value), at: base + 16 + 4 * place)
    }
    memory.clear(at: base + 64, count: 64)
    for (place, byte) in port.name.bytes.enumerated() {
      memory.store(byte, at: base + 64 + place)
    }
    unsafe generation(index).pointee.store(odd &+ 1, ordering: .releasing)
    if port.bindings == 0 { unsafe ports.release(index) }
  }

  private func generation(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (memory.base + DirectoryLayout.port(index))
      .assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}

extension Directory {
  /// Gives a process (or, in an embedded engine, an open port) a client slot, and thereby the right to lock
  /// rings.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM` when all slots are taken.
  func addClient(process: Int32) throws(NetmapError) -> ClientTag {
    guard let slot = unsafe clients.allocate() else {
      throw NetmapError(
        .outOfMemory, "open", "port", reason: "all \(Self.clientCapacity) client slots are in use",
        remedy: "end some processes that use netmap ports")
    }
    unsafe lastEpoch = unsafe lastEpoch == .max ? 1 : lastEpoch + 1
    let base = DirectoryLayout.client(slot)
    memory.store(process, at: base + 4)
    unsafe memory.store(lastEpoch, at: base)
    return unsafe ClientTag(slot: UInt32(slot), epoch: lastEpoch)
  }

  func removeClient(_ tag: ClientTag) {
    memory.store(UInt32(0), at: DirectoryLayout.client(tag.slot))
    unsafe clients.release(tag.slot)
  }

  /// Whether the tag in a lock's word belongs to a client that is attached now.
  package func hasClient(_ rawTag: UInt64) -> Bool {
    let (slot, epoch) = (UInt32(truncatingIfNeeded: rawTag), UInt32(rawTag >> 32))
    guard epoch > 0, slot < Self.clientCapacity else { return false }
    return process(of: ClientTag(slot: slot, epoch: epoch)) != nil
  }

  /// Whether a doorbell with this number can ever have existed: an embedded engine's own doorbell or a client's
  /// (``ClientTag/doorbell``).
  func isDoorbell(_ number: UInt32) -> Bool {
    // Once the epochs have reached 2^21 - 1, every number may have been in use.
    unsafe number < 65_536 || lastEpoch >= 0x1f_ffff || number >> 10 <= lastEpoch
  }

  /// The process with a tag; nil when it has detached.
  package func process(of tag: ClientTag) -> Int32? {
    guard tag.slot < Self.clientCapacity,
      memory.load(at: DirectoryLayout.client(tag.slot), as: UInt32.self) == tag.epoch
    else { return nil }
    return memory.load(at: DirectoryLayout.client(tag.slot) + 4, as: Int32.self)
  }
}

/// Offsets in the directory, in bytes.
///
/// Any change of a number here requires a new ``layoutVersion``.
private enum DirectoryLayout {
  static let magicNumber: UInt64 = 0x7269_645f_706d_746e  // "ntmp_dir"
  static let layoutVersion: UInt32 = 1

  private static let clients = 4096
  private static let clientByteCount = 64
  private static let ports = clients + Directory.clientCapacity * clientByteCount
  private static let portByteCount = 128
  static let byteCount = ports + Directory.portCapacity * portByteCount

  /// A client's record: epoch, process.
  static func client(_ slot: Int) -> Int { clients + slot * clientByteCount }

  /// A port's record: generation, region, bindings, geometry, name.
  static func port(_ index: Int) -> Int { ports + index * portByteCount }
}
