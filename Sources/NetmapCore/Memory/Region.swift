/// A region: one memfd with netmap's three pools, and the engine's record of the objects in them.
///
/// Clients share the memory. Only the engine's own record says which objects are in use; when a client returns
/// objects, the engine relies on no byte of the region. The engine's lock guards every member.
package final class Region {
  /// `nr_mem_id`: 1 for the region that NIC ports share, 2 and up for private ones.
  package let id: UInt16
  package let isPrivate: Bool
  package let layout: RegionLayout
  package let memory: SharedMemory
  /// For a region in a program's memory, by which other processes find it.
  var keys: Set<ProgramMemory.Key> = []

  /// The holder of each buffer, for backends; see ``BufferOwnership``.
  package let ownership: BufferOwnership
  private let ownershipMemory: SharedMemory

  private var interfaces: ObjectPool
  private var rings: ObjectPool
  private var buffers: ObjectPool

  /// The number of bindings that have objects here.
  ///
  /// When the last binding ends, every object is free again, including buffers that an application had lost.
  private var users = 0

  /// Objects that were freed while a process might still write to them, by port; see ``beginQuarantine(of:)``.
  private var quarantines: [ObjectIdentifier: Quarantine] = [:]
  /// The port whose objects the engine is freeing, if that port is in quarantine.
  private var freeing: ObjectIdentifier?
  /// The number of quarantines that have begun.
  ///
  /// A process that closed a port at moment `n` cannot reach an object that was allocated at moment `n` or later.
  private var moment: UInt64 = 0
  // The moment at which each object was last allocated.
  private var interfaceBirths: [UInt64]
  private var ringBirths: [UInt64]
  /// Rings that no port has any more, but with which a process may be exchanging buffers (``MonitorExchange``).
  ///
  /// Each counts as a user of the region.
  var heldRings: [RemovedRing] = []
  /// Buffers in quarantine.
  ///
  /// This is the engine's own record: the owner bytes, which clients can write, decide nothing here.
  private var returned: ObjectSet

  /// The number of buffers that netmap never hands out: buffer 0 stands for "bad buffer", buffer 1 is reserved.
  package static let reservedBuffers = Int(SlotRule.firstBuffer)

  /// - Parameters:
  ///   - id: The region's number.
  ///   - isPrivate: Whether it belongs to one port and its pipes.
  ///   - parameters: Sizes and counts.
  ///   - isShared: Whether other processes are to map the memory; false for the copy of a region in a dump.
  /// - Throws: ``NetmapError`` `EINVAL` for sizes out of range, or the error from creating the memory.
  package convenience init(
    id: UInt16, isPrivate: Bool, _ parameters: RegionParameters, isShared: Bool = true
  ) throws(NetmapError) {
    try parameters.validate(isPrivate: isPrivate)
    // Consecutive private regions are two cache colors apart: a distance of one is too small for longer packets.
    try self.init(
      id: id, isPrivate: isPrivate,
      RegionLayout(parameters, cacheColor: isPrivate ? 2 * Int(id) : 0), isShared: isShared)
  }

  /// - Parameters:
  ///   - id: The region's number.
  ///   - isPrivate: Whether it goes with its last port.
  ///   - layout: Where the objects lie.
  ///   - isShared: Whether other processes are to map the memory; false for the copy of a region in a dump.
  /// - Throws: The ``NetmapError`` from creating the memory.
  init(
    id: UInt16, isPrivate: Bool, _ layout: RegionLayout, isShared: Bool = true
  ) throws(NetmapError) {
    self.id = id
    self.isPrivate = isPrivate
    self.layout = layout
    func memory(_ name: String, _ byteCount: Int) throws(NetmapError) -> SharedMemory {
      guard isShared else { return try SharedMemory(private: byteCount) }
      return try SharedMemory(creating: "\(name)-\(id)", byteCount: byteCount)
    }
    self.memory = try memory("netmap-region", layout.byteCount)
    ownershipMemory = try memory("netmap-owners", layout.buffers.count)
    ownership = unsafe BufferOwnership(
      bytes: ownershipMemory.base, count: UInt32(layout.buffers.count))
    interfaces = ObjectPool(count: layout.interfaces.count)
    rings = ObjectPool(count: layout.rings.count)
    buffers = ObjectPool(count: layout.buffers.count, reserved: Self.reservedBuffers)
    interfaceBirths = Array(repeating: 0, count: layout.interfaces.count)
    ringBirths = Array(repeating: 0, count: layout.rings.count)
    returned = ObjectSet(count: layout.buffers.count)
    for index in 0..<Self.reservedBuffers { ownership.set(UInt32(index), .reserved) }
  }

  /// Gives the region the objects of a region in a dump.
  ///
  /// - Parameters:
  ///   - taken: The numbers of objects in use, also those in quarantine. Numbers out of range are ignored.
  ///   - kept: The numbers of objects in quarantine.
  ///   - isUsed: Whether a binding had objects there.
  func restore(taken: EngineDump.Objects, quarantined kept: EngineDump.Objects, isUsed: Bool) {
    interfaces = ObjectPool(count: layout.interfaces.count, taken: taken.interfaces)
    rings = ObjectPool(count: layout.rings.count, taken: taken.rings)
    buffers = ObjectPool(
      count: layout.buffers.count, taken: (0..<UInt32(Self.reservedBuffers)) + taken.buffers)
    var quarantine = Quarantine()
    quarantine.interfaces = kept.interfaces.map { .init(index: Int($0), birth: 0) }
    quarantine.rings = kept.rings.map { .init(index: Int($0), birth: 0) }
    quarantine.buffers = kept.buffers.map { .init(index: Int($0), birth: 0) }
    quarantines = [ObjectIdentifier(self): quarantine]
    users = isUsed ? 1 : 0
  }

  /// The region and its owner bytes, for processes that sync rings in the region.
  package var portMemory: PortMemory {
    get throws(NetmapError) {
      try PortMemory(
        region: memory, owners: ownershipMemory, bufferCount: layout.buffers.count)
    }
  }

  /// Records that a binding begins to use the region.
  package func retain() {
    users += 1
  }

  /// Records that a binding has returned all its objects.
  package func release() {
    users -= 1
    if users == 0, quarantines.isEmpty { resetPools() }
  }

  /// Begins a quarantine: existing objects of the port that the engine frees from now on stay unavailable.
  ///
  /// The process that closed a binding may still read the objects, and write to the rings, through views that it
  /// took before. Objects allocated later, which those views do not show, and objects of other ports become
  /// available again at once. So a process that keeps the views of a closed port holds back only the objects that
  /// it could see, however often other processes open and close the port meanwhile.
  ///
  /// - Parameter port: The port, or pipe, identified by its segment.
  /// - Returns: A value to pass to ``endQuarantine(of:begun:)``.
  package func beginQuarantine(of port: ObjectIdentifier) -> UInt64 {
    moment += 1
    quarantines[port, default: Quarantine()].holders.append(moment)
    return moment
  }

  /// Ends the quarantine of one closed binding, and frees the objects that no process can reach any more.
  ///
  /// - Parameters:
  ///   - port: The port.
  ///   - begun: The value that ``beginQuarantine(of:)`` returned.
  package func endQuarantine(of port: ObjectIdentifier, begun: UInt64) {
    guard var quarantine = quarantines[port],
      let place = quarantine.holders.firstIndex(of: begun)
    else { return }
    let before = quarantine.latest
    quarantine.holders.remove(at: place)
    let latest = quarantine.latest
    quarantines[port] = quarantine.holders.isEmpty ? nil : quarantine
    if users == 0, quarantines.isEmpty { return resetPools() }
    guard latest < before else { return }
    // Removed from the dictionary first, so that the arrays are modified in place.
    quarantines[port] = nil
    quarantine.interfaces.removeAll { kept in
      guard kept.birth >= latest else { return false }
      interfaces.release(kept.index)
      return true
    }
    quarantine.rings.removeAll { kept in
      guard kept.birth >= latest else { return false }
      rings.release(kept.index)
      return true
    }
    quarantine.buffers.removeAll { kept in
      guard kept.birth >= latest else { return false }
      returned.remove(kept.index)
      buffers.release(kept.index)
      return true
    }
    if !quarantine.holders.isEmpty { quarantines[port] = quarantine }
  }

  /// Runs a closure that frees objects of a port.
  package func free(of port: ObjectIdentifier, _ body: () -> Void) {
    freeing = quarantines[port] == nil ? nil : port
    body()
    freeing = nil
  }

  /// The objects that the closed bindings of one port hold back.
  private struct Quarantine {
    struct Kept {
      let index: Int
      let birth: UInt64
    }

    /// The moment at which each of the bindings was closed, in order.
    var holders: [UInt64] = []
    var interfaces: [Kept] = []
    var rings: [Kept] = []
    var buffers: [Kept] = []

    /// The latest of these moments; 0 if there is none.
    ///
    /// A process may still reach objects allocated before it.
    var latest: UInt64 { holders.last ?? 0 }
  }

  /// The port whose quarantine must hold back an object allocated at `birth` and freed now; nil if it is free at
  /// once.
  private func hasToWait(_ birth: UInt64) -> ObjectIdentifier? {
    guard let freeing, let quarantine = quarantines[freeing], birth < quarantine.latest else {
      return nil
    }
    return freeing
  }

  private func resetPools() {
    interfaces = ObjectPool(count: layout.interfaces.count)
    rings = ObjectPool(count: layout.rings.count)
    buffers = ObjectPool(count: layout.buffers.count, reserved: Self.reservedBuffers)
    returned = ObjectSet(count: layout.buffers.count)
    for index in Self.reservedBuffers..<layout.buffers.count
    where ownership.state(UInt32(index)) != .free { ownership.set(UInt32(index), .free) }
  }

  /// The objects that have been freed and are still in quarantine, by number.
  package var quarantined: (interfaces: [Int], rings: [Int], buffers: [Int]) {
    var result: (interfaces: [Int], rings: [Int], buffers: [Int]) = ([], [], [])
    for quarantine in quarantines.values {
      result.interfaces += quarantine.interfaces.map(\.index)
      result.rings += quarantine.rings.map(\.index)
      result.buffers += quarantine.buffers.map(\.index)
    }
    for held in heldRings {
      result.rings += held.offsets.map(ringIndex)
      result.buffers += held.slots.map { Int(slot($0.slot, ofRingAt: $0.ring).bufferIndex) }
    }
    return result
  }

  /// Whether a binding has objects here.
  package var isUsed: Bool { users > 0 }

  /// Whether a process may still see objects of a closed binding.
  var isQuarantining: Bool { !quarantines.isEmpty }

  /// Objects in use, by number; without the two buffers that are never handed out.
  package var takenInterfaces: [Int] { interfaces.taken }
  package var takenRings: [Int] { rings.taken }
  package var takenBuffers: ArraySlice<Int> { buffers.taken.dropFirst(Self.reservedBuffers) }

  /// The numbers of free objects.
  package var freeCounts: (interfaces: Int, rings: Int, buffers: Int) {
    (interfaces.freeCount, rings.freeCount, buffers.freeCount)
  }

  /// Allocates a zero-filled `netmap_if` for `ringCount` rings.
  ///
  /// - Returns: Its offset in the region.
  /// - Throws: ``NetmapError`` `ENOMEM`.
  package func allocateInterface(ringCount: Int) throws(NetmapError) -> Int {
    let needed = InterfaceObject.byteCount(ringCount: ringCount)
    guard needed <= layout.interfaces.size else {
      throw exhausted(
        "a netmap_if of \(needed) bytes for \(ringCount) rings",
        "objects have \(layout.interfaces.size) bytes", "if_size (netmap config)")
    }
    guard let index = interfaces.allocate() else {
      throw exhausted(
        "a netmap_if", "all \(layout.interfaces.count) are in use",
        "if_num (--interfaces of netmapd or netmap exec, or NETMAP_INTERFACES)",
        kept: quarantined.interfaces.count)
    }
    interfaceBirths[index] = moment
    let offset = layout.interfaces.offset(of: index)
    memory.clear(at: offset, count: layout.interfaces.size)
    return offset
  }

  package func releaseInterface(at offset: Int) {
    let index = interfaceIndex(offset)
    let birth = interfaceBirths[index]
    if let port = hasToWait(birth) {
      quarantines[port]?.interfaces.append(.init(index: index, birth: birth))
    } else {
      interfaces.release(index)
    }
  }

  /// Allocates memory for a ring of `slotCount` slots, without initializing it.
  ///
  /// - Returns: Its offset in the region.
  /// - Throws: ``NetmapError`` `ENOMEM`.
  package func allocateRing(slotCount: Int) throws(NetmapError) -> Int {
    let needed = 256 + 16 * slotCount
    guard needed <= layout.rings.size else {
      throw exhausted(
        "a ring of \(slotCount) slots (\(needed) bytes)", "rings have \(layout.rings.size) bytes",
        "ring_size (netmap config)")
    }
    guard let index = rings.allocate() else {
      throw exhausted(
        "a ring", "all \(layout.rings.count) are in use",
        "ring_num (--rings of netmapd or netmap exec, or NETMAP_RINGS)",
        kept: quarantined.rings.count)
    }
    ringBirths[index] = moment
    return layout.rings.offset(of: index)
  }

  package func releaseRing(at offset: Int) {
    let index = ringIndex(offset)
    let birth = ringBirths[index]
    if let port = hasToWait(birth) {
      quarantines[port]?.rings.append(.init(index: index, birth: birth))
    } else {
      rings.release(index)
    }
  }

  /// The number of buffers in the pool.
  package var freeBufferCount: Int { buffers.freeCount }

  /// Allocates `count` buffers, or none.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM`, saying how many are missing.
  package func allocateBuffers(_ count: Int) throws(NetmapError) -> [UInt32] {
    guard buffers.freeCount >= count else {
      throw exhausted(
        "\(count) buffers",
        "\(buffers.freeCount) of \(layout.buffers.count) are free, \(count - buffers.freeCount) are"
          + " missing", "buf_num (--buffers of netmapd or netmap exec, or NETMAP_BUFFERS)",
        kept: quarantined.buffers.count)
    }
    return allocateBuffers(upTo: count)
  }

  /// Allocates up to `count` buffers, as many as are free.
  package func allocateBuffers(upTo count: Int) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(min(count, buffers.freeCount))
    while result.count < count, let index = buffers.allocate() {
      ownership.set(UInt32(index), .user)
      result.append(UInt32(index))
    }
    return result
  }

  /// Returns a buffer to the pool.
  ///
  /// An index that is invalid or already free is ignored, because a client wrote it.
  ///
  /// The engine's own record says which buffers have been returned already. So no list and no ring, however often
  /// a client rewrites it meanwhile, can return a buffer twice. A lent buffer stays lent.
  ///
  /// - Parameters:
  ///   - index: The index that the client wrote.
  ///   - ring: The offset of the ring that names the buffer.
  ///   - interface: The offset of the `netmap_if` whose list names the buffer.
  /// - Returns: Whether a buffer in use was returned.
  @discardableResult
  package func releaseBuffer(
    _ index: UInt32, ofRingAt ring: Int? = nil, ofInterfaceAt interface: Int? = nil
  ) -> Bool {
    guard isBufferInUse(index), !returned.contains(Int(index)),
      !ownership.state(index).isLent, index >= Self.reservedBuffers
    else { return false }
    ownership.set(index, .free)
    // Applications move buffers between rings and lists, so the age of the ring or list that names the buffer
    // counts: a view shows the buffers of its own rings and lists.
    let birth =
      ring.map { ringBirths[ringIndex($0)] }
      ?? interface.map { interfaceBirths[interfaceIndex($0)] } ?? 0
    if let port = hasToWait(birth) {
      returned.insert(Int(index))
      quarantines[port]?.buffers.append(.init(index: Int(index), birth: birth))
    } else {
      buffers.release(Int(index))
    }
    return true
  }

  /// Whether a buffer is allocated: in a ring, in a list, or held by an application.
  package func isBufferInUse(_ index: UInt32) -> Bool {
    index < layout.buffers.count && !buffers.isFree(Int(index))
  }

  /// Whether a ring object is allocated; the offset must be that of a ring object.
  package func isRingInUse(at offset: Int) -> Bool { !rings.isFree(ringIndex(offset)) }

  private func interfaceIndex(_ offset: Int) -> Int {
    (offset - layout.interfaces.offset) / layout.interfaces.size
  }

  private func ringIndex(_ offset: Int) -> Int {
    (offset - layout.rings.offset) / layout.rings.size
  }
}
