import Glibc
import Testing

@testable import NetmapCore

/// What tunables do to an engine.
@Suite("Tunables of an engine")
struct EngineTunableTests {
  private let interfaces = FakeInterfaces(["fake0": .fake, "fake1": .fake])

  private func engine(_ values: (Tunable, Int)...) throws -> Engine {
    var tunables = Tunables()
    for (tunable, value) in values { try tunables.set(tunable, to: value, by: "a test") }
    return try Engine(interfaces: interfaces, tunables: tunables)
  }

  private func value(_ tunable: Tunable, _ engine: Engine) -> Int? {
    engine.tunables.first { $0.tunable == tunable }?.value
  }

  private func pools(_ engine: Engine, _ name: String) throws -> PoolsInfo {
    try engine.poolsInfo(RegisterRequest(name: PortName(name)))
  }

  // MARK: - Memory

  @Test("new sizes count when the shared memory is made again: not while a port lies in it")
  func sharedRegion() throws {
    let engine = try engine((.ringCount, 150))
    #expect(value(.ringCurrentCount, engine) == 0, "there is no shared memory yet")
    let first = try TestPort(engine, "fake0")
    #expect(value(.bufferCurrentCount, engine) == 16_384 && value(.ringCurrentCount, engine) == 150)
    try engine.set(.bufferCount, to: 9000, by: "a test")
    try engine.set(.bufferSize, to: 4096, by: "a test")
    let second = try TestPort(engine, "fake1")
    #expect(second.registration.region === first.registration.region)
    first.close()
    let third = try TestPort(engine, "fake0")
    #expect(value(.bufferCurrentCount, engine) == 16_384 && value(.bufferCount, engine) == 9000)
    second.close()
    third.close()
    let fourth = try TestPort(engine, "fake1")
    #expect(fourth.registration.memoryID == 1)
    #expect(fourth.registration.region !== first.registration.region)
    #expect(value(.bufferCurrentCount, engine) == 9000 && value(.bufferCurrentSize, engine) == 4096)
    let pools = try pools(engine, "fake1")
    #expect(pools.buffers.count == 9000 && pools.buffers.size == 4096 && pools.rings.count == 150)
    fourth.tx().send([1, 2, 3])
    #expect(fourth.rx().receive() == [1, 2, 3])
    fourth.close()
    #expect(engine.check().findings.isEmpty)
  }

  @Test("memory that a closed port's views still show is not made again")
  func keptViews() throws {
    let engine = try engine()
    let port = try TestPort(engine, "fake0")
    engine.release(port.registration.id, keepsViews: true)
    try engine.set(.bufferCount, to: 20_000, by: "a test")
    let second = try TestPort(engine, "fake0")
    #expect(second.registration.region === port.registration.region)
    second.close()
    engine.forget(port.registration.id)
    let third = try TestPort(engine, "fake0")
    #expect(third.registration.region !== port.registration.region)
    #expect(value(.bufferCurrentCount, engine) == 20_000)
    third.close()
  }

  @Test("the shared memory stays when a port of a switch lies in it")
  func switchPortInSharedRegion() throws {
    let engine = try engine()
    let port = try TestPort(engine, "vale0:a", memoryID: 1)
    try engine.set(.bufferCount, to: 20_000, by: "a test")
    let other = try TestPort(engine, "fake0")
    #expect(other.registration.region === port.registration.region)
  }

  @Test("objects that are too small are refused at the open, with the tunable's name")
  func tooSmall() throws {
    var tunables = Tunables()
    for (tunable, value) in [(Tunable.ringSize, 256), (.bufferCount, 4), (.interfaceSize, 56)] {
      try tunables.set(tunable, to: value, by: "a test")
    }
    let engine = try Engine(
      interfaces: FakeInterfaces(["fake0": .pairs(1, slots: 1024)]), tunables: tunables)
    for name in ["ring_size", "buf_num", "if_size"] {
      let error = #expect(throws: NetmapError.self) { try TestPort(engine, "fake0") }
      #expect(error?.code == .outOfMemory)
      #expect(error?.remedy.contains(name) == true, "\(String(describing: error))")
      let tunable = try Tunable.named(name)
      try engine.set(tunable, to: tunable.rule.standard, by: "a test")
    }
    _ = try TestPort(engine, "fake0")
  }

  @Test(
    "private memory has at least what priv_* says",
    arguments: ["vale0:a", "a{1", "monitor"])
  func privateRegions(name: String) throws {
    let engine = try engine(
      (.privateInterfaceSize, 2048), (.privateInterfaceCount, 100), (.privateRingSize, 65_536),
      (.privateRingCount, 900), (.privateBufferSize, 4096), (.privateBufferCount, 200_000))
    let port = try TestPort(engine, name == "monitor" ? "fake0" : name)
    let found =
      name == "monitor" ? try TestPort(engine, "fake0", flags: .monitorReceive) : port
    let id = found.registration.memoryID
    #expect(id > 1)
    let request = RegisterRequest(name: try PortName("vale9:x"), memoryID: id)
    let pools = try? engine.poolsInfo(request)
    let layout = found.registration.region.byteCount
    #expect(layout >= 4096 * 200_000 + 65_536 * 900)
    if name != "monitor" {
      #expect(pools?.buffers.size == 4096 && pools?.interfaces.size == 2048)
      #expect(pools?.interfaces.count == 100 && pools?.rings.count == 900)
      found.tx().send([7])
    }
    try engine.set(.privateBufferSize, to: 2048, by: "a test")
    let later = try TestPort(engine, "b{1")
    #expect(try self.pools(engine, "b{1").buffers.size == 2048)
    withExtendedLifetime((port, later)) {}
  }

  // MARK: - Opens

  @Test("admode 1 refuses interfaces that nobody has open, and nothing else")
  func adapterMode() throws {
    let engine = try engine()
    let open = try TestPort(engine, "fake0")
    try engine.set(.adapterMode, to: 1, by: "a test")
    let again = try TestPort(engine, "fake0")
    for (name, selection) in [
      ("fake1", RingSelection.allHardware), ("fake1{1", .allHardware), ("fake1", .host),
    ] {
      let error = #expect(throws: NetmapError.self) { try TestPort(engine, name, selection) }
      #expect(error?.code == .unsupported, "\(name): \(String(describing: error))")
      #expect(error?.remedy.contains("admode") == true)
    }
    let info = #expect(throws: NetmapError.self) { try pools(engine, "fake1") }
    #expect(info?.code == .unsupported)
    let attach = #expect(throws: NetmapError.self) {
      try engine.decide(.attach(RegisterRequest(name: PortName("vale0:fake1"))))
    }
    #expect(attach?.code == .unsupported)
    let others = try [TestPort(engine, "vale0:a"), TestPort(engine, "p{1")]
    for mode in [2, 0, 9] {
      try engine.set(.adapterMode, to: mode, by: "a test")
      try TestPort(engine, "fake1").close()
    }
    withExtendedLifetime((open, again, others)) {}
    #expect(engine.check().findings.isEmpty)
  }

  @Test("generic_ringsize tells the provider of interfaces how many slots a ring has")
  func ringSize() throws {
    let provider = AskedInterfaces()
    let engine = try Engine(interfaces: provider)
    _ = try? TestPort(engine, "any0", hints: .slots(99))
    try engine.set(.genericRingSize, to: 256, by: "a test")
    _ = try? TestPort(engine, "any0", hints: .slots(99))
    #expect(provider.slots == [0, 256], "a program has no say")
  }

  @Test("no_timestamp counts for ports that are opened after it was set")
  func timestamps() throws {
    let engine = try engine()
    let before = try TestPort(engine, "a{1")
    try engine.set(.noTimestamp, to: 1, by: "a test")
    let after = try TestPort(engine, "b{1")
    #expect(after.registration.defaults == .stampsOnRequest)
    for port in [before, after] { port.rx().sync() }
    #expect(before.rx().timestamp.seconds > 0 && after.rx().timestamp == (0, 0))
    after.rx().flags = 2
    after.rx().sync()
    #expect(after.rx().timestamp.seconds > 0)
    try engine.set(.noTimestamp, to: 0, by: "a test")
    let last = try TestPort(engine, "c{1")
    last.rx().sync()
    #expect(last.rx().timestamp.seconds > 0)
  }

  @Test("fwd passes on all released packets of a port with host rings, without any flag")
  func forward() throws {
    let engine = try engine((.forward, 1))
    let port = try TestPort(engine, "fake0", .hardwareAndHost)
    port.tx(0).send([1, 2])
    let ring = port.rx(0)
    ring.sync()
    #expect(ring.visible == [1, 2])
    ring.move(to: ring.next(ring.head))
    ring.sync()
    #expect(port.rx(2).receive() == [1], "a packet that was not released stays")
    ring.move(to: ring.tail)
    ring.sync()
    #expect(port.rx(2).receive() == [2])
    port.close()
    try engine.set(.forward, to: 0, by: "a test")
    let plain = try TestPort(engine, "fake0", .hardwareAndHost)
    plain.tx(0).send([3])
    #expect(plain.rx(0).receive() == [3])
    #expect(plain.rx(2).receive().isEmpty)
  }

  @Test("fwd does not touch interfaces on a switch: their packets go to the switch alone")
  func forwardOnSwitch() throws {
    let engine = try engine((.forward, 1))
    var request = RegisterRequest(name: try PortName("vale0:fake0"))
    request.selection = .hardwareAndHost
    guard case .attached(let made) = try engine.decide(.attach(request)) else {
      Issue.record("the interface is not on the switch")
      return
    }
    #expect(made.interface.defaults.contains(.forwardsReleased))
    let tag = try engine.addClient(process: 1)
    for number in 0..<made.lanes {
      let lane = try engine.mapPort(made.interface, tag: tag, lane: number)
      for index in 0..<lane.receiveCount {
        #expect(unsafe lane.receive(index).parts.pointee.forwarding == nil)
      }
    }
    engine.endInterface(made.name)
    engine.removeClient(tag)
  }

  // MARK: - Switches

  @Test(
    "bridge_batch counts at once, on switches that exist and on later ones; 0 or less drops all")
  func batch() throws {
    let engine = try engine()
    let (a, b) = (try TestPort(engine, "vale0:a"), try TestPort(engine, "vale0:b"))
    func passes(_ number: UInt64, _ from: TestPort, _ to: TestPort) -> Bool {
      from.tx().send(number)
      return to.rx().receive() == [number]
    }
    #expect(passes(1, a, b))
    for value in [0, -5] {
      try engine.set(.switchBatch, to: value, by: "a test")
      #expect(!passes(2, a, b))
      let (c, d) = (try TestPort(engine, "vale1:c"), try TestPort(engine, "vale1:d"))
      #expect(!passes(3, c, d))
      #expect(c.tx().space == c.tx().count - 1, "the slots come back")
      #expect(c.tx().counters.drops[.notAttached] == 1)
    }
    for value in [1, 3, 4096] {
      try engine.set(.switchBatch, to: value, by: "a test")
      a.tx().send((1...20).map { UInt64($0) })
      #expect(b.rx().receive() == (1...20).map { UInt64($0) })
    }
    #expect(value(.switchBatch, engine) == 1024)
  }

  @Test("max_bridges limits the switches, and an engine takes it only when it starts")
  func switches() throws {
    let engine = try engine((.switchCount, 2))
    let first = try TestPort(engine, "vale0:a")
    let second = try TestPort(engine, "vale1:a")
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "vale2:a") }
    #expect(error?.code == .outOfMemory && error?.remedy.contains("max_bridges") == true)
    let same = try TestPort(engine, "vale1:b")
    first.close()
    let third = try TestPort(engine, "vale2:a")
    let late = #expect(throws: NetmapError.self) {
      try engine.set(.switchCount, to: 8, by: "a test")
    }
    #expect(late?.code.rawValue == EACCES && late?.remedy.contains("--set") == true)
    withExtendedLifetime((second, same, third)) {}
  }

  @Test("without max_bridges there is no limit")
  func manySwitches() throws {
    let engine = try engine()
    let ports = try (0..<20).map { try TestPort(engine, "vale\($0):a", hints: .slots(4)) }
    #expect(ports.count == 20)
  }

  @Test("the list has all tunables, each with where its value comes from")
  func list() throws {
    let engine = try engine((.forward, 1))
    try engine.set(.bufferCount, to: 30_000, by: "user 7, process 8")
    let list = engine.tunables
    #expect(list.map(\.tunable) == Tunable.allCases)
    let origins = Dictionary(uniqueKeysWithValues: list.map { ($0.tunable, $0.origin) })
    #expect(origins[.forward] == "a test" && origins[.bufferCount] == "user 7, process 8")
    #expect(origins[.bufferCurrentCount] == "in use" && origins[.verbose] == "default")
  }
}

/// Notes the slots that the engine asks for, and has no interface.
private final class AskedInterfaces: InterfaceProvider, @unchecked Sendable {
  private(set) var slots: [UInt32] = []

  func open(
    _ name: String, backend: PortSpecification.BackendChoice?
  ) throws(NetmapError) -> (any InterfaceBackend)? { nil }

  func open(
    _ name: String, backend: PortSpecification.BackendChoice?, hints: RingGeometryHints
  ) throws(NetmapError) -> (any InterfaceBackend)? {
    slots.append(hints.receiveSlots)
    return nil
  }
}
