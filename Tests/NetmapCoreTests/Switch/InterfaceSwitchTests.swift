import Glibc
import NetmapTestSupport
import Testing

@testable import NetmapCore

/// Interfaces on a switch, served by the engine's own worker. These interfaces return every packet sent to them.
@Suite("VALE: interfaces", .timeLimit(.minutes(15)))
struct InterfaceSwitchTests {
  private let interfaces = FakeInterfaces([
    "fake0": .pairs(2, slots: 64), "odd0": .fake, "broken0": .pairs(1),
  ])
  private let engine: Engine

  init() throws { engine = try Engine(interfaces: interfaces) }

  @discardableResult
  private func attach(
    _ name: String, _ selection: RingSelection = .allHardware, flags: BindingFlags = [],
    memoryID: UInt16 = 0
  ) throws -> SwitchAnswer {
    try engine.answer(
      .attach(
        RegisterRequest(
          name: try PortName(name), selection: selection, flags: flags, memoryID: memoryID)))
  }
  private func detach(_ name: String) throws { _ = try engine.answer(.detach(try PortName(name))) }
  private func poll(_ name: String, _ cpus: PollingCPUs?) throws {
    _ = try engine.answer(.polling(try PortName(name), cpus))
  }
  private func code(_ body: () throws -> Void) -> NetmapError.Code? {
    (#expect(throws: NetmapError.self) { try body() })?.code
  }
  private func expectSound() {
    let report = engine.check()
    #expect(report.findings.isEmpty, "\(report.findings)")
  }

  /// Takes packets until there are `count`, or ten seconds have passed.
  private func take(_ count: Int, from port: TestPort) -> [[UInt8]] {
    var packets: [[UInt8]] = []
    _ = eventually {
      packets += port.rx().takePackets()
      return packets.count >= count
    }
    return packets
  }

  @Test("packets to an interface leave through it, and packets that arrive go to the other ports")
  func bothWays() throws {
    let answer = try attach("vale0:fake0")
    #expect(answer.memoryID > 1 && answer.portIndex == 0)
    #expect(answer.geometry == .pairs(2, slots: 64))
    let port = try TestPort(engine, "vale0:a")
    for number in 0..<300 as Range<UInt32> {
      // The address is unknown: the frame floods, and so does its copy that the interface returns.
      let frame = TestFrame(target: .station(9), source: .station(1), number: number)
      port.tx().send(frame)
      #expect(take(1, from: port) == [frame.bytes])
    }
    try detach("vale0:fake0")
    expectSound()
    #expect(interfaces["fake0"].active.isEmpty)
  }

  @Test("an interface on a switch can have monitors with copies, and none without")
  func monitors() throws {
    try attach("vale0:fake0")
    for name in ["fake0", "vale0:fake0"] {
      #expect(
        code { _ = try TestPort(engine, name, flags: .zeroCopyMonitor) } == .unsupported,
        "\(name)")
      let monitor = try TestPort(engine, name, flags: .monitorTransmit)
      monitor.close()
    }
    try detach("vale0:fake0")
    expectSound()
  }

  @Test("packets of several slots stay whole")
  func fragments() throws {
    try attach("vale0:fake0")
    let port = try TestPort(engine, "vale0:a")
    let bytes = TestFrame(target: .broadcast, source: .station(1), number: 1, length: 150).bytes
    for _ in 0..<100 {
      port.tx().putPacket(bytes, in: [60, 50, 40])
      port.tx().sync()
      #expect(take(1, from: port) == [bytes])
    }
    expectSound()
  }

  @Test("an interface with different numbers and sizes of transmit and receive rings")
  func oddRings() throws {
    let answer = try attach("vale0:odd0")
    #expect(answer.geometry.transmitRings == 2 && answer.geometry.receiveRings == 3)
    #expect(answer.geometry.transmitSlots == 16 && answer.geometry.receiveSlots == 8)
    let port = try TestPort(engine, "vale0:a", hints: RingGeometryHints(transmitRings: 3))
    for index in 0..<2 {
      let frame = TestFrame(target: .station(9), source: .station(1), number: UInt32(index))
      // The target is unknown: the frame floods, and so does its copy that the interface returns.
      port.tx(index).send(frame)
      #expect(take(1, from: port) == [frame.bytes])
    }
    try detach("vale0:odd0")
    expectSound()
  }

  @Test("with a full interface ring, every packet is delivered or counted as ring_full")
  func backPressure() throws {
    try attach("vale0:fake0")
    let port = try TestPort(engine, "vale0:a")
    let quiet = try TestPort(engine, "vale0:quiet")
    var sent: UInt32 = 0
    for _ in 0..<50 {
      for _ in 0..<20 {
        port.tx().putPacket(
          TestFrame(target: .broadcast, source: .station(1), number: sent).bytes)
        sent += 1
      }
      port.tx().sync()
      _ = quiet.rx().takePackets()
    }
    let shown = try #require(try interfacePort("vale0:fake0"))
    // The worker may be scheduled late.
    let isAccountedFor = eventually {
      _ = port.rx().takePackets()
      let received = unsafe shown.kring(.receive, 0).counters
      return received.packets &+ received.drops[.ringFull] == UInt64(sent)
    }
    #expect(isAccountedFor)
    #expect(eventually { engine.check().moving.isEmpty })
    expectSound()
  }

  /// The engine's port of that name.
  private func interfacePort(_ name: String) throws -> EnginePort? {
    try engine.exclusively { (state) throws(NetmapError) in
      state.ports[.name(try PortName(name))].map { Found(port: $0) }
    }?.port
  }

  private struct Found: @unchecked Sendable {
    let port: EnginePort
  }

  @Test("damaged slots in shared memory cost only their packets, and are counted")
  func damage() throws {
    let source = try TestPort(engine, "vale0:s", hints: .slots(16))
    let target = try TestPort(
      engine, "vale1:t", memoryID: source.registration.memoryID, hints: .slots(16))
    let sender = try TestPort(engine, "vale0:x")
    let frames = (0..<6).map {
      TestFrame(target: .broadcast, source: .station(1), number: UInt32($0))
    }
    for frame in frames { sender.tx().send(frame) }
    source.rx().sync()
    source.rx()[1].bufferIndex = 1
    source.rx()[2].bufferIndex = .max
    source.rx()[3].length = 2049
    target.tx()[1].bufferIndex = 0
    let listener = try TestPort(engine, "vale1:l")
    let outcome = unsafe BufferSwap(source: source.rx().mapped, target: target.tx().mapped)
      .move(TurnBudget())
    #expect(outcome.moved == 6 && !outcome.isBlocked && !outcome.hasFailed)
    // The target's damaged slot cost one intact packet.
    #expect(listener.rx().takePackets() == [frames[0].bytes, frames[5].bytes])
    #expect(source.rx().counters.drops[.badBufferIndex] == 2)
    #expect(source.rx().counters.drops[.badLength] == 1)
    #expect(target.tx().counters.drops[.badBufferIndex] >= 1)
  }

  @Test("a turn ends with the packet that uses up its bytes")
  func turnBytes() throws {
    let source = try TestPort(engine, "vale0:s", hints: .slots(16))
    let target = try TestPort(
      engine, "vale1:t", memoryID: source.registration.memoryID, hints: .slots(16))
    let sender = try TestPort(engine, "vale0:x")
    for number in 0..<8 as Range<UInt32> {
      sender.tx().send(TestFrame(target: .broadcast, source: .station(1), number: number))
    }
    let swap = unsafe BufferSwap(source: source.rx().mapped, target: target.tx().mapped)
    // 60 bytes count as 64.
    #expect(unsafe swap.move(TurnBudget(bytes: 3 * 64)).moved == 3)
    #expect(unsafe swap.move(TurnBudget(bytes: 1)).moved == 1)
    #expect(unsafe swap.move(TurnBudget(slots: 2)).moved == 2)
    #expect(unsafe swap.move(TurnBudget()).moved == 2)
  }

  @Test("attaching: EINVAL, EBUSY, ENOMEM and EOPNOTSUPP as in netmap")
  func refusals() throws {
    #expect(code { try attach("fake0") } == .invalidArgument)
    #expect(code { try attach("vale0:nosuch") } == .invalidArgument)
    #expect(code { try attach("vale+:fake0") } == .outOfMemory)
    #expect(code { try attach("vale0:broken0") } == .unsupported)
    #expect(code { try attach("vale0:fake0", memoryID: 77) } == .invalidArgument)
    for selection in [
      RingSelection.hardwareAndHost, .host, .oneHardware(0), .oneHost(0), .null,
    ] {
      #expect(code { try attach("vale0:fake0", selection) } == .invalidArgument)
    }
    let open = try TestPort(engine, "fake0")
    #expect(code { try attach("vale0:fake0") } == .busy)
    open.close()
    let pipe = try TestPort(engine, "fake0{1")
    #expect(code { try attach("vale0:fake0") } == .busy)
    pipe.close()
    interfaces["fake0"].failActivation(
      of: 1, with: NetmapError(.notPermitted, "open", "fake0", reason: "no right"))
    #expect(code { try attach("vale0:fake0") } == .notPermitted)
    #expect(interfaces["fake0"].active.isEmpty)
    interfaces["fake0"].failActivation(of: 1, with: nil)
    #expect(
      throws: NetmapError.self, "a failed attempt leaves no switch behind",
      performing: { _ = try engine.answer(.next(switch: 0, port: 0)) })
    try attach("vale0:fake0")
    #expect(code { try attach("vale0:fake0") } == .busy)
    #expect(code { try attach("vale1:fake0") } == .busy)
    for name in ["fake0", "vale0:fake0", "fake0{1", "vale0:fake0{1"] {
      #expect(code { _ = try TestPort(engine, name) } == .busy, "\(name)")
    }
    #expect(
      code { _ = try TestPort(engine, "fake0", flags: [.receiveOnly, .transmitOnly]) } == .busy)
    #expect(
      try engine.answer(.information(try PortName("vale0:fake0"))).geometry.transmitRings == 2)
    #expect(try engine.answer(.information(try PortName("fake0"))).memoryID > 1)
    try detach("vale0:fake0")
    #expect(code { try detach("vale0:fake0") } == .noSuchDevice)
    expectSound()
  }

  @Test("attaching in an existing region, and in one direction only")
  func regionAndDirection() throws {
    let shared = try TestPort(engine, "vale9:big", hints: .slots(1024))
    let answer = try attach(
      "vale0:fake0", flags: .transmitOnly, memoryID: shared.registration.memoryID)
    #expect(answer.memoryID == shared.registration.memoryID)
    let port = try TestPort(engine, "vale0:a")
    port.tx().send(TestFrame(target: .broadcast, source: .station(1), number: 1))
    #expect(eventually { interfaces["fake0"].pairs[0].hasFrames })
    try detach("vale0:fake0")
    expectSound()
  }

  @Test("attaching and detaching again and again, with opens by programs in between")
  func again() throws {
    let port = try TestPort(engine, "vale0:a")
    for round in 0..<30 as Range<UInt32> {
      try attach("vale0:fake0")
      let frame = TestFrame(target: .station(9), source: .station(1), number: round)
      port.tx().send(frame)
      #expect(take(1, from: port) == [frame.bytes])
      try detach("vale0:fake0")
      try TestPort(engine, "fake0").close()
    }
    expectSound()
    #expect(try engine.answer(.information(try PortName("fake0"))).memoryID == 1)
  }

  @Test("an interface that fails is detached from the switch, and the other ports go on")
  func failure() throws {
    try attach("vale0:fake0")
    let ports = try ["vale0:a", "vale0:b"].map { try TestPort(engine, $0) }
    for pair in interfaces["fake0"].pairs { pair.fail(with: EIO) }
    ports[0].tx().send(TestFrame(target: .broadcast, source: .station(1), number: 1))
    #expect(
      eventually {
        (try? engine.answer(.find(try PortName("vale0:fake0"))))?.portIndex == 255
      })
    let frame = TestFrame(target: .broadcast, source: .station(1), number: 2)
    ports[0].tx().send(frame)
    #expect(take(2, from: ports[1]).last == frame.bytes)
    #expect(code { try detach("vale0:fake0") } == .noSuchDevice)
    expectSound()
  }

  @Test("polling: errors, packets that move, and EBUSY for a request to detach")
  func polling() throws {
    try attach("vale0:fake0")
    let port = try TestPort(engine, "vale0:a")
    let name = "vale0:fake0"
    #expect(code { try poll("fake0", .one(0)) } == .invalidArgument)
    #expect(code { try poll("vale0:none", .one(0)) } == .noSuchDevice)
    #expect(code { try poll("vale0:a", .one(0)) } == .unsupported)
    #expect(code { try poll(name, nil) } == .badAddress)
    let online = Int(sysconf(CInt(_SC_NPROCESSORS_ONLN)))
    for wrong in [
      PollingCPUs.one(-1), .one(1000), .each(first: 0, count: 0), .each(first: 2, count: 1),
      .each(first: 0, count: online), .each(first: .max, count: 1),
    ] {
      #expect(code { try poll(name, wrong) } == .invalidArgument, "\(wrong)")
    }
    for cpus in [PollingCPUs.one(0), .each(first: 1, count: 1), .each(first: 0, count: 1)]
    where online > 1 {
      try poll(name, cpus)
      #expect(code { try poll(name, cpus) } == .badAddress)
      #expect(code { try detach(name) } == .busy)
      for number in 0..<50 as Range<UInt32> {
        let frame = TestFrame(target: .station(9), source: .station(1), number: number)
        port.tx().send(frame)
        #expect(take(1, from: port) == [frame.bytes])
      }
      try poll(name, nil)
      let frame = TestFrame(target: .station(9), source: .station(1), number: 99)
      port.tx().send(frame)
      #expect(take(1, from: port) == [frame.bytes], "the worker serves the interface again")
    }
    if online > 1 {
      try poll(name, .one(0))
      for pair in interfaces["fake0"].pairs { pair.fail(with: EIO) }
      #expect(
        eventually { (try? engine.answer(.find(try PortName(name))))?.portIndex == 255 },
        "an interface that fails while it is polled is detached too")
    } else {
      try detach(name)
    }
    expectSound()
  }
}
