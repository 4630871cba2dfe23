import NetmapCore
import NetmapTestSupport
import Testing

/// Two pipes on one interface, all of their bindings, and their model.
struct ModelWorld {
  struct Open {
    let port: TestPort
    let pipe: Int
    let isMaster: Bool
    let isExclusive: Bool
    let rings: [ModelPipe.RingKey]
    /// The list of extra buffers, head first.
    var extra: [UInt32]
  }

  let interfaces = FakeInterfaces.probed(.pairs(1, slots: 8))
  let engine: Engine
  let probe: RegionProbe
  let atStart: RegionProbe.Free
  let bufferCount: UInt32
  var generator: SeededGenerator
  var pipes: [Int: ModelPipe] = [:]
  var open: [Open] = []
  /// Buffers that are in no slot any more, because an "application" overwrote their only slot.
  var lost: Set<UInt32> = []
  var contents: [UInt32: UInt64] = [:]
  var nextNumber: UInt64 = 1

  init(seed: UInt64) throws {
    engine = try Engine(interfaces: interfaces)
    probe = try RegionProbe(engine, interfaces)
    atStart = probe.free
    bufferCount = UInt32(probe.region.layout.buffers.count)
    generator = SeededGenerator(seed: seed)
  }

  mutating func step() throws -> String {
    let dice = Int.random(in: 0..<100, using: &generator)
    if open.isEmpty || (dice < 6 && open.count < 8) { return try openOne() }
    if dice < 10 { return closeOne() }
    let place = Int.random(in: open.indices, using: &generator)
    guard let key = open[place].rings.randomElement(using: &generator) else { return "nothing" }
    let (ring, name) = (self.ring(place, key), "\(open[place].pipe) \(key)")
    switch dice {
    case 10..<40: return put(place, key, ring, name)
    case 40..<45: return swapExtra(place, key, ring, name)
    case 45..<50: return swapWithOther(place, key, ring, name)
    case 50..<53: return spoilSlot(place, key, ring, name)
    case 53..<56: return spoilCursors(place, key, ring, name)
    case 56..<60: return peek(place, key, ring, name)
    default: return sync(place, key, ring, name)
    }
  }

  private func ring(_ place: Int, _ key: ModelPipe.RingKey) -> TestRing {
    let held = open[place].rings.filter { $0.direction == key.direction }
    guard let index = held.firstIndex(of: key) else { preconditionFailure("not held") }
    return key.direction == .transmit ? open[place].port.tx(index) : open[place].port.rx(index)
  }

  private func lane(_ place: Int, _ key: ModelPipe.RingKey) -> ModelLane {
    guard let lane = pipes[open[place].pipe]?.lanes[key.lane] else {
      preconditionFailure("a ring that is held has a lane")
    }
    return lane
  }

  private mutating func set(_ place: Int, _ key: ModelPipe.RingKey, _ lane: ModelLane) {
    pipes[open[place].pipe]?.lanes[key.lane] = lane
  }

  // MARK: Opening and closing

  private mutating func openOne() throws -> String {
    let pipe = Int.random(in: 0..<2, using: &generator)
    let isMaster = generator.chance(50)
    func random<T: FixedWidthInteger>(_ range: ClosedRange<T>) -> T {
      T.random(in: range, using: &generator)
    }
    let hints = RingGeometryHints(
      transmitSlots: random(2...9), receiveSlots: random(2...9), transmitRings: random(1...2),
      receiveRings: random(1...2))
    let model =
      pipes[pipe]
      ?? ModelPipe(
        geometry: PortGeometry(
          transmitRings: Int(hints.transmitRings), receiveRings: Int(hints.receiveRings),
          transmitSlots: Int(hints.transmitSlots), receiveSlots: Int(hints.receiveSlots)))
    let geometry = model.geometry(master: isMaster)
    let number: UInt16 = random(0...1)
    let selection: RingSelection = generator.chance(60) ? .allHardware : .oneHardware(number)
    let choices: [BindingFlags] = [[], [], [], .transmitOnly, .receiveOnly]
    let flags = choices.randomElement(using: &generator) ?? []
    let isExclusive = generator.chance(15)
    let extra = random(0...4)
    var rings: [ModelPipe.RingKey] = []
    for (direction, count, other) in [
      (Direction.transmit, geometry.transmitRings, BindingFlags.receiveOnly),
      (.receive, geometry.receiveRings, .transmitOnly),
    ] where !flags.contains(other) {
      let range: Range<Int>
      if case .oneHardware(let wanted) = selection {
        range = Int(wanted) < count ? Int(wanted)..<(Int(wanted) + 1) : 0..<1
      } else {
        range = 0..<count
      }
      rings += range.map { .init(isMaster: isMaster, direction: direction, index: $0) }
    }
    let outOfRange =
      number >= max(geometry.transmitRings, geometry.receiveRings) && selection != .allHardware
    let conflicts = rings.contains {
      model.exclusive.contains($0) || (isExclusive && model.users[$0, default: 0] > 0)
    }
    let name = "fake0\(isMaster ? "{" : "}")\(pipe)"
    let what = "open \(name) \(selection) \(flags.rawValue) exclusive \(isExclusive)"
    let port: TestPort
    do {
      port = try TestPort(
        engine, name, selection, flags: isExclusive ? flags.union(.exclusive) : flags, hints: hints,
        extraBuffers: extra)
    } catch let error as NetmapError {
      let expected: NetmapError.Code? =
        outOfRange ? .invalidArgument : conflicts ? .busy : nil
      return error.code == expected ? "\(what), refused" : "\(what): UNEXPECTED \(error)"
    }
    if outOfRange || conflicts { return "\(what): UNEXPECTED success" }
    admit(port, model, pipe, isMaster, isExclusive, rings)
    return what
  }

  private mutating func admit(
    _ port: TestPort, _ old: ModelPipe, _ pipe: Int, _ isMaster: Bool, _ isExclusive: Bool,
    _ rings: [ModelPipe.RingKey]
  ) {
    var model = old
    var place = (transmit: 0, receive: 0)
    for key in rings {
      let ring = key.direction == .transmit ? port.tx(place.transmit) : port.rx(place.receive)
      if key.direction == .transmit { place.transmit += 1 } else { place.receive += 1 }
      if model.lanes[key.lane] == nil { model.lanes[key.lane] = ModelLane(slots: ring.slots) }
      model.users[key, default: 0] += 1
      if isExclusive { model.exclusive.insert(key) }
    }
    model.bindings += 1
    pipes[pipe] = model
    let extra = ExtraBufferTests.list(probe.region, port.interface.extraBuffersHead)
    for buffer in extra { contents[buffer] = nil }
    open.append(
      Open(
        port: port, pipe: pipe, isMaster: isMaster, isExclusive: isExclusive, rings: rings,
        extra: extra))
  }

  private mutating func closeOne() -> String {
    let gone = open.remove(at: Int.random(in: open.indices, using: &generator))
    gone.port.close()
    guard var model = pipes[gone.pipe] else { return "?" }
    for key in gone.rings {
      model.users[key, default: 0] -= 1
      if gone.isExclusive { model.exclusive.remove(key) }
    }
    model.bindings -= 1
    pipes[gone.pipe] = model.bindings == 0 ? nil : model
    return "close \(gone.port.registration.name)"
  }

  // MARK: Using rings

  private mutating func put(
    _ place: Int, _ key: ModelPipe.RingKey, _ ring: TestRing, _ name: String
  ) -> String {
    var lane = lane(place, key)
    let own = lane.own(key.direction)
    let count = Int.random(in: 0...own.count, using: &generator)
    for index in own.prefix(count) where key.direction == .transmit {
      var slot = lane.tx.slots[Int(index)]
      slot.length = UInt16.random(in: 0...2048, using: &generator)
      slot.flags = generator.chance(20) ? .moreFragments : []
      if generator.chance(20) { slot.flags.formUnion(SlotFlags(rawValue: 0xa502)) }
      if generator.chance(10) { slot.flags.insert(.bufferChanged) }
      slot.pointer = generator.next()
      lane.tx.slots[Int(index)] = slot
      ring[index] = slot
      if (2..<bufferCount).contains(slot.bufferIndex) {
        contents[slot.bufferIndex] = nextNumber
        ring.setPayload(slot.bufferIndex, nextNumber)
        nextNumber += 1
      }
    }
    // `head` follows the slots that were filled or read, `cur` is anywhere from there to `tail`.
    let ahead = generator.chance(80) ? count : Int.random(in: count...own.count, using: &generator)
    lane[key.direction].head = (lane[key.direction].head + UInt32(count)) % lane.count
    lane[key.direction].cur =
      (lane[key.direction].head + UInt32(ahead - count)) % lane.count
    ring.cur = lane[key.direction].cur
    ring.head = lane[key.direction].head
    set(place, key, lane)
    return "move \(name) by \(count)"
  }

  private mutating func sync(
    _ place: Int, _ key: ModelPipe.RingKey, _ ring: TestRing, _ name: String
  ) -> String {
    var lane = lane(place, key)
    let expected =
      key.direction == .transmit
      ? lane.syncTransmit(bufferCount: bufferCount) : lane.syncReceive(bufferCount: bufferCount)
    set(place, key, lane)
    let result = ring.sync()
    return "sync \(name)" + (result == expected ? "" : ": UNEXPECTED \(result)")
  }

  private mutating func peek(
    _ place: Int, _ key: ModelPipe.RingKey, _ ring: TestRing, _ name: String
  ) -> String {
    guard key.direction == .receive else { return "nothing" }
    for index in lane(place, key).own(.receive) {
      let buffer = ring[index].bufferIndex
      if let expected = contents[buffer], ring.payload(buffer) != expected {
        return "read \(name): UNEXPECTED contents of buffer \(buffer)"
      }
    }
    return "read \(name)"
  }

  private mutating func swapExtra(
    _ place: Int, _ key: ModelPipe.RingKey, _ ring: TestRing, _ name: String
  ) -> String {
    var lane = lane(place, key)
    guard let index = lane.own(key.direction).randomElement(using: &generator),
      !open[place].extra.isEmpty,
      (2..<bufferCount).contains(lane[key.direction].slots[Int(index)].bufferIndex)
    else { return "nothing" }
    let old = lane[key.direction].slots[Int(index)].bufferIndex
    let spare = open[place].extra[0]
    PipeMemoryTests.swap(ring, index, open[place].port.interface)
    open[place].extra[0] = old
    contents[old] = nil
    contents[spare] = nil
    lane[key.direction].slots[Int(index)].bufferIndex = spare
    lane[key.direction].slots[Int(index)].flags.insert(.bufferChanged)
    set(place, key, lane)
    return "swap \(name) \(index) with an extra buffer"
  }

  /// Zero-copy forwarding: exchanges the buffers of slots of two rings, of one pipe or of two.
  private mutating func swapWithOther(
    _ place: Int, _ key: ModelPipe.RingKey, _ ring: TestRing, _ name: String
  ) -> String {
    let otherPlace = Int.random(in: open.indices, using: &generator)
    guard let otherKey = open[otherPlace].rings.randomElement(using: &generator),
      let index = lane(place, key).own(key.direction).randomElement(using: &generator),
      let otherIndex = lane(otherPlace, otherKey).own(otherKey.direction)
        .randomElement(using: &generator)
    else { return "nothing" }
    let otherRing = self.ring(otherPlace, otherKey)
    let (mine, theirs) = (ring[index].bufferIndex, otherRing[otherIndex].bufferIndex)
    for (place, key, ring, index, buffer) in [
      (place, key, ring, index, theirs), (otherPlace, otherKey, otherRing, otherIndex, mine),
    ] {
      var lane = lane(place, key)
      lane[key.direction].slots[Int(index)].bufferIndex = buffer
      lane[key.direction].slots[Int(index)].flags.insert(.bufferChanged)
      ring[index].bufferIndex = buffer
      ring[index].flags.insert(.bufferChanged)
      set(place, key, lane)
    }
    return "swap \(name) \(index) with \(open[otherPlace].pipe) \(otherKey) \(otherIndex)"
  }

  private mutating func spoilSlot(
    _ place: Int, _ key: ModelPipe.RingKey, _ ring: TestRing, _ name: String
  ) -> String {
    var lane = lane(place, key)
    guard let index = lane.own(key.direction).randomElement(using: &generator) else {
      return "nothing"
    }
    var slot = lane[key.direction].slots[Int(index)]
    if generator.chance(50) {
      if (2..<bufferCount).contains(slot.bufferIndex) { lost.insert(slot.bufferIndex) }
      slot.bufferIndex = [0, 1, bufferCount, .max].randomElement(using: &generator) ?? 0
    } else {
      slot.length = UInt16.random(in: 2049...(.max), using: &generator)
    }
    lane[key.direction].slots[Int(index)] = slot
    ring[index] = slot
    set(place, key, lane)
    return "spoil slot \(index) of \(name)"
  }

  private mutating func spoilCursors(
    _ place: Int, _ key: ModelPipe.RingKey, _ ring: TestRing, _ name: String
  ) -> String {
    var lane = lane(place, key)
    let (before, generatorRange) = (lane[key.direction], 0...(lane.count + 1))
    lane[key.direction].head = UInt32.random(in: generatorRange, using: &generator)
    lane[key.direction].cur = UInt32.random(in: generatorRange, using: &generator)
    // A random head may be legal and release slots that were not filled. The model allows it too.
    ring.head = lane[key.direction].head
    ring.cur = lane[key.direction].cur
    set(place, key, lane)
    let what = "cursors of \(name) to \(ring.head), \(ring.cur), from \(before.head), \(before.cur)"
    return what + "; " + sync(place, key, ring, name)
  }

  // MARK: Comparing

  /// Compares the engine with the model.
  ///
  /// - Parameter pools: Whether to compare each buffer of the region too, which is slow.
  /// - Returns: The first difference, in words; nil when there is none.
  func difference(pools: Bool) -> String? {
    var owners: [UInt32: String] = [:]
    func own(_ buffer: UInt32, _ owner: String) -> String? {
      guard (2..<bufferCount).contains(buffer) else { return nil }
      if let other = owners.updateValue(owner, forKey: buffer) {
        return "buffer \(buffer) belongs to \(other) and to \(owner)"
      }
      return nil
    }
    for (place, entry) in open.enumerated() {
      for key in entry.rings {
        if let difference = difference(ring(place, key), lane(place, key), key) {
          return "pipe \(entry.pipe) \(key): \(difference)"
        }
      }
      let list = ExtraBufferTests.list(probe.region, entry.port.interface.extraBuffersHead)
      if list != entry.extra { return "extra buffers are \(list), not \(entry.extra)" }
      for buffer in list {
        if let twice = own(buffer, "list of \(entry.port.registration.name)") { return twice }
      }
    }
    for (number, pipe) in pipes {
      for (key, lane) in pipe.lanes {
        for buffer in lane.buffers {
          if let twice = own(buffer, "pipe \(number) \(key)") { return twice }
        }
      }
    }
    for buffer in lost where owners[buffer] == nil { owners[buffer] = "nobody" }
    return pools ? poolDifference(Set(owners.keys)) ?? checkDifference() : nil
  }

  /// The first finding of the engine's checker that is not about buffers: the model's applications
  /// spoil slots and lose buffers.
  private func checkDifference() -> String? {
    let report = engine.check()
    return report.findings.first { !$0.contains("buffer") } ?? report.moving.first
  }

  /// Compares the region's pools and owner bytes with the set of buffers that have an owner.
  private func poolDifference(_ owned: Set<UInt32>) -> String? {
    let fresh = Set(probe.buffers)
    for index in 2..<bufferCount {
      let inUse = probe.region.isBufferInUse(index)
      if inUse != (owned.contains(index) || fresh.contains(index)) {
        return
          "buffer \(index) is \(inUse ? "in use without an owner" : "free, but it has an owner")"
      }
      if inUse != (probe.region.ownership.state(index) == .user) {
        return "buffer \(index): pool and owner byte disagree"
      }
    }
    var expected = atStart
    expected.interfaces -= open.count
    expected.rings -= 2 * pipes.values.reduce(0) { $0 + $1.lanes.count }
    expected.buffers -= owned.count
    return probe.free == expected ? nil : "free objects are \(probe.free), not \(expected)"
  }

  private func difference(
    _ ring: TestRing, _ lane: ModelLane, _ key: ModelPipe.RingKey
  ) -> String? {
    let (mine, other) =
      key.direction == .transmit ? (lane.tx, lane.rx) : (lane.rx, lane.tx)
    if ring.slots != mine.slots { return "slots differ" }
    if ring.peerSlots != other.slots { return "the other side's slots differ" }
    let (actual, expected) = (
      [ring.head, ring.cur, ring.tail, ring.hwcur], [mine.head, mine.cur, mine.tail, mine.synced]
    )
    return actual == expected ? nil : "cursors are \(actual), not \(expected)"
  }

  /// Closes everything. Only buffers that the applications lost stay allocated, until the region is
  /// idle.
  mutating func finish() -> String? {
    while !open.isEmpty {
      let what = closeOne()
      if let difference = difference(pools: true) { return "\(what): \(difference)" }
    }
    return engine.directory.entries.map(\.name) == ["probe0"] ? nil : "something is still listed"
  }
}
