internal import Synchronization

/// The engine's notice board: which ports exist and which processes sync them, in a segment of its
/// own that clients map read-only.
///
/// A port's record is written by the engine alone, under its lock. Its generation is odd while it is
/// being written and goes up with every change, so a reader that sees the same even number before
/// and after has read one state of the port, and one that sees another number knows that what it
/// mapped for the old one may be gone.
@safe
package final class Directory: Sendable {
  package let memory: SharedMemory

  /// Bound ports that can be listed. Ports beyond it work, unlisted.
  package static let portCapacity = 4096
  /// Processes (of an embedded engine: open ports) that can sync at one time.
  package static let clientCapacity = Int(ClientTag.slotCount)

  /// Which records are taken. Guarded by the engine's locks, as all writing is: clients by one of their
  /// own.
  private nonisolated(unsafe) var ports = ObjectPool(count: portCapacity)
  private nonisolated(unsafe) var clients = ObjectPool(count: clientCapacity)
  private nonisolated(unsafe) var lastEpoch: UInt32 = 0

  init() throws(NetmapError) {
    memory = try SharedMemory(
      creating: "netmap-directory", byteCount: DirectoryLayout.byteCount, writableByOthers: false)
    memory.store(DirectoryLayout.magicNumber, at: 0)
    memory.store(DirectoryLayout.layoutVersion, at: 8)
  }

  /// One that lists nothing and nobody, for those who are not to know.
  ///
  /// - Throws: ``NetmapError`` when there is no memory or no descriptor left.
  package static func empty() throws(NetmapError) -> Directory { try Directory() }

  /// Takes over the directory of an engine in another process.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the memory is not a directory of this layout.
  package init(attaching memory: SharedMemory) throws(NetmapError) {
    self.memory = memory
    guard memory.byteCount >= DirectoryLayout.byteCount,
      memory.load(at: 0, as: UInt64.self) == DirectoryLayout.magicNumber,
      memory.load(at: 8, as: UInt32.self) == DirectoryLayout.layoutVersion
    else {
      throw NetmapError(
        .invalidArgument, "attach", "directory",
        reason: "it is something else, or was made by another version of netmap",
        remedy: "use one version of netmap for all processes")
    }
  }
}

/// A port as the directory lists it.
package struct DirectoryEntry: Hashable, Sendable {
  package var name: String
  package var memoryID: UInt16
  package var geometry: PortGeometry
  /// How many times it is open.
  package var bindings: Int
  package var generation: UInt32
}

extension Directory {
  /// Every port that is bound, as far as it could be read in one state.
  package var entries: [DirectoryEntry] {
    (0..<Self.portCapacity).compactMap { read($0) }
  }

  private func read(_ index: Int) -> DirectoryEntry? {
    let base = DirectoryLayout.port(index)
    // A writer is never preempted for long; a record that keeps changing is left out.
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

  /// Lists a port, or takes it off the list when nobody has it open.
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
  /// Gives a process (or, in an embedded engine, an open port) the right to lock rings.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM` when all slots are taken.
  func addClient(process: Int32) throws(NetmapError) -> ClientTag {
    guard let slot = unsafe clients.allocate() else {
      throw NetmapError(
        .outOfMemory, "open", "port", reason: "all \(Self.clientCapacity) client slots are in use",
        remedy: "close some ports")
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

  /// Whether a lock's word names a client that is attached now.
  package func hasClient(_ rawTag: UInt64) -> Bool {
    let (slot, epoch) = (UInt32(truncatingIfNeeded: rawTag), UInt32(rawTag >> 32))
    guard epoch > 0, slot < Self.clientCapacity else { return false }
    return process(of: ClientTag(slot: slot, epoch: epoch)) != nil
  }

  /// Whether there can ever have been a doorbell of this number: one of an embedded engine's own, or one
  /// of a client's (``ClientTag/doorbell``).
  func isDoorbell(_ number: UInt32) -> Bool {
    // The epochs have gone round long before a number that is too high tells nothing.
    unsafe number < 65_536 || lastEpoch >= 0x1f_ffff || number >> 10 <= lastEpoch
  }

  /// The process behind a tag, nil when it has gone.
  package func process(of tag: ClientTag) -> Int32? {
    guard tag.slot < Self.clientCapacity,
      memory.load(at: DirectoryLayout.client(tag.slot), as: UInt32.self) == tag.epoch
    else { return nil }
    return memory.load(at: DirectoryLayout.client(tag.slot) + 4, as: Int32.self)
  }
}

/// Offsets in the directory, bytes. A change of any number here is a new ``layoutVersion``.
private enum DirectoryLayout {
  static let magicNumber: UInt64 = 0x7269_645f_706d_746e  // "ntmp_dir"
  static let layoutVersion: UInt32 = 1

  private static let clients = 4096
  private static let clientByteCount = 64
  private static let ports = clients + Directory.clientCapacity * clientByteCount
  private static let portByteCount = 128
  static let byteCount = ports + Directory.portCapacity * portByteCount

  /// Epoch, process.
  static func client(_ slot: Int) -> Int { clients + slot * clientByteCount }

  /// Generation, region, bindings, geometry, name.
  static func port(_ index: Int) -> Int { ports + index * portByteCount }
}
