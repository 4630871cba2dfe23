/// A region: one memfd with netmap's three pools, and what the engine knows about their objects.
///
/// The memory is shared with clients; which objects are in use is the engine's own knowledge, and
/// no byte of the region is believed when objects come back. Guarded by the engine's lock.
package final class Region {
  /// `nr_mem_id`: 1 for the region that NIC ports share, 2 and up for private ones.
  package let id: UInt16
  package let isPrivate: Bool
  package let layout: RegionLayout
  package let memory: SharedMemory

  /// Who holds each buffer, for backends; see ``BufferOwnership``.
  package let ownership: BufferOwnership
  private let ownershipMemory: SharedMemory

  private var interfaces: ObjectPool
  private var rings: ObjectPool
  private var buffers: ObjectPool

  /// Bindings that have objects here. When the last one goes, everything is free again, and buffers
  /// that an application lost on the way come back.
  private var users = 0

  /// Objects that were freed while somebody might still write to them, by port; see
  /// ``beginQuarantine(of:)``.
  private var quarantines: [ObjectIdentifier: Quarantine] = [:]
  /// The port whose objects are being freed, if it is in quarantine.
  private var freeing: ObjectIdentifier?

  /// The two buffers that netmap never hands out: 0 stands for "bad buffer", 1 is reserved.
  package static let reservedBuffers = 2

  /// - Throws: ``NetmapError``: `EINVAL` for sizes out of range, or what the memory's creation left.
  package init(
    id: UInt16, isPrivate: Bool, _ parameters: RegionParameters
  ) throws(NetmapError) {
    try parameters.validate(isPrivate: isPrivate)
    self.id = id
    self.isPrivate = isPrivate
    // Two steps from one region to the next, since next to each other is not far enough for longer packets.
    layout = RegionLayout(parameters, color: isPrivate ? 2 * Int(id) : 0)
    memory = try SharedMemory(creating: "netmap-region-\(id)", byteCount: layout.byteCount)
    ownershipMemory = try SharedMemory(
      creating: "netmap-owners-\(id)", byteCount: layout.buffers.count)
    ownership = unsafe BufferOwnership(
      bytes: ownershipMemory.base, count: UInt32(layout.buffers.count))
    interfaces = ObjectPool(count: layout.interfaces.count)
    rings = ObjectPool(count: layout.rings.count)
    buffers = ObjectPool(count: layout.buffers.count, reserved: Self.reservedBuffers)
    for index in 0..<Self.reservedBuffers { ownership.set(UInt32(index), .reserved) }
  }

  /// The region and its owner bytes, for processes that sync rings in it.
  package var portMemory: PortMemory {
    get throws(NetmapError) {
      try PortMemory(
        region: memory, owners: ownershipMemory, bufferCount: layout.buffers.count)
    }
  }

  /// A binding begins to use the region.
  package func retain() {
    users += 1
  }

  /// A binding has given everything back.
  package func release() {
    users -= 1
    if users == 0, quarantines.isEmpty { resetPools() }
  }

  /// What is freed of a port from now on is not used again: a closed binding may still be read, and its
  /// rings written to, through views that were taken before. Other ports' objects are.
  ///
  /// - Parameter port: The port, or pipe, by its segment.
  package func beginQuarantine(of port: ObjectIdentifier) {
    quarantines[port, default: Quarantine()].holders += 1
  }

  /// One such binding has gone for good. With the port's last one, what was freed meanwhile is free.
  package func endQuarantine(of port: ObjectIdentifier) {
    guard var quarantine = quarantines[port] else { return }
    quarantine.holders -= 1
    guard quarantine.holders == 0 else {
      quarantines[port] = quarantine
      return
    }
    quarantines[port] = nil
    if users == 0, quarantines.isEmpty { return resetPools() }
    for index in quarantine.interfaces { interfaces.release(index) }
    for index in quarantine.rings { rings.release(index) }
    for index in quarantine.buffers { buffers.release(index) }
  }

  /// Runs what frees objects of a port.
  package func free(of port: ObjectIdentifier, _ body: () -> Void) {
    freeing = quarantines[port] == nil ? nil : port
    body()
    freeing = nil
  }

  package struct Quarantine {
    fileprivate var holders = 0
    package fileprivate(set) var interfaces: [Int] = []
    package fileprivate(set) var rings: [Int] = []
    package fileprivate(set) var buffers: [Int] = []
  }

  private func resetPools() {
    interfaces = ObjectPool(count: layout.interfaces.count)
    rings = ObjectPool(count: layout.rings.count)
    buffers = ObjectPool(count: layout.buffers.count, reserved: Self.reservedBuffers)
    for index in Self.reservedBuffers..<layout.buffers.count
    where ownership.state(UInt32(index)) != .free { ownership.set(UInt32(index), .free) }
  }

  /// What has been freed, and is not free yet.
  package var quarantined: Quarantine {
    quarantines.values.reduce(into: Quarantine()) { sum, quarantine in
      sum.interfaces += quarantine.interfaces
      sum.rings += quarantine.rings
      sum.buffers += quarantine.buffers
    }
  }

  /// Whether a binding has objects here.
  package var isUsed: Bool { users > 0 }

  /// Objects that are not free, by number; buffers without the two that are never handed out.
  package var takenInterfaces: [Int] { interfaces.taken }
  package var takenRings: [Int] { rings.taken }
  package var takenBuffers: ArraySlice<Int> { buffers.taken.dropFirst(Self.reservedBuffers) }

  /// Objects that are free now.
  package var freeCounts: (interfaces: Int, rings: Int, buffers: Int) {
    (interfaces.freeCount, rings.freeCount, buffers.freeCount)
  }

  /// A zero-filled `netmap_if` for `ringCount` rings.
  ///
  /// - Returns: Its offset in the region.
  /// - Throws: ``NetmapError`` `ENOMEM`.
  package func allocateInterface(ringCount: Int) throws(NetmapError) -> Int {
    let needed = InterfaceObject.byteCount(ringCount: ringCount)
    guard needed <= layout.interfaces.size else {
      throw exhausted(
        "a netmap_if of \(needed) bytes for \(ringCount) rings",
        "objects have \(layout.interfaces.size) bytes", "if_size")
    }
    guard let index = interfaces.allocate() else {
      throw exhausted(
        "a netmap_if", "all \(layout.interfaces.count) are in use", "if_num")
    }
    let offset = layout.interfaces.offset(of: index)
    memory.clear(at: offset, count: layout.interfaces.size)
    return offset
  }

  package func releaseInterface(at offset: Int) {
    let index = (offset - layout.interfaces.offset) / layout.interfaces.size
    if let freeing {
      quarantines[freeing]?.interfaces.append(index)
    } else {
      interfaces.release(index)
    }
  }

  /// Room for a ring of `slotCount` slots, not yet written to.
  ///
  /// - Returns: Its offset in the region.
  /// - Throws: ``NetmapError`` `ENOMEM`.
  package func allocateRing(slotCount: Int) throws(NetmapError) -> Int {
    let needed = 256 + 16 * slotCount
    guard needed <= layout.rings.size else {
      throw exhausted(
        "a ring of \(slotCount) slots (\(needed) bytes)", "rings have \(layout.rings.size) bytes",
        "ring_size")
    }
    guard let index = rings.allocate() else {
      throw exhausted("a ring", "all \(layout.rings.count) are in use", "ring_num")
    }
    return layout.rings.offset(of: index)
  }

  package func releaseRing(at offset: Int) {
    let index = (offset - layout.rings.offset) / layout.rings.size
    if let freeing {
      quarantines[freeing]?.rings.append(index)
    } else {
      rings.release(index)
    }
  }

  /// `count` buffers, or none and an error.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM`, saying how many are missing.
  package func allocateBuffers(_ count: Int) throws(NetmapError) -> [UInt32] {
    guard buffers.freeCount >= count else {
      throw exhausted(
        "\(count) buffers",
        "\(buffers.freeCount) of \(layout.buffers.count) are free, \(count - buffers.freeCount) are"
          + " missing", "buf_num")
    }
    return allocateBuffers(upTo: count)
  }

  /// As many of `count` buffers as there are.
  package func allocateBuffers(upTo count: Int) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(min(count, buffers.freeCount))
    while result.count < count, let index = buffers.allocate() {
      ownership.set(UInt32(index), .user)
      result.append(UInt32(index))
    }
    return result
  }

  /// Gives a buffer back. An index that is none, or free already, is ignored: a client wrote it.
  ///
  /// - Returns: Whether it was a buffer in use.
  @discardableResult
  package func releaseBuffer(_ index: UInt32) -> Bool {
    // In quarantine a buffer's owner byte says "free" already, so that it is taken back once only.
    // The owner bytes can be written by processes that sync rings here; the pool cannot.
    guard ownership.state(index) == .user, isBufferInUse(index) else { return false }
    ownership.set(index, .free)
    if let freeing {
      quarantines[freeing]?.buffers.append(Int(index))
    } else {
      buffers.release(Int(index))
    }
    return true
  }

  /// Whether a buffer is in some ring, list or hand.
  package func isBufferInUse(_ index: UInt32) -> Bool {
    index < layout.buffers.count && !buffers.isFree(Int(index))
  }

  /// Where the bytes of a buffer begin in the region.
  package func offset(ofBuffer index: UInt32) -> Int {
    layout.bufferBase + Int(index) * layout.buffers.size
  }

  private func exhausted(_ what: String, _ why: String, _ setting: String) -> NetmapError {
    NetmapError(
      .outOfMemory, "allocate", "memory region \(id)", reason: "no room for \(what): \(why)",
      remedy: isPrivate
        ? "use fewer or smaller rings, or close other ports of the same parent"
        : "raise \(setting), use fewer or smaller rings, or close other ports")
  }
}
