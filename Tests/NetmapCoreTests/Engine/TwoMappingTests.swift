import Glibc
import NetmapCore
import NetmapTestSupport
import Testing
import pipe_peer

@Suite("One port, two mappings")
struct TwoMappingTests {
  /// Attaches an open port again from its descriptors, at other addresses.
  static func attachAgain(_ port: TestPort) throws -> MappedPort {
    try mapPort(
      port, SharedMemory(mapping: port.registration.region.descriptor),
      SyncSegment(mapping: SharedMemory(mapping: port.registration.segment.memory.descriptor)),
      binding: port.registration.bindingIndex)
  }

  static func mapPort(
    _ port: TestPort, _ region: SharedMemory, _ segment: SyncSegment, binding: Int
  ) throws -> MappedPort {
    unsafe try MappedPort(
      region: region, segment: segment, binding: binding, tag: port.tag,
      doorbells: port.engine.doorbells)
  }

  @Test("both ends work, each through its own mapping")
  func bothEnds() throws {
    let pipe = try TestPipe(
      RingGeometryHints(transmitSlots: 8, receiveSlots: 4, transmitRings: 2, receiveRings: 1))
    let other = try Self.attachAgain(pipe.slave)
    let mine = pipe.master.mapped
    let apart =
      unsafe other.region.base != mine.region.base
      && other.segment.memory.base != mine.segment.memory.base
    #expect(apart)
    #expect(other.receiveCount == 2)
    #expect(other.transmitCount == 1)
    let rx = unsafe TestRing(other.receive(1), pipe.slave)
    let tx = unsafe TestRing(other.transmit(0), pipe.slave)
    var next: UInt64 = 0
    for _ in 0..<50 {
      pipe.master.tx(1).send(next..<(next + 5))
      #expect(rx.receive() == Array(next..<(next + 5)))
      tx.send([next])
      #expect(pipe.master.rx(0).receive() == [next])
      pipe.master.tx(1).sync()
      tx.sync()
      next += 5
    }
    // Both mappings show the same ring.
    #expect(pipe.slave.rx(1).head == rx.head)
    #expect(pipe.slave.rx(1).counters == rx.counters)
  }

  @Test("a lock taken in one mapping holds in the other")
  func lock() throws {
    let pipe = try TestPipe()
    let other = try Self.attachAgain(pipe.slave)
    #expect(pipe.slave.rx().lock(pipe.slave.tag))
    let again = unsafe TestRing(other.receive(0), pipe.slave)
    #expect(again.sync() == .busy)
    pipe.slave.rx().unlock()
    #expect(again.sync() == .done)
  }

  @Test("a binding that does not exist, or is closed, cannot be attached")
  func noBinding() throws {
    let pipe = try TestPipe()
    let region = pipe.master.registration.region
    let segment = pipe.master.registration.segment
    for index in [2, 255, 256, -1] {
      let error = #expect(throws: NetmapError.self) {
        try Self.mapPort(pipe.master, region, segment, binding: index)
      }
      #expect(error?.code == .invalidArgument)
      #expect(error?.description.contains("binding \(index)") == true)
    }
    pipe.slave.close()
    #expect(throws: NetmapError.self) { try Self.attachAgain(pipe.slave) }
  }

  @Test("a segment that does not fit the region is refused, and the error names the ring")
  func wrongRegion() throws {
    let pipe = try TestPipe()
    let tiny = try SharedMemory(creating: "tiny", byteCount: 4096)
    let error = #expect(throws: NetmapError.self) {
      try Self.mapPort(pipe.master, tiny, pipe.master.registration.segment, binding: 0)
    }
    #expect(error?.code == .invalidArgument)
    #expect(error?.description.contains("transmit ring 0") == true)
  }

  @Test(
    "two threads, each with its own mapping, lose no packet",
    arguments: [
      (PeerJob.Waiting.spin, UInt32(32)), (.sleep, 1), (.sleep, 32),
    ])
  func threads(waiting: PeerJob.Waiting, batch: UInt32) throws {
    let setup = try PeerSetup(slots: 64)
    let packets = PeerSetup.packets
    let thread = try PeerThread(
      PeerJob(.receive, packets: packets, batch: batch, waiting: waiting), setup.place,
      engine: setup.engine, registration: setup.far.registration)
    let traffic = PeerTraffic(
      setup.near.mapped, setup.sleeper,
      PeerJob(.send, packets: packets, batch: batch, waiting: waiting))
    let sent = try traffic.run()
    let received = try thread.join()
    #expect(sent.resets == 0)
    #expect(received.resets == 0)
    #expect(setup.near.tx().counters.packets == packets)
  }
}

@Suite("One pipe, two processes")
struct TwoProcessTests {
  @Test(
    "no packet is lost or reordered, in either direction, spinning or sleeping",
    arguments: [
      (PeerJob.Role.receive, PeerJob.Waiting.spin, UInt32(64)), (.receive, .sleep, 1),
      (.receive, .sleep, 16), (.send, .spin, 64), (.send, .sleep, 1), (.send, .sleep, 16),
    ])
  func traffic(far: PeerJob.Role, waiting: PeerJob.Waiting, batch: UInt32) throws {
    let setup = try PeerSetup(slots: 32)
    let packets = PeerSetup.packets
    let near: PeerJob.Role = far == .receive ? .send : .receive
    let process = try PeerProcess(
      PeerProcess.besideThisExecutable,
      PeerJob(far, packets: packets, batch: batch, waiting: waiting), setup.place,
      engine: setup.engine, registration: setup.far.registration)
    let traffic = PeerTraffic(
      setup.near.mapped, setup.sleeper,
      PeerJob(near, packets: packets, batch: batch, waiting: waiting))
    let summary = Result { () throws(NetmapError) in try traffic.run() }
    if case .failure = summary { process.kill() }
    let (status, output) = process.wait()
    #expect(status == 0)
    #expect(output.contains("\(far.rawValue): \(packets) packets"), "\(output)")
    #expect(try summary.get().resets == 0)
    let ring = far == .receive ? setup.near.tx() : setup.far.tx()
    #expect(ring.counters.packets == packets)
  }

  @Test("a sync in another process wakes a receiver that sleeps in this one")
  func asleep() throws {
    let setup = try PeerSetup(slots: 8)
    // The other process starts late: this one is usually asleep long before its first sync.
    var process: PeerProcess?
    let job = PeerJob(.send, packets: 3, batch: 1, waiting: .sleep)
    #expect(try setup.near.wait(setup.sleeper, for: .receive, milliseconds: 1).isEmpty)
    process = try PeerProcess(
      PeerProcess.besideThisExecutable, job, setup.place, engine: setup.engine,
      registration: setup.far.registration)
    var expected: UInt64 = 0
    while expected < 3 {
      guard try setup.near.wait(setup.sleeper, for: .receive) == .receive else {
        Issue.record("not woken for packet \(expected)")
        process?.kill()
        break
      }
      for number in setup.near.rx().visible {
        #expect(number == expected)
        expected += 1
      }
      setup.near.rx().move(to: setup.near.rx().tail)
    }
    setup.near.rx().sync()
    #expect(process?.wait().status == 0)
  }

  @Test("the packets of a killed sender arrive, and its ring can be used again")
  func killed() throws {
    let setup = try PeerSetup(slots: 1024)
    let process = try PeerProcess(
      PeerProcess.besideThisExecutable,
      PeerJob(.send, packets: 1023, batch: 1, waiting: .sleep), setup.place, engine: setup.engine,
      registration: setup.far.registration)
    // The process has sent everything. It sleeps outside any sync until slots are free.
    let full = eventually { setup.far.tx().position == 1023 && setup.far.tx().counters.sleeps > 0 }
    #expect(full)
    process.kill()
    let status = process.wait().status
    #expect(status & 0x7f == SIGKILL)
    #expect(setup.near.rx().receive() == Array(0..<1023))
    setup.far.tx().sync()
    #expect(setup.far.tx().space == 1023)
    setup.far.tx().send([5])
    #expect(setup.near.rx().receive() == [5])
  }

  @Test("a process with a wrong binding number fails")
  func wrongPlace() throws {
    let setup = try PeerSetup(slots: 8)
    var place = setup.place
    place.binding = 200
    let process = try PeerProcess(
      PeerProcess.besideThisExecutable, PeerJob(.send, packets: 1, batch: 1, waiting: .spin),
      place, engine: setup.engine, registration: setup.far.registration)
    #expect(process.wait().status == 1 << 8)
  }
}

/// A pipe whose far end is for another thread or process, with everything that it needs to attach.
struct PeerSetup {
  let engine: Engine
  let near: TestPort
  let far: TestPort
  let sleeper: Sleeper
  let place: PeerPlace

  /// The number of packets that the tests of this file send.
  static var packets: UInt64 {
    #if DEBUG
      environmentNumber("NETMAP_TEST_PACKETS") ?? 20_000
    #else
      environmentNumber("NETMAP_TEST_PACKETS") ?? 1_000_000
    #endif
  }

  init(slots: UInt32) throws {
    engine = try Engine()
    near = try TestPort(engine, "a{1", hints: .slots(slots))
    far = try TestPort(engine, "a}1")
    sleeper = Sleeper(doorbells: engine.doorbells)
    place = PeerPlace(
      binding: far.registration.bindingIndex, tag: far.tag)
  }
}
