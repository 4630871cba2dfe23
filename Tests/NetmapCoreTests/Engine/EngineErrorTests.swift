import NetmapCore
import Testing

@Suite("Requests that the engine refuses")
struct EngineErrorTests {
  /// A request that must fail, with the expected `errno` and words of the message.
  struct Refusal: Sendable, CustomTestStringConvertible {
    let what: String
    let name: String
    var selection = RingSelection.allHardware
    var flags: BindingFlags = []
    var memoryID: UInt16 = 0
    var hints = RingGeometryHints.none
    var offsets: OffsetsOption?
    let code: NetmapError.Code
    let words: [String]
    var testDescription: String { what }
  }

  static let refusals: [Refusal] = [
    Refusal(
      what: "no such interface is ENXIO", name: "eth7", code: .noSuchDevice,
      words: ["no interface or port", "ip link"]),
    Refusal(
      what: "an interface that cannot be opened keeps the provider's error", name: "broken0",
      code: .unsupported, words: ["its driver is broken", "choose another"]),
    Refusal(
      what: "a pipe of an interface that cannot be opened", name: "broken0{1",
      code: .unsupported, words: ["its driver is broken"]),
    Refusal(
      what: "an unknown region is EINVAL", name: "fake0", memoryID: 77, code: .invalidArgument,
      words: ["memory region 77"]),
    Refusal(
      what: "an unknown region comes before an unknown interface", name: "eth7", memoryID: 77,
      code: .invalidArgument, words: ["memory region 77"]),
    Refusal(
      what: "a null port without a region is EINVAL", name: "x", selection: .null,
      hints: .slots(4), code: .invalidArgument, words: ["null port", "@1"]),
    Refusal(
      what: "a null port of an unknown region is EINVAL", name: "x", selection: .null, memoryID: 9,
      code: .invalidArgument, words: ["memory region 9"]),
    Refusal(
      what: "a null port's rings without slots are EINVAL", name: "x", selection: .null,
      memoryID: 1, hints: RingGeometryHints(transmitRings: 1), code: .invalidArgument,
      words: ["0 slots"]),
    Refusal(
      what: "ONE_NIC beyond both directions is EINVAL", name: "fake0", selection: .oneHardware(3),
      code: .invalidArgument, words: ["ring 3", "0...2"]),
    Refusal(
      what: "ONE_SW beyond both directions is EINVAL", name: "fake0", selection: .oneHost(2),
      code: .invalidArgument, words: ["host ring 2", "0...1"]),
    Refusal(
      what: "SW without host rings is EINVAL", name: "bare0", selection: .host,
      code: .invalidArgument, words: ["no host rings", "'^'"]),
    Refusal(
      what: "NIC_SW without host rings is EINVAL", name: "bare0", selection: .hardwareAndHost,
      code: .invalidArgument, words: ["no host rings"]),
    Refusal(
      what: "ONE_SW without host rings is EINVAL", name: "bare0", selection: .oneHost(0),
      code: .invalidArgument, words: ["no host rings"]),
    Refusal(
      what: "offsets on a port without them are EOPNOTSUPP", name: "fake0",
      offsets: OffsetsOption(max: 64, initial: 0), code: .unsupported, words: ["offset"]),
    Refusal(
      what: "a monitor without copies of a port that nobody has open is EINVAL", name: "fake0",
      flags: .zeroCopyMonitor, code: .invalidArgument, words: ["no program has the port open"]),
    Refusal(
      what: "a monitor of a port that nobody has open is EINVAL", name: "fake0",
      flags: .monitorReceive, code: .invalidArgument, words: ["no program has the port open"]),
    Refusal(
      what: "a switch port has no host rings", name: "vale0:a", selection: .host,
      code: .invalidArgument, words: ["no host rings"]),
    Refusal(
      what: "a switch port's name without a colon is ENOMEM, as in netmap", name: "vale0",
      code: .outOfMemory, words: ["vale0:PORT"]),
    Refusal(
      what: "a switch's name has at most 15 characters", name: "vale456789abcdef:a",
      code: .outOfMemory, words: ["15 characters"]),
    Refusal(
      what: "so have its ports", name: "vale0:a123456789abcdef", code: .outOfMemory,
      words: ["15 characters"]),
    Refusal(
      what: "a switch's name has only letters, digits and '_'", name: "vale+:a",
      code: .outOfMemory, words: ["letters"]),
    Refusal(
      what: "more slots than a ring object holds are ENOMEM", name: "large0", code: .outOfMemory,
      words: ["4096 slots", "ring_size"]),
    Refusal(
      what: "more rings than a netmap_if holds are ENOMEM", name: "wide0", code: .outOfMemory,
      words: ["netmap_if", "if_size"]),
    Refusal(
      what: "more rings than the region has are ENOMEM", name: "x", selection: .null, memoryID: 1,
      hints: RingGeometryHints(
        transmitSlots: 1, receiveSlots: 1, transmitRings: 150, receiveRings: 51),
      code: .outOfMemory, words: ["a ring", "ring_num"]),
  ]

  @Test(
    "with its errno, and a message that names the subject, the reason and the remedy",
    arguments: refusals)
  func refused(_ refusal: Refusal) throws {
    let interfaces = FakeInterfaces([
      "fake0": .fake, "probe0": .pairs(1, slots: 2), "bare0": .pairs(2),
      "large0": .pairs(1, slots: 4096), "wide0": .pairs(64, slots: 2),
    ])
    let engine = try Engine(interfaces: interfaces)
    let probe = try RegionProbe(engine, interfaces)
    let before = probe.free
    let error = #expect(throws: NetmapError.self) {
      try TestPort(
        engine, refusal.name, refusal.selection, flags: refusal.flags, memoryID: refusal.memoryID,
        hints: refusal.hints, offsets: refusal.offsets)
    }
    #expect(error?.code == refusal.code)
    #expect(error?.subject == refusal.name)
    #expect(error?.description.contains(refusal.name) == true)
    #expect(error?.description.contains(refusal.code.name) == true)
    for word in refusal.words {
      #expect(
        error?.description.contains(word) == true, "\(error?.description ?? "") lacks \(word)")
    }
    #expect(error?.reason.isEmpty == false)
    #expect(error?.remedy.isEmpty == false)
    #expect(probe.free == before, "a refused request leaves no object allocated")
    #expect(engine.directory.entries.map(\.name) == ["probe0"])
  }

  @Test("an engine without interfaces suggests a pipe")
  func noProvider() throws {
    let error = #expect(throws: NetmapError.self) { try TestPort(Engine(), "eth0") }
    #expect(error?.code == .noSuchDevice)
    #expect(error?.remedy.contains("netmap:NAME{1") == true)
  }

  @Test(
    "with both directions excluded a port has no rings, and the mode does not matter",
    arguments: [
      .allHardware, .host, .hardwareAndHost, .oneHardware(99), .oneHost(99),
    ] as [RingSelection])
  func noRings(selection: RingSelection) throws {
    let engine = try Engine(interfaces: FakeInterfaces(["bare0": .pairs(2)]))
    let port = try TestPort(engine, "bare0", selection, flags: [.transmitOnly, .receiveOnly])
    #expect(port.mapped.transmitCount == 0)
    #expect(port.mapped.receiveCount == 0)
    #expect(port.mapped.scan([.receive, .transmit]).isEmpty)
  }
}

@Suite("Port and pool information")
struct EngineInformationTests {
  @Test("describes an open port")
  func openPort() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    let port = try TestPort(engine, "fake0")
    let info = try engine.portInfo(RegisterRequest(name: try PortName("fake0")))
    #expect(info.geometry == .fake)
    #expect(info.memoryID == 1)
    #expect(info.memorySize == port.registration.memorySize)
  }

  @Test("a query about a pipe that is not open makes it from the hints, and removes it again")
  func transient() throws {
    let engine = try Engine()
    var request = RegisterRequest(name: try PortName("a}1"))
    request.hints = RingGeometryHints(transmitSlots: 32, receiveSlots: 16, transmitRings: 2)
    let info = try engine.portInfo(request)
    #expect(
      info.geometry
        == PortGeometry(transmitRings: 1, receiveRings: 2, transmitSlots: 16, receiveSlots: 32))
    #expect(info.memoryID > 1)
    #expect(engine.directory.entries.isEmpty)
    let gone = #expect(throws: NetmapError.self) {
      try engine.portInfo(nil, memoryID: info.memoryID)
    }
    #expect(gone?.code == .invalidArgument)
    #expect(throws: NetmapError.self) {
      try engine.portInfo(RegisterRequest(name: try PortName("a")))
    }
  }

  @Test("without a name, describes a memory region: region 1 unless a number is given")
  func memoryOnly() throws {
    let engine = try Engine()
    let info = try engine.portInfo(nil)
    #expect(info.memoryID == 1)
    #expect(info.geometry == nil)
    #expect(info.memorySize == RegionLayout(.global).byteCount)
    let port = try TestPort(engine, "a{1", hints: .slots(4))
    let other = try engine.portInfo(nil, memoryID: port.registration.memoryID)
    #expect(other.memorySize == port.registration.memorySize)
    #expect(throws: NetmapError.self) { try engine.portInfo(nil, memoryID: 500) }
  }

  @Test("pool information has each pool's offset in the region")
  func pools() throws {
    let engine = try Engine()
    let port = try TestPort(engine, "a{1", hints: .slots(4))
    let info = try engine.poolsInfo(RegisterRequest(name: try PortName("a{1")))
    #expect(info.memoryID == port.registration.memoryID)
    #expect(info.memorySize == port.registration.memorySize)
    #expect(info.interfaces.offset == 0)
    #expect(port.tx().offset >= info.rings.offset)
    #expect(port.tx().bufferOffset(0) == info.buffers.offset)
  }

  @Test("refuses unknown names as an open does")
  func unknown() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    let error = #expect(throws: NetmapError.self) {
      try engine.portInfo(RegisterRequest(name: try PortName("eth7")))
    }
    #expect(error?.code == .noSuchDevice)
    #expect(error?.description.contains("eth7") == true)
  }
}

@Suite("The directory of ports")
struct DirectoryTests {
  @Test("lists the open ports, with their number of bindings and their region")
  func entries() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    #expect(engine.directory.entries.isEmpty)
    let pipe = try TestPipe(RingGeometryHints(transmitSlots: 8, receiveSlots: 4), engine: engine)
    let again = try TestPort(engine, "a{1")
    let interface = try TestPort(engine, "fake0")
    let entries = engine.directory.entries.sorted { $0.name < $1.name }
    #expect(entries.map(\.name) == ["a{1", "a}1", "fake0"])
    #expect(entries.map(\.bindings) == [2, 1, 1])
    #expect(
      entries.map(\.geometry)
        == [pipe.master, pipe.slave, interface].map(\.registration.geometry))
    #expect(
      entries.map(\.memoryID) == [pipe.master, pipe.slave, interface].map(\.registration.memoryID))
    for port in [pipe.master, pipe.slave, again, interface] { port.close() }
    #expect(engine.directory.entries.isEmpty)
  }

  @Test("every change increases the generation of a record, which is even between changes")
  func generation() throws {
    let engine = try Engine()
    var last: UInt32 = 0
    for _ in 0..<5 {
      let port = try TestPort(engine, "a{1", hints: .slots(2))
      let generation = try #require(engine.directory.entries.first).generation
      #expect(generation % 2 == 0)
      #expect(generation > last)
      last = generation
      port.close()
    }
  }

  @Test("a second mapping of the directory shows the same entries")
  func mapped() throws {
    let engine = try Engine()
    let other = try Directory(
      mapping: SharedMemory(mapping: engine.directory.memory.descriptor, readOnly: true))
    let port = try TestPort(engine, "a{1", hints: .slots(2))
    #expect(other.entries == engine.directory.entries)
    #expect(other.process(of: port.tag) == 1)
    port.close()
    #expect(other.entries.isEmpty)
    #expect(other.process(of: port.tag) == nil)
  }

  @Test("a client without a free client slot gets ENOMEM")
  func clientSlots() throws {
    let engine = try Engine()
    let tags = try (0..<Directory.clientCapacity).map { _ in try engine.addClient(process: 1) }
    #expect(Set(tags).count == tags.count)
    let error = #expect(throws: NetmapError.self) { try engine.addClient(process: 1) }
    #expect(error?.code == .outOfMemory)
    engine.removeClient(tags[17])
    #expect(try engine.addClient(process: 1).slot == 17)
  }
}
