import NetmapCore
import NetmapTestSupport
import Testing

@Suite("Interfaces: the control side")
struct InterfaceControlTests {
  let interfaces = FakeInterfaces.probed(.pairs(3))
  let engine: Engine
  var fake: FakeInterface { interfaces["fake0"] }

  init() throws {
    engine = try Engine(interfaces: interfaces)
  }

  @Test(
    "each pair is activated once, before its first ring is bound, and deactivated after its last")
  func balanced() throws {
    let first = try TestPort(engine, "fake0")
    #expect(fake.calls == [.activate(0), .activate(1), .activate(2)])
    let second = try TestPort(engine, "fake0", .oneHardware(1))
    #expect(fake.calls.count == 3)
    first.close()
    #expect(fake.calls.dropFirst(3) == [.deactivate(0), .deactivate(2)])
    #expect(fake.active == [1])
    second.close()
    #expect(fake.calls.dropFirst(5) == [.deactivate(1)])
  }

  @Test(
    "a pair is active while any of its rings is bound, in any order",
    arguments: [
      [.transmitOnly, .receiveOnly], [.receiveOnly, .transmitOnly], [[], .receiveOnly],
      [[], .transmitOnly], [.receiveOnly, []], [.transmitOnly, []],
    ] as [[BindingFlags]])
  func halves(flags: [BindingFlags]) throws {
    let first = try TestPort(engine, "fake0", .oneHardware(0), flags: flags[0])
    let second = try TestPort(engine, "fake0", .oneHardware(0), flags: flags[1])
    #expect(fake.calls == [.activate(0)])
    first.close()
    #expect(fake.calls == [.activate(0)], "the second binding still holds a ring of the pair")
    let third = try TestPort(engine, "fake0", .oneHardware(0), flags: flags[0])
    #expect(fake.calls == [.activate(0)])
    second.close()
    #expect(fake.active == [0])
    third.close()
    #expect(fake.calls == [.activate(0), .deactivate(0)])
  }

  @Test("a binding without rings activates no pair")
  func noRings() throws {
    let port = try TestPort(engine, "fake0", flags: [.transmitOnly, .receiveOnly])
    port.close()
    #expect(fake.calls.isEmpty)
  }

  @Test(
    "random bindings: activations and deactivations of a pair alternate",
    arguments: [1, 2, 3] as [UInt64])
  func random(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    var ports: [(TestPort, pairs: Set<Int>)] = []
    for _ in 0..<100 {
      if generator.chance(55), ports.count < 8 {
        let all = generator.chance(30)
        let pair = UInt16.random(in: 0..<3, using: &generator)
        let flags =
          ([[], .transmitOnly, .receiveOnly] as [BindingFlags])
          .randomElement(using: &generator) ?? []
        let port = try TestPort(
          engine, "fake0", all ? .allHardware : .oneHardware(pair), flags: flags)
        ports.append((port, all ? [0, 1, 2] : [Int(pair)]))
      } else if let index = ports.indices.randomElement(using: &generator) {
        ports.remove(at: index).0.close()
      }
      let held = ports.reduce(into: Set<Int>()) { $0.formUnion($1.pairs) }
      #expect(fake.active == held, "seed \(seed)")
      for pair in 0..<3 {
        let calls = fake.calls.filter { $0 == .activate(pair) || $0 == .deactivate(pair) }
        let alternates = calls.indices.allSatisfy {
          calls[$0] == ($0 % 2 == 0 ? .activate(pair) : .deactivate(pair))
        }
        #expect(alternates, "seed \(seed)")
      }
    }
  }

  @Test("when the activation of a pair fails, the earlier ones are undone and everything is freed")
  func failure() throws {
    let probe = try RegionProbe(engine, interfaces)
    let before = probe.free
    let cause = NetmapError(
      .outOfMemory, "mmap", "pair 2", reason: "no memory", remedy: "unload something")
    fake.failActivation(of: 2, with: cause)
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "fake0", extraBuffers: 3) }
    #expect(error?.code == .outOfMemory)
    #expect(error?.description.contains("fake0") == true)
    #expect(error?.remedy == "unload something")
    #expect(
      fake.calls == [.activate(0), .activate(1), .activate(2), .deactivate(0), .deactivate(1)])
    #expect(probe.free == before)
    #expect(engine.directory.entries.map(\.name) == ["probe0"])
    _ = try TestPort(engine, "fake0", .oneHardware(1))
    fake.failActivation(of: 2, with: nil)
    _ = try TestPort(engine, "fake0")
  }

  @Test("a failed activation does not affect pairs of other bindings")
  func failureBeside() throws {
    let other = try TestPort(engine, "fake0", .oneHardware(0))
    fake.failActivation(
      of: 1, with: NetmapError(.inputOutput, "bind", "pair 1", reason: "no", remedy: "none"))
    #expect(throws: NetmapError.self) { try TestPort(engine, "fake0") }
    #expect(fake.active == [0])
    other.tx().send([1])
    #expect(other.rx().receive() == [1])
  }

  @Test("the engine names the backend of an interface, and none for other ports")
  func description() throws {
    let port = try TestPort(engine, "fake0")
    #expect(port.registration.backend?.name == "fake")
    #expect(port.registration.backend?.refusals.count == 1)
    #expect(try TestPort(engine, "a{1", hints: .slots(2)).registration.backend == nil)
  }

  @Test(
    "host rings have pairs of their own, after the hardware pairs",
    arguments: [
      (RingSelection.host, [3, 4]), (.oneHost(1), [3, 4]), (.oneHost(0), [3]),
      (.hardwareAndHost, [0, 1, 2, 3, 4]),
    ])
  func hostPairs(selection: RingSelection, pairs: [Int]) throws {
    // 3 + 1 transmit rings, 2 + 2 receive rings: hardware pairs 0...2, host pairs 3 and 4.
    let interfaces = FakeInterfaces()
    let port = try TestPort(Engine(interfaces: interfaces), "fake0", selection)
    #expect(interfaces["fake0"].active == Set(pairs))
    port.close()
    #expect(interfaces["fake0"].active.isEmpty)
  }
}
