import NetmapCore
import Testing

@Suite("Pipes: names and ends")
struct PipeIdentityTests {
  @Test("base and identifier name the pipe; the bracket selects the end")
  func pairing() throws {
    let engine = try Engine()
    let names = ["a{1", "a}1", "a{2", "a}2", "b{1", "b}1", "a{01", "a}01"]
    let ports = try names.map { try TestPort(engine, $0, hints: .slots(8)) }
    for (index, port) in ports.enumerated() { port.tx().send(UInt64(index)) }
    for (index, port) in ports.enumerated() {
      #expect(port.rx().receive() == [UInt64(index ^ 1)], "\(names[index])")
    }
  }

  @Test("either end may be opened first", arguments: [["a{1", "a}1"], ["a}1", "a{1"]])
  func bothOrders(order: [String]) throws {
    let engine = try Engine()
    let first = try TestPort(engine, order[0], hints: .slots(4))
    first.tx().send([1, 2])
    let second = try TestPort(engine, order[1])
    second.tx().send([3])
    #expect(second.rx().receive() == [1, 2])
    #expect(first.rx().receive() == [3])
  }

  @Test("a base that is not an interface is created, and removed with its last pipe")
  func parentLifetime() throws {
    let engine = try Engine()
    func parentExists() -> Bool {
      (try? engine.portInfo(RegisterRequest(name: try PortName("nowhere")))) != nil
    }
    #expect(!parentExists())
    let one = try TestPort(engine, "nowhere{1", hints: .slots(4))
    let two = try TestPort(engine, "nowhere}2")
    #expect(parentExists())
    one.close()
    #expect(parentExists())
    two.close()
    #expect(!parentExists())
  }

  @Test("all pipes of one base, and the base itself, share its region")
  func sharedRegion() throws {
    let engine = try Engine()
    let one = try TestPort(engine, "a{1", hints: .slots(4))
    let ids = try ["a}1", "a{2", "a", "a}2{x"].map {
      try TestPort(engine, $0).registration.memoryID
    }
    #expect(one.registration.memoryID > 1)
    #expect(Set(ids) == [one.registration.memoryID])
    #expect(try TestPort(engine, "b{1").registration.memoryID != one.registration.memoryID)
  }

  @Test("a base has at most 64 pipes; the 65th is EINVAL with the reason")
  func tableFull() throws {
    let engine = try Engine()
    var ports: [TestPort] = []
    for id in 0..<64 { ports.append(try TestPort(engine, "a{\(id)", hints: .slots(2))) }
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "a{64") }
    #expect(error?.code == .invalidArgument)
    #expect(error?.description.contains("a{64") == true)
    #expect(error?.description.contains("64 pipes") == true)
    #expect(error?.remedy.isEmpty == false)
    // The other end is not a new pipe, and closing a pipe frees its place.
    _ = try TestPort(engine, "a}63")
    ports[5].close()
    _ = try TestPort(engine, "a}64")
  }

  @Test("a pipe end can be the base of another pipe")
  func nested() throws {
    let engine = try Engine()
    let outer = try TestPort(engine, "a}1", hints: .slots(4))
    let inner = try TestPort(engine, "a}1{x")
    let other = try TestPort(engine, "a}1}x")
    inner.tx().send([7])
    #expect(other.rx().receive() == [7])
    #expect(outer.rx().receive().isEmpty)
    #expect(inner.interface.name == "a}1{x")
    // The inner pipe keeps the end of the outer pipe.
    outer.close()
    other.tx().send([8])
    #expect(inner.rx().receive() == [8])
    inner.close()
    other.close()
    #expect(engine.directory.entries.isEmpty)
    #expect(throws: NetmapError.self) {
      try engine.portInfo(RegisterRequest(name: try PortName("a")))
    }
  }

  @Test("a base of 16 characters that is not an interface cannot be created: ENXIO")
  func parentNameTooLong() throws {
    let engine = try Engine()
    _ = try TestPort(engine, "abcdefghijklmno{1", hints: .slots(2))
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "abcdefghijklmnop{1") }
    #expect(error?.code == .noSuchDevice)
    #expect(error?.description.contains("abcdefghijklmnop{1") == true)
    #expect(error?.reason.contains("too long") == true)
    #expect(error?.remedy.contains("15") == true)
  }

  @Test(
    "host rings are EINVAL: a pipe has none",
    arguments: [
      .host, .hardwareAndHost, .oneHost(0),
    ] as [RingSelection])
  func hostRings(selection: RingSelection) throws {
    let engine = try Engine()
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "a{1", selection) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.description.contains("a{1") == true)
    #expect(error?.reason.contains("host rings") == true)
    #expect(error?.remedy.isEmpty == false)
    #expect(throws: NetmapError.self) {
      try engine.portInfo(RegisterRequest(name: try PortName("a")))
    }
  }

  @Test("a region that does not exist is EINVAL, even if it would not be used")
  func unknownRegion() throws {
    let engine = try Engine()
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "a{1", memoryID: 99) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.description.contains("region 99") == true)
    _ = try TestPipe(engine: engine)
    let open = try TestPort(engine, "a{1", hints: .slots(4))
    #expect(throws: NetmapError.self) { try TestPort(engine, "a}1", memoryID: 99) }
    _ = open
  }

  @Test("an existing region is used only if this call creates the base")
  func givenRegion() throws {
    let engine = try Engine()
    let first = try TestPort(engine, "a{1", hints: .slots(4))
    let other = try TestPort(engine, "b{1", memoryID: first.registration.memoryID, hints: .slots(4))
    #expect(other.registration.memoryID == first.registration.memoryID)
    let late = try TestPort(engine, "a}1", memoryID: 1)
    #expect(late.registration.memoryID == first.registration.memoryID)
    let global = try TestPort(engine, "c{1", memoryID: 1, hints: .slots(4))
    #expect(global.registration.memoryID == 1)
  }

  @Test("a pipe of an interface lies in the interface's region, and the interface stays unbound")
  func interfaceParent() throws {
    let interfaces = FakeInterfaces()
    let engine = try Engine(interfaces: interfaces)
    let pipe = try TestPort(engine, "fake0{1")
    #expect(pipe.registration.memoryID == 1)
    #expect(interfaces["fake0"].calls.isEmpty)
    #expect(pipe.registration.geometry.transmitSlots == PortGeometry.fake.transmitSlots)
    #expect(pipe.registration.geometry.receiveSlots == PortGeometry.fake.receiveSlots)
    #expect(pipe.registration.geometry.transmitRings == 1)
    let port = try TestPort(engine, "fake0", flags: .exclusive)
    port.tx().send([1])
    #expect(pipe.rx().receive().isEmpty)
  }
}

@Suite("Pipes: geometry")
struct PipeGeometryTests {
  static let hints = RingGeometryHints(
    transmitSlots: 16, receiveSlots: 8, transmitRings: 3, receiveRings: 2)

  @Test(
    "the hints describe the master, whichever end is opened first; the slave mirrors it",
    arguments: ["a{1", "a}1"])
  func mirrored(first: String) throws {
    let engine = try Engine()
    let opened = try TestPort(engine, first, hints: Self.hints)
    let master = try TestPort(engine, "a{1")
    let slave = try TestPort(engine, "a}1")
    _ = opened
    #expect(
      master.registration.geometry
        == PortGeometry(transmitRings: 3, receiveRings: 2, transmitSlots: 16, receiveSlots: 8))
    #expect(
      slave.registration.geometry
        == PortGeometry(transmitRings: 2, receiveRings: 3, transmitSlots: 8, receiveSlots: 16))
    #expect(master.mapped.transmitCount == 3)
    #expect(slave.mapped.receiveCount == 3)
    #expect(master.tx(2).count == 16)
    #expect(slave.tx(1).count == 8)
  }

  @Test("the hints of later openers are ignored")
  func laterHints() throws {
    let engine = try Engine()
    let first = try TestPort(engine, "a{1", hints: Self.hints)
    for name in ["a{1", "a}1"] {
      let later = try TestPort(
        engine, name, hints: RingGeometryHints(transmitSlots: 4, receiveSlots: 4, transmitRings: 1))
      #expect(
        later.registration.geometry.transmitSlots + later.registration.geometry.receiveSlots == 24)
    }
    _ = first
  }

  @Test("without hints: one ring, as many slots as the base has")
  func defaults() throws {
    let engine = try Engine()
    let first = try TestPort(engine, "a{1")
    #expect(first.registration.geometry == PortGeometry(transmitSlots: 1024, receiveSlots: 1024))
    let base = try TestPort(
      engine, "b{1", hints: RingGeometryHints(transmitSlots: 32, receiveSlots: 64))
    let second = try TestPort(engine, "b{2")
    #expect(second.registration.geometry == PortGeometry(transmitSlots: 32, receiveSlots: 64))
    _ = base
  }

  @Test("numbers above the limit are reduced to it, without an error")
  func bounded() throws {
    let engine = try Engine()
    let slots = try TestPort(
      engine, "a{1", hints: RingGeometryHints(transmitSlots: 5000, receiveSlots: .max))
    #expect(slots.registration.geometry.transmitSlots == 4096)
    #expect(slots.registration.geometry.receiveSlots == 4096)
    var request = RegisterRequest(name: try PortName("fake0{1"))
    request.hints = RingGeometryHints(transmitRings: 257, receiveRings: .max)
    let rings = try Engine(interfaces: FakeInterfaces()).portInfo(request).geometry
    #expect(rings?.transmitRings == 256)
    #expect(rings?.receiveRings == 256)
  }

  @Test("a pipe may have as many rings as a netmap_if can list; more is EINVAL")
  func manyRings() throws {
    let engine = try Engine()
    func hints(_ rings: UInt16) -> RingGeometryHints {
      RingGeometryHints(
        transmitSlots: 512, receiveSlots: 512, transmitRings: rings, receiveRings: rings)
    }
    let port = try TestPort(engine, "a{1", hints: hints(251))
    #expect(port.mapped.transmitCount == 251)
    #expect(port.rx(250).count == 512)
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "b{1", hints: hints(252)) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.description.contains("b{1") == true)
    #expect(error?.reason.contains("56...4096") == true)
    #expect(error?.remedy.contains("fewer") == true)
  }

  @Test("a ring of one slot holds no packet, and its syncs succeed")
  func oneSlot() throws {
    let pipe = try TestPipe(.slots(1))
    for _ in 0..<3 {
      #expect(pipe.master.tx().sync() == .done)
      #expect(pipe.slave.rx().sync() == .done)
      #expect(pipe.master.tx().space == 0)
      #expect(pipe.slave.rx().space == 0)
    }
  }

  @Test("both rings of a pair name the same buffers, slot by slot; nothing else is shared")
  func sameBuffers() throws {
    let pipe = try TestPipe(Self.hints)
    var seen: Set<UInt32> = []
    for index in 0..<3 {
      #expect(pipe.master.tx(index).slots == pipe.slave.rx(index).slots)
      seen.formUnion(pipe.master.tx(index).bufferIndexes)
    }
    for index in 0..<2 {
      #expect(pipe.slave.tx(index).slots == pipe.master.rx(index).slots)
      seen.formUnion(pipe.slave.tx(index).bufferIndexes)
    }
    #expect(seen.count == 3 * 16 + 2 * 8)
  }

  @Test("rings of a pipe are independent")
  func independentRings() throws {
    let pipe = try TestPipe(Self.hints)
    for index in 0..<3 { pipe.master.tx(index).send(UInt64(10 + index)) }
    pipe.slave.tx(1).send([20])
    for index in [2, 0, 1] { #expect(pipe.slave.rx(index).receive() == [UInt64(10 + index)]) }
    #expect(pipe.master.rx(0).receive().isEmpty)
    #expect(pipe.master.rx(1).receive() == [20])
  }

  @Test("one end may bind fewer rings: packets on the others wait")
  func partialBinds() throws {
    let engine = try Engine()
    let master = try TestPort(
      engine, "a{1", .oneHardware(1), flags: .transmitOnly, hints: Self.hints)
    #expect(master.mapped.transmitCount == 1)
    #expect(master.mapped.receiveCount == 0)
    master.tx().send([1, 2])
    let wrong = try TestPort(engine, "a}1", .oneHardware(0), flags: .receiveOnly)
    #expect(wrong.rx().receive().isEmpty)
    let right = try TestPort(engine, "a}1", .oneHardware(1), flags: .receiveOnly)
    #expect(right.rx().receive() == [1, 2])
  }

  @Test("a ring number that neither direction has is EINVAL")
  func ringOutOfRange() throws {
    let engine = try Engine()
    // Ring 2 exists among the transmit rings only; receive falls back to ring 0.
    let port = try TestPort(engine, "a{1", .oneHardware(2), hints: Self.hints)
    #expect(port.tx().field(16, as: UInt16.self) == 2)
    #expect(port.rx().field(16, as: UInt16.self) == 0)
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "a{1", .oneHardware(3)) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.description.contains("a{1") == true)
    #expect(error?.description.contains("ring 3") == true)
    #expect(error?.remedy.contains("0...2") == true)
  }
}
