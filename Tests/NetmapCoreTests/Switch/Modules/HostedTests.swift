import NetmapCore
import NetmapTestSupport
import Testing

/// Sends packets from port 0 to port 2, and packets from elsewhere to all other ports.
private struct FromZero: SwitchModule {
  static var name: String { "from-zero" }
  init(configuration: String = "") throws(NetmapError) {}

  func lookup(_ batch: borrowing SwitchBatch) {
    let verdict = batch.port == 0 ? SwitchVerdict.port(2, ring: batch.ring) : .broadcast
    batch.route { _ in verdict }
  }
}

/// A switch with its module host in this process. The test decides when the host runs.
private struct HostedSwitch {
  let vale: TestSwitch
  let host: TestPort
  let forwarder: HostedForwarder

  init(_ count: Int, fallback: SwitchModuleChoice.Fallback = .learning) throws {
    vale = try TestSwitch(count, hints: RingGeometryHints(transmitRings: 2, receiveRings: 2))
    host = try TestPort(vale.engine, "vale0:host", extensions: .moduleHost)
    forwarder = try HostedForwarder(
      host.mapped, module: LoadedModule(FromZero()))
    _ = try vale.engine.redirect(
      vale.engine.serial(ofSwitch: "vale0"), to: forwarder.index, name: "from-zero", process: 7,
      as: .loaded(path: "/x", fallback: fallback))
  }
}

@Suite("VALE modules: hosted")
struct HostedTests {
  private func frame(_ number: UInt32) -> TestFrame {
    TestFrame(target: .broadcast, source: .station(1), number: number, length: 200)
  }

  @Test("packets go through the host in order, with the port and the ring that they come from")
  func through() throws {
    let hosted = try HostedSwitch(3)
    let vale = hosted.vale
    for number in 0..<40 as Range<UInt32> {
      let ring = vale[0].tx(number % 3 == 0 ? 1 : 0)
      ring.putPacket(frame(number).bytes, in: number % 5 == 0 ? [80, 120] : nil)
      ring.sync()
      if number % 7 == 0 { vale[1].tx().send(frame(1000 + number)) }
    }
    #expect(vale.takeAll() == [[], [], []], "nothing before the host's turn")
    while hosted.forwarder.turn() > 0 {}
    let numbers = (0..<40 as Range<UInt32>)
    let fromOne = numbers.filter { $0 % 7 == 0 }.map { frame(1000 + $0).bytes }
    #expect(vale[0].rx().takePackets() == fromOne)
    #expect(vale[1].rx().isSilent)
    #expect(
      vale[2].rx(1).takePackets() == numbers.filter { $0 % 3 == 0 }.map { frame($0).bytes })
    let ringZero = vale[2].rx(0).takePackets()
    #expect(Set(ringZero) == Set(fromOne + numbers.filter { $0 % 3 != 0 }.map { frame($0).bytes }))
    #expect(
      ringZero.filter { !fromOne.contains($0) }
        == numbers.filter { $0 % 3 != 0 }.map { frame($0).bytes })
    let report = try vale.report()
    #expect(report.active == "from-zero" && report.process == 7)
    #expect(report["packets"] == 46)
  }

  @Test("the host's port is not listed, and gets no broadcast from another module")
  func hidden() throws {
    let hosted = try HostedSwitch(2)
    let (vale, engine) = (hosted.vale, hosted.vale.engine)
    #expect(try engine.answer(.next(switch: 0, port: 0)).name == "vale0:p0")
    #expect(try engine.answer(.next(switch: 0, port: 1)).name == "vale0:p1")
    #expect(throws: NetmapError.self) { try engine.answer(.next(switch: 0, port: 2)) }
    #expect(!engine.directory.entries.contains { $0.name == "vale0:host" })
    try vale.choose(.hub)
    vale[0].tx().send(frame(1))
    #expect(vale[1].rx().takePackets() == [frame(1).bytes])
    #expect(hosted.host.rx().isSilent)
    #expect(!hosted.forwarder.isInUse)
  }

  @Test(
    "when the host closes, the fallback takes over, and the packets in its ring count as lost",
    arguments: SwitchModuleChoice.Fallback.allCases)
  func fallback(_ fallback: SwitchModuleChoice.Fallback) throws {
    let hosted = try HostedSwitch(2, fallback: fallback)
    let vale = hosted.vale
    for number in 0..<5 as Range<UInt32> { vale[0].tx().send(frame(number)) }
    hosted.host.close()
    let report = try vale.report()
    #expect(report.active == (fallback == .learning ? "learning" : "stopped"))
    #expect(report["failures"] == 1)
    #expect(report["lost"] == 5)
    #expect(report.process == 0)
    vale[0].tx().send(frame(9))
    #expect(vale[1].rx().takePackets() == (fallback == .learning ? [frame(9).bytes] : []))
    if fallback == .stop { #expect(vale[0].tx().counters.drops[.filtered] == 1) }
    try vale.choose(.learning)
    vale[0].tx().send(frame(10))
    #expect(vale[1].rx().takePackets() == [frame(10).bytes])
  }

  @Test(
    "a damaged slot in the host's ring affects no later packets",
    arguments: 0..<2 as Range<UInt64>)
  func damage(number: UInt64) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0x4057_0000 + number
    var generator = SeededGenerator(seed: seed)
    let hosted = try HostedSwitch(3)
    let (vale, ring) = (hosted.vale, hosted.host.rx())
    for _ in 0..<200 {
      for number in 0..<6 as Range<UInt32> { vale[0].tx().putPacket(frame(number).bytes) }
      vale[0].tx().sync()
      for _ in 0..<3 {
        let slot = UInt32.random(in: 0..<ring.count, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: ring[slot].pointer = generator.next()
        case 1: ring[slot].length = UInt16.random(in: 0...UInt16.max, using: &generator)
        default:
          ring[slot].flags = SlotFlags(rawValue: UInt16.random(in: 0...255, using: &generator))
        }
      }
      while hosted.forwarder.turn() > 0 {}
      _ = vale.takeAll()
    }
    for number in 0..<6 as Range<UInt32> { vale[0].tx().putPacket(frame(number).bytes) }
    vale[0].tx().sync()
    while hosted.forwarder.turn() > 0 {}
    #expect(
      vale[2].rx().takePackets() == (0..<6 as Range<UInt32>).map { frame($0).bytes },
      "NETMAP_TEST_SEED=\(seed)")
  }

  @Test("slots that a dead sender had reserved are no packets of the host's backlog")
  func emptySlots() throws {
    let hosted = try HostedSwitch(2)
    let (sender, host) = (hosted.vale[0], hosted.host)
    let segment = host.registration.segment
    let kring = unsafe host.mapped.receive(0).kring
    let known = unsafe kring.reservation
    let place = try #require(host.registration.place)
    #expect(sender.tx().lock(sender.tag))
    unsafe sender.mapped.transmit(0).kring.announce(
      LeaseTarget(port: place.index, generation: place.generation, ring: 0), known, slots: 3)
    let following = known.following(3, of: host.rx().count)
    #expect(unsafe kring.reserve(from: known, upTo: following).isOurs)
    #expect(hosted.vale.engine.finishLeases(of: sender.tag) == 1)
    #expect(sender.registration.segment.releaseLocks(of: sender.tag) == 1)
    while hosted.forwarder.turn() > 0 {}
    #expect(HostBacklog(segment).packets == 0)
    sender.tx().send(frame(1), frame(2))
    #expect(HostBacklog(segment).packets == 2)
  }

  @Test("the backlog of a host shows whether packets wait")
  func backlog() throws {
    let hosted = try HostedSwitch(2)
    let segment = hosted.host.registration.segment
    #expect(!HostBacklog(segment).isWaiting)
    hosted.vale[0].tx().send(frame(1), frame(2))
    let before = HostBacklog(segment)
    #expect(before.isWaiting && before.packets == 2)
    while hosted.forwarder.turn() > 0 {}
    let after = HostBacklog(segment)
    #expect(!after.isWaiting && after.packets == 0)
    #expect(after.progress > before.progress)
  }
}
