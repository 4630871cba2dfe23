import NetmapCore
import NetmapTestSupport
import Testing

/// Monitors and processes that stop, die or write what they should not.
@Suite("Monitors: interrupted syncs and damaged words")
struct MonitorRepairTests {
  /// The kring of those who fill the monitor's first receive ring.
  private static func sender(_ monitor: TestPort) throws -> KRing {
    unsafe try #require(monitor.registration.segment.kring(end: 1, .transmit, 0))
  }

  @Test("a process that stops while it copies costs others counted packets, until it dies")
  func stoppedCopy() throws {
    let pipe = try TestPipe(.slots(16))
    let monitor = try TestPort(pipe.engine, "a{1", flags: .monitorTransmit)
    let other = try pipe.engine.addClient(process: 1)
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    #expect(unsafe try Self.sender(monitor).tryLock(other))
    tx.send([1, 2])
    #expect(rx.receive() == [1, 2])
    #expect(monitor.rx().receive().isEmpty)
    #expect(monitor.rx().counters.drops[.busy] == 2)
    pipe.engine.releaseMonitorLocks(of: other)
    tx.send([3])
    #expect(monitor.rx().receive() == [3])
  }

  @Test("a monitor that opens or closes while a ring is locked takes effect later")
  func lockedRing() throws {
    let pipe = try TestPipe(.slots(16))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    #expect(tx.lock(pipe.master.tag))
    let monitor = try TestPort(pipe.engine, "a{1", flags: .monitorTransmit)
    tx.unlock()
    _ = pipe.engine.check()
    tx.send([1])
    #expect(monitor.rx().receive() == [1])
    tx.setLock(pipe.master.tag.rawValue | 1 << 31)
    monitor.close()
    tx.send([2])
    #expect(rx.receive() == [1], "the ring was locked")
    tx.setLock(1 << 31)
    _ = pipe.engine.check()
    #expect(tx.lock(pipe.master.tag), "no monitor is left")
    tx.unlock()
    tx.send([])
    #expect(rx.receive() == [2])
  }

  @Test(
    "the lock of a process that died in a sync of a monitored ring is released, and the monitor stays"
  )
  func deadSync() throws {
    let pipe = try TestPipe(.slots(16))
    let monitor = try TestPort(pipe.engine, "a{1", flags: .monitorTransmit)
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.setLock(pipe.master.tag.rawValue | 1 << 31)
    #expect(tx.lockHolder == pipe.master.tag.rawValue)
    #expect(tx.sync() == .busy)
    #expect(pipe.master.registration.segment.releaseLocks(of: pipe.master.tag) == 1)
    tx.send([1])
    #expect(rx.receive() == [1])
    #expect(monitor.rx().receive() == [1])
  }

  @Test("whatever a process writes into the words of monitors, packets pass and nothing crashes")
  func damage() throws {
    let pipe = try TestPipe(.slots(16))
    let monitor = try TestPort(pipe.engine, "a{1", flags: .monitorTransmit)
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    let own = unsafe try #require(monitor.registration.segment.kring(end: 0, .receive, 0))
    let sender = unsafe try Self.sender(monitor)
    var generator = SeededGenerator(seed: 80)
    for round in 0..<2000 as Range<UInt64> {
      // Entries that are nearly right find the monitor; its own words are damaged, too.
      for place in 0..<6 {
        let entry =
          Bool.random(using: &generator)
          ? UInt64.random(in: .min ... .max, using: &generator)
          : UInt64.random(in: 0...1, using: &generator)
            | UInt64.random(in: 0...3, using: &generator) << 40
        unsafe tx.store(entry, at: KRingLayout.monitors + 8 * place)
      }
      unsafe tx.store(
        UInt32.random(in: 0...40, using: &generator), at: KRingLayout.monitoredEnd)
      let limit: UInt64 = Bool.random(using: &generator) ? 40 : .max
      let words = unsafe [
        own.base + KRingLayout.openRingOffset, own.base + KRingLayout.openOffsetMask,
        own.base + KRingLayout.position, sender.base + KRingLayout.position,
      ]
      for index in unsafe words.indices where Int.random(in: 0..<8, using: &generator) == 0 {
        unsafe words[index].storeBytes(
          of: UInt64.random(in: 0...limit, using: &generator), as: UInt64.self)
      }
      tx.send([round])
      #expect(rx.receive() == [round])
      _ = monitor.rx().sync()
    }
  }

  @Test("monitors that open and close at random get the packets of their time, once and in order")
  func random() throws {
    let pipe = try TestPipe(.slots(16))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    var generator = SeededGenerator(seed: 81)
    var monitors: [(port: TestPort, expected: [UInt64])] = []
    var number: UInt64 = 0
    for _ in 0..<500 {
      switch Int.random(in: 0..<4, using: &generator) {
      case 0 where monitors.count < 6:
        let isTransmit = Bool.random(using: &generator)
        let port = try TestPort(
          pipe.engine, isTransmit ? "a{1" : "a}1",
          flags: isTransmit ? .monitorTransmit : .monitorReceive)
        monitors.append((port, []))
      case 1 where !monitors.isEmpty:
        let (port, expected) = monitors.remove(
          at: Int.random(in: monitors.indices, using: &generator))
        #expect(port.rx().receive() == expected)
        port.close()
      default:
        let packets = (0..<UInt64.random(in: 0...3, using: &generator)).map { number + $0 }
        number += UInt64(packets.count)
        tx.send(packets)
        #expect(rx.receive() == packets)
        tx.sync()
        for index in monitors.indices {
          monitors[index].expected += packets
          // A ring of 16 slots holds 15 packets.
          let arrived = monitors[index].port.rx().receive()
          #expect(arrived == monitors[index].expected)
          monitors[index].expected = []
        }
      }
    }
    for (port, _) in monitors { port.close() }
    #expect(pipe.engine.check().findings.isEmpty)
    #expect(tx.lock(pipe.master.tag))
  }
}

extension TestRing {
  /// Writes the word of the lock, as another process could.
  fileprivate func setLock(_ value: UInt64) { unsafe store(value, at: KRingLayout.lock) }

  @unsafe
  fileprivate func store<T: BitwiseCopyable>(_ value: T, at place: Int) {
    unsafe mapped.kring.base.storeBytes(of: value, toByteOffset: place, as: T.self)
  }
}
