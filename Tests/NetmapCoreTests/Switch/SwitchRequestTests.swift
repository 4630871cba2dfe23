import NetmapCore
import Testing

@Suite("VALE: requests")
struct SwitchRequestTests {
  private let engine: Engine

  init() throws { engine = try Engine() }

  private func create(_ name: String) throws -> SwitchAnswer {
    try engine.answer(.create(RegisterRequest(name: try PortName(name))))
  }
  private func attach(_ name: String) throws -> SwitchAnswer {
    try engine.answer(.attach(RegisterRequest(name: try PortName(name))))
  }
  private func detach(_ name: String) throws -> SwitchAnswer {
    try engine.answer(.detach(try PortName(name)))
  }
  private func remove(_ name: String) throws {
    _ = try engine.answer(.remove(try PortName(name)))
  }

  private func code(_ body: () throws -> Void) -> NetmapError.Code? {
    (#expect(throws: NetmapError.self) { try body() })?.code
  }

  @Test("a persistent port is opened under both names, and sends and receives on its switch")
  func persistent() throws {
    #expect(try create("v0").geometry == PortGeometry())
    let alone = try TestPort(engine, "v0")
    alone.tx().send(TestFrame(target: .broadcast, source: .station(1), number: 1))
    #expect(alone.tx().space == 1023, "packets sent without a switch are discarded")
    #expect(alone.tx().counters.drops[.notAttached] == 1)
    alone.close()
    #expect(try attach("vale0:v0").portIndex == 0)
    let a = try TestPort(engine, "netmap:v0".replacing("netmap:", with: ""))
    let b = try TestPort(engine, "vale0:b")
    let frame = TestFrame(target: .broadcast, source: .station(1), number: 1)
    a.tx().send(frame)
    #expect(b.rx().takePackets() == [frame.bytes])
    a.close()
    let again = try TestPort(engine, "vale0:v0")
    b.tx().send(frame)
    #expect(again.rx().takePackets() == [frame.bytes])
  }

  @Test("creating: EINVAL for switch names and long names, EEXIST for an existing port")
  func creating() throws {
    #expect(code { _ = try create("vale0") } == .invalidArgument)
    #expect(code { _ = try create("a123456789abcdef") } == .invalidArgument)
    _ = try create("v0")
    #expect(code { _ = try create("v0") } == .alreadyExists)
    _ = try attach("vale0:v0")
    #expect(code { _ = try create("v0") } == .alreadyExists)
    #expect(
      code {
        _ = try engine.answer(
          .create(RegisterRequest(name: try PortName("v1"), memoryID: 77)))
      } == .invalidArgument)
  }

  @Test("removing: ENXIO, EINVAL, EBUSY")
  func removing() throws {
    #expect(code { try remove("v0") } == .noSuchDevice)
    let pipe = try TestPort(engine, "x{1")
    #expect(code { try remove("x") } == .invalidArgument)
    _ = pipe
    _ = try create("v0")
    let open = try TestPort(engine, "v0")
    #expect(code { try remove("v0") } == .busy)
    open.close()
    _ = try attach("vale0:v0")
    #expect(code { try remove("v0") } == .busy)
    _ = try detach("vale0:v0")
    try remove("v0")
    #expect(code { try remove("v0") } == .noSuchDevice)
  }

  @Test("attaching: EINVAL, EBUSY, ENOMEM; twice to one switch fails, to two switches works")
  func attaching() throws {
    #expect(code { _ = try attach("v0") } == .invalidArgument)
    #expect(code { _ = try attach("vale0:v0") } == .invalidArgument)
    _ = try create("v0")
    #expect(code { _ = try attach("vale+0:v0") } == .outOfMemory)
    let open = try TestPort(engine, "v0")
    #expect(code { _ = try attach("vale0:v0") } == .busy)
    open.close()
    _ = try attach("vale0:v0")
    #expect(code { _ = try attach("vale0:v0") } == .busy)
    _ = try attach("vale1:v0")
    #expect(code { _ = try TestPort(engine, "v0") } == .busy)
    #expect(code { try remove("v0") } == .busy)
    #expect(
      code { _ = try detach("vale0:v0") } == .busy, "the later attachment must be detached first")
    _ = try detach("vale1:v0")
    _ = try detach("vale0:v0")
    try remove("v0")
    let ephemeral = try TestPort(engine, "vale0:e")
    #expect(code { _ = try attach("vale0:e") } == .busy)
    #expect(code { _ = try detach("vale0:e") } == .busy)
    #expect(code { _ = try detach("vale0:x") } == .noSuchDevice)
    #expect(code { _ = try detach("e") } == .invalidArgument)
    _ = ephemeral
  }

  @Test("a persistent port cannot be opened on a switch that it is not attached to")
  func notAttached() throws {
    _ = try create("v0")
    #expect(code { _ = try TestPort(engine, "vale0:v0") } == .invalidArgument)
  }

  @Test("listing: by name, and all in order")
  func listing() throws {
    #expect(code { _ = try engine.answer(.find(try PortName("eth0"))) } == .invalidArgument)
    #expect(code { _ = try engine.answer(.find(try PortName("vale0:a"))) } == .noSuchEntry)
    #expect(code { _ = try engine.answer(.next(switch: 0, port: 0)) } == .noSuchEntry)
    let ports = try ["vale0:a", "vale1:b", "vale0:c"].map { try TestPort(engine, $0) }
    let found = try engine.answer(.find(try PortName("vale0:c")))
    #expect([found.switchIndex, found.portIndex] == [0, 1])
    #expect(try engine.answer(.find(try PortName("vale0:z"))).portIndex == 255)
    var names: [String] = []
    var place = (0, 0)
    while let next = try? engine.answer(.next(switch: place.0, port: place.1)) {
      names.append(next.name)
      place = (next.switchIndex, next.portIndex + 1)
    }
    #expect(names == ["vale0:a", "vale0:c", "vale1:b"])
    _ = ports
  }

  @Test("polling is for interfaces")
  func polling() throws {
    #expect(
      code { _ = try engine.answer(.polling(try PortName("eth0"), .one(0))) } == .invalidArgument)
    #expect(
      code { _ = try engine.answer(.polling(try PortName("vale0:a"), .one(0))) } == .noSuchDevice)
    let port = try TestPort(engine, "vale0:a")
    #expect(
      code { _ = try engine.answer(.polling(try PortName("vale0:a"), .one(0))) } == .unsupported)
    _ = port
  }

  @Test("252 ports on a switch, and ENOMEM for one more; each gets a broadcast")
  func full() throws {
    let hints = RingGeometryHints.slots(8)
    var ports = try (0..<252).map { try TestPort(engine, "vale0:p\($0)", hints: hints) }
    #expect(code { _ = try TestPort(engine, "vale0:more", hints: hints) } == .outOfMemory)
    let frame = TestFrame(target: .broadcast, source: .station(1), number: 1)
    ports[17].tx().send(frame)
    for (number, port) in ports.enumerated() where number != 17 {
      #expect(port.rx().takePackets() == [frame.bytes], "port \(number)")
    }
    ports.removeLast().close()
    ports.append(try TestPort(engine, "vale0:more", hints: hints))
  }
}
