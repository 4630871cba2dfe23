import NetmapCore
import NetmapTestSupport
import Testing

/// Monitors without copies, and processes that stop, die or write what they should not.
@Suite("Monitors without copies: interrupted exchanges and damaged words")
struct MonitorExchangeRepairTests {
  /// The kring of those who fill a monitor's first receive ring.
  private static func sender(_ monitor: TestPort) throws -> KRing {
    unsafe try #require(monitor.registration.segment.kring(end: 1, .transmit, 0))
  }

  /// How far a sync had come when it was killed: after which store.
  enum Step: Int, CaseIterable {
    case begun, paired, given, exchanged, secondGiven, marked, published, ended
  }

  @Test(
    "a sync that is killed after any store leaves each buffer in one slot",
    arguments: Step.allCases)
  func killed(step: Step) throws {
    let pipe = try TestPipe(.slots(16))
    let monitor = try TestPort(pipe.engine, "a}1", flags: .zeroCopyMonitor)
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    let sender = unsafe try Self.sender(monitor)
    // Not at the beginning of the rings.
    for number in 0..<5 as Range<UInt64> {
      tx.send([number])
      #expect(rx.receive() == [number])
      #expect(monitor.rx().receive() == [number])
      tx.sync()
    }
    tx.send([10, 11, 12])
    rx.sync()
    rx.move(to: rx.tail)
    // What a sync stores that releases three slots, up to the step.
    let (victim, first) = (pipe.slave.tag, rx.hwcur)
    let second = monitor.rx().tail
    #expect(unsafe sender.tryLock(victim))
    unsafe rx.store(victim.rawValue | 1 << 31, at: KRingLayout.lock)
    func note(_ word: Int, _ value: UInt64) {
      unsafe sender.base.storeBytes(
        of: value, toByteOffset: KRingLayout.monitorNote + 8 * word, as: UInt64.self)
    }
    note(1, .max)
    note(0, UInt64(first) | UInt64(second) << 16 | 1 << 63)
    func pair(_ number: UInt32, _ stores: Int) {
      let (place, target) = (first + number, second + number)
      let (slot, own) = (rx[place], monitor.rx()[target])
      note(1, UInt64(number) | UInt64(own.bufferIndex) << 32)
      if stores > 0 { monitor.rx()[target] = slot }
      if stores > 1 { rx[place].bufferIndex = own.bufferIndex }
    }
    if step.rawValue >= Step.paired.rawValue {
      pair(0, step == .paired ? 0 : step == .given ? 1 : 2)
    }
    if step.rawValue >= Step.secondGiven.rawValue { pair(1, step == .secondGiven ? 1 : 2) }
    if step.rawValue >= Step.marked.rawValue {
      pair(2, 2)
      unsafe rx.store(UInt32(first + 4), at: KRingLayout.exchangedEnd)
    }
    if step.rawValue >= Step.published.rawValue {
      unsafe sender.base.storeBytes(
        of: second + 3, toByteOffset: KRingLayout.position, as: UInt32.self)
    }
    if step == .ended { note(0, 0) }
    // What the engine does at the death of a client.
    pipe.engine.releaseMonitorLocks(of: victim)
    #expect(pipe.slave.registration.segment.releaseLocks(of: victim) == 1)
    #expect(unsafe sender.lockHolder == 0)
    #expect(pipe.engine.check().findings.isEmpty)
    // The next sync goes on where it ended.
    rx.sync()
    #expect(monitor.rx().receive() == [10, 11, 12])
    #expect(pipe.engine.check().findings.isEmpty)
    tx.send([13])
    #expect(rx.receive() == [13])
    #expect(monitor.rx().receive() == [13])
  }

  @Test(
    "a monitor that is closed in the middle of an exchange keeps its buffers until it has ended")
  func closedMeanwhile() throws {
    let pipe = try TestPipe(.slots(16))
    let monitor = try TestPort(pipe.engine, "a{1", flags: .zeroCopyMonitor)
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    let sender = unsafe try Self.sender(monitor)
    let all = pipe.engine.check().buffers
    let other = try pipe.engine.addClient(process: 1)
    #expect(unsafe sender.tryLock(other))
    monitor.close()
    #expect(pipe.engine.holdsRings)
    #expect(!pipe.engine.settleMonitors())
    let report = pipe.engine.check()
    #expect(report.findings.isEmpty)
    // The useless transmit ring's 16 have gone back.
    #expect(report.buffers == all - 16)
    tx.send([1])
    #expect(rx.receive() == [1])
    tx.sync()
    // A new one takes its place meanwhile.
    let next = try TestPort(pipe.engine, "a{1", flags: .zeroCopyMonitor)
    tx.send([2])
    #expect(rx.receive() == [2])
    tx.sync()
    #expect(next.rx().receive() == [2])
    next.close()
    pipe.engine.releaseMonitorLocks(of: other)
    #expect(pipe.engine.settleMonitors())
    #expect(!pipe.engine.holdsRings)
    #expect(pipe.engine.check().buffers == 32)
    #expect(pipe.engine.check().findings.isEmpty)
  }

  @Test("a port that is closed in the middle of an exchange keeps its rings until it has ended")
  func portClosedMeanwhile() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    let port = try TestPort(engine, "fake0")
    let monitor = try TestPort(engine, "fake0", flags: .zeroCopyMonitor)
    let sender = unsafe try Self.sender(monitor)
    #expect(unsafe sender.tryLock(port.tag))
    let dead = port.tag
    engine.release(port.registration.id)
    #expect(engine.holdsRings)
    #expect(engine.check().findings.isEmpty)
    // The interface can be opened again: it gets other rings.
    let again = try TestPort(engine, "fake0")
    again.tx(0).send([1])
    #expect(again.rx(0).receive() == [1])
    engine.releaseMonitorLocks(of: dead)
    #expect(!engine.holdsRings)
    #expect(engine.check().findings.isEmpty)
    monitor.close()
    again.close()
    #expect(engine.check().findings.isEmpty)
  }

  @Test("whatever a process writes into the words of the exchange, nothing crashes and syncs end")
  func damage() throws {
    let pipe = try TestPipe(.slots(16))
    let monitor = try TestPort(pipe.engine, "a{1", flags: .zeroCopyMonitor)
    let next = try TestPort(pipe.engine, "a{1", flags: .zeroCopyMonitor)
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    let sender = unsafe try Self.sender(monitor)
    let own = unsafe try #require(monitor.registration.segment.kring(end: 0, .receive, 0))
    var generator = SeededGenerator(seed: 89)
    let dead = try pipe.engine.addClient(process: 1)
    for round in 0..<3000 as Range<UInt64> {
      let limit: UInt64 = Bool.random(using: &generator) ? 40 : .max
      let words = unsafe [
        own.base + KRingLayout.openRingOffset, own.base + KRingLayout.position,
        own.base + KRingLayout.monitors, sender.base + KRingLayout.position,
        sender.base + KRingLayout.monitorNote, sender.base + KRingLayout.monitorNote + 8,
        sender.base + KRingLayout.monitorNote + 16, sender.base + KRingLayout.monitorNote + 24,
      ]
      for index in unsafe words.indices where Int.random(in: 0..<12, using: &generator) == 0 {
        let value = UInt64.random(in: 0...limit, using: &generator)
        unsafe words[index].storeBytes(
          of: Bool.random(using: &generator) ? value | 1 << 63 : value, as: UInt64.self)
      }
      unsafe tx.store(UInt32.random(in: 0...40, using: &generator), at: KRingLayout.exchangedEnd)
      let slot = UInt32.random(in: 0..<16, using: &generator)
      if Int.random(in: 0..<4, using: &generator) == 0 {
        monitor.rx()[slot].bufferIndex = UInt32.random(in: 0...UInt32.max, using: &generator)
      }
      if round % 64 == 0 {
        #expect(unsafe sender.tryLock(dead))
        pipe.engine.releaseMonitorLocks(of: dead)
        #expect(unsafe sender.lockHolder == 0)
      }
      tx.send([round])
      _ = rx.receive()
      _ = monitor.rx().receive()
      _ = next.rx().receive()
    }
    monitor.close()
    next.close()
  }

  // At one end only: what comes back to a sender is what the receiver's monitors have given for the packets.
  @Test(
    "monitors that open and close at random get the packets of their time, once and in order",
    arguments: ["a{1", "a}1"])
  func random(end: String) throws {
    let pipe = try TestPipe(.slots(16))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    var generator = SeededGenerator(seed: 90)
    var monitors: [TestPort] = []
    var number: UInt64 = 0
    for round in 0..<1000 {
      switch Int.random(in: 0..<4, using: &generator) {
      case 0 where monitors.count < 6:
        monitors.append(try TestPort(pipe.engine, end, flags: .zeroCopyMonitor))
      case 1 where !monitors.isEmpty:
        monitors.remove(at: Int.random(in: monitors.indices, using: &generator)).close()
      default:
        let packets = (0..<UInt64.random(in: 0...3, using: &generator)).map { number + $0 }
        number += UInt64(packets.count)
        tx.send(packets)
        #expect(rx.receive() == packets)
        tx.sync()
        // In the order in which they were opened: each releases them for the next one.
        for index in monitors.indices { #expect(monitors[index].rx().receive() == packets) }
      }
      if round % 100 == 0 { #expect(pipe.engine.check().findings.isEmpty) }
    }
    for monitor in monitors { monitor.close() }
    #expect(pipe.engine.check().findings.isEmpty)
    #expect(tx.lock(pipe.master.tag))
  }
}

extension TestRing {
  @unsafe
  fileprivate func store<T: BitwiseCopyable>(_ value: T, at place: Int) {
    unsafe mapped.kring.base.storeBytes(of: value, toByteOffset: place, as: T.self)
  }
}
