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
  /// How many quarantines have begun. Whoever closed a port at moment `n` cannot reach an object that was
  /// made at moment `n` or later.
  private var moment: UInt64 = 0
  // When each object was given out last.
  private var interfaceBirths: [UInt64]
  private var ringBirths: [UInt64]
  /// Buffers in quarantine. The engine's own: owner bytes, which clients can write, decide nothing here.
  private var returned: ObjectSet

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
    interfaceBirths = Array(repeating: 0, count: layout.interfaces.count)
    ringBirths = Array(repeating: 0, count: layout.rings.count)
    returned = ObjectSet(count: layout.buffers.count)
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

  /// What is freed of a port from now on is not used again if it exists already: a closed binding may
  /// still be read, and its rings written to, through views that were taken before. Objects made later,
  /// which those views do not show, and other ports' are used again at once.
  ///
  /// So a process that keeps the views of a closed port holds back what it could see, and no more,
  /// however often others open and close the port meanwhile.
  ///
  /// - Parameter port: The port, or pipe, by its segment.
  /// - Returns: What ``endQuarantine(of:begun:)`` is to be told.
  package func beginQuarantine(of port: ObjectIdentifier) -> UInt64 {
    moment += 1
    quarantines[port, default: Quarantine()].holders.append(moment)
    return moment
  }

  /// One such binding has gone for good. What nobody can reach any more is free.
  ///
  /// - Parameters:
  ///   - port: The port.
  ///   - begun: What ``beginQuarantine(of:)`` returned.
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
    // Taken out first: the arrays are changed where they are.
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

  /// Runs what frees objects of a port.
  package func free(of port: ObjectIdentifier, _ body: () -> Void) {
    freeing = quarantines[port] == nil ? nil : port
    body()
    freeing = nil
  }

  /// What closed bindings of one port keep from being used again.
  private struct Quarantine {
    struct Kept {
      let index: Int
      let birth: UInt64
    }

    /// When each of the bindings was closed, in order.
    var holders: [UInt64] = []
    var interfaces: [Kept] = []
    var rings: [Kept] = []
    var buffers: [Kept] = []

    /// What was made before this, somebody may reach. 0 for nobody.
    var latest: UInt64 { holders.last ?? 0 }
  }

  /// Whether what was made at `birth`, and is freed now, has to wait.
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

  /// What has been freed, and is not free yet, by number.
  package var quarantined: (interfaces: [Int], rings: [Int], buffers: [Int]) {
    quarantines.values.reduce(into: ([], [], [])) { sum, quarantine in
      sum.0 += quarantine.interfaces.map(\.index)
      sum.1 += quarantine.rings.map(\.index)
      sum.2 += quarantine.buffers.map(\.index)
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
        "a netmap_if", "all \(layout.interfaces.count) are in use", "if_num",
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
      throw exhausted(
        "a ring", "all \(layout.rings.count) are in use", "ring_num",
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

  /// `count` buffers, or none and an error.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM`, saying how many are missing.
  package func allocateBuffers(_ count: Int) throws(NetmapError) -> [UInt32] {
    guard buffers.freeCount >= count else {
      throw exhausted(
        "\(count) buffers",
        "\(buffers.freeCount) of \(layout.buffers.count) are free, \(count - buffers.freeCount) are"
          + " missing", "buf_num", kept: quarantined.buffers.count)
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
  /// What counts as given back already is the engine's own knowledge, so that no list and no ring, however
  /// often it is rewritten meanwhile, gives back a buffer twice. A buffer that is lent stays where it is.
  ///
  /// - Parameters:
  ///   - index: What a client wrote.
  ///   - ring: The offset of the ring that names it.
  ///   - interface: The offset of the `netmap_if` whose list names it.
  /// - Returns: Whether it was a buffer in use.
  @discardableResult
  package func releaseBuffer(
    _ index: UInt32, ofRingAt ring: Int? = nil, ofInterfaceAt interface: Int? = nil
  ) -> Bool {
    guard isBufferInUse(index), !returned.contains(Int(index)),
      ownership.state(index) != .lent, index >= Self.reservedBuffers
    else { return false }
    ownership.set(index, .free)
    // Buffers change places among rings and lists; a view shows those of its rings.
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

  /// Whether a buffer is in some ring, list or hand.
  package func isBufferInUse(_ index: UInt32) -> Bool {
    index < layout.buffers.count && !buffers.isFree(Int(index))
  }

  /// Where the bytes of a buffer begin in the region.
  package func offset(ofBuffer index: UInt32) -> Int {
    layout.bufferBase + Int(index) * layout.buffers.size
  }

  /// Whether a ring object has been given out; the offset must be one's.
  package func isRingInUse(at offset: Int) -> Bool { !rings.isFree(ringIndex(offset)) }

  private func interfaceIndex(_ offset: Int) -> Int {
    (offset - layout.interfaces.offset) / layout.interfaces.size
  }

  private func ringIndex(_ offset: Int) -> Int {
    (offset - layout.rings.offset) / layout.rings.size
  }

  private func exhausted(
    _ what: String, _ why: String, _ setting: String, kept: Int = 0
  ) -> NetmapError {
    let others = isPrivate ? "other ports of the same parent" : "other ports"
    let remedy =
      isPrivate
      ? "use fewer or smaller rings, or close \(others)"
      : "raise \(setting), use fewer or smaller rings, or close \(others)"
    guard kept > 0 else {
      return NetmapError(
        .outOfMemory, "allocate", "memory region \(id)", reason: "no room for \(what): \(why)",
        remedy: remedy)
    }
    return NetmapError(
      .outOfMemory, "allocate", "memory region \(id)",
      reason: "no room for \(what): \(why); \(kept) are kept for processes that have closed a port"
        + " here and still have its rings mapped",
      remedy: "\(remedy); have those processes let go of their closed ports, or end them")
  }
}
