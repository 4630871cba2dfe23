import Glibc
import NetmapCore
import NetmapTestSupport
import Testing

@Suite("Resets of rings with illegal cursors")
struct RingResetTests {
  @Test("only that ring is reset: other rings of the port, and the other end, go on")
  func thatRingAlone() throws {
    let pipe = try TestPipe(
      RingGeometryHints(transmitSlots: 8, receiveSlots: 8, transmitRings: 2, receiveRings: 2))
    let (bad, good) = (pipe.master.tx(0), pipe.master.tx(1))
    good.send([1, 2])
    bad.send(9)
    pipe.slave.tx(0).send(5)
    bad.head = 99
    #expect(bad.sync() == .reset)
    #expect(good.sync() == .done)
    #expect(bad.counters.resets == 1)
    for ring in [good, pipe.master.rx(0), pipe.master.rx(1), pipe.slave.rx(0), pipe.slave.tx(0)] {
      #expect(ring.counters.resets == 0)
    }
    #expect(pipe.slave.rx(1).receive() == [1, 2])
    #expect(pipe.slave.rx(0).receive() == [9])
    #expect(pipe.master.rx(0).receive() == [5])
    bad.send(10)
    #expect(pipe.slave.rx(0).receive() == [10])
  }

  @Test("head and cur go back to hwcur, tail to hwtail, even if they were in range")
  func cursors() throws {
    let pipe = try TestPipe(.slots(8))
    let tx = pipe.master.tx()
    tx.send([1, 2, 3])
    pipe.slave.rx().sync()
    pipe.slave.rx().move(to: 1)
    pipe.slave.rx().sync()
    tx.sync()
    #expect([tx.head, tx.tail] == [3, 0])
    tx.move(to: 2)
    tx.tail = 5
    #expect(tx.sync() == .reset)
    #expect([tx.head, tx.cur, tx.tail] == [3, 3, 0])
    #expect([tx.rhead, tx.rcur, tx.rtail, tx.hwcur, tx.hwtail] == [3, 3, 0, 3, 0])
  }

  @Test("all slots are checked: a bad index becomes buffer 0 with length 0, a bad length becomes 0")
  func slotsScanned() throws {
    let pipe = try TestPipe(.slots(8))
    let tx = pipe.master.tx()
    let buffers = tx.bufferIndexes
    let count = try pipe.engine.poolsInfo(RegisterRequest(name: try PortName("a{1"))).buffers
      .count
    tx[0].bufferIndex = 0
    tx[1].bufferIndex = 1
    tx[2].bufferIndex = UInt32(count)
    tx[3].bufferIndex = .max
    tx[4].length = 2049
    tx[5].length = .max
    tx[6].length = 2048
    tx[7].bufferIndex = UInt32(count - 1)
    for index: UInt32 in 0..<8 { tx[index].flags = .report }
    tx.head = 8
    #expect(tx.sync() == .reset)
    #expect(
      tx.slots.map(\.bufferIndex) == [
        0, 0, 0, 0, buffers[4], buffers[5], buffers[6], UInt32(count - 1),
      ])
    #expect(tx.slots.map(\.length) == [0, 0, 0, 0, 0, 0, 2048, 2048])
    #expect(tx.slots.allSatisfy { $0.flags == .report })
  }

  @Test("slots are not checked if the cursors are legal")
  func noScanWithoutViolation() throws {
    let tx = try TestPipe().master.tx()
    tx[3].length = 5000
    tx[3].bufferIndex = .max
    #expect(tx.sync() == .done)
    #expect(tx[3].length == 5000)
    #expect(tx[3].bufferIndex == .max)
  }

  @Test("a sync that resets a transmit ring sends nothing")
  func transmitSkipped() throws {
    let pipe = try TestPipe(.slots(8))
    let tx = pipe.master.tx()
    tx.put([1, 2])
    tx.cur = 7
    tx.tail = 0
    tx.cur = 8
    let syncs = tx.counters.syncs
    #expect(tx.sync() == .reset)
    #expect(tx.counters.syncs == syncs)
    #expect(pipe.slave.rx().receive().isEmpty)
    #expect(tx.hwcur == 0)
  }

  @Test("a sync that resets a receive ring still receives")
  func receiveSynced() throws {
    let pipe = try TestPipe(.slots(8))
    let rx = pipe.slave.rx()
    pipe.master.tx().send([1, 2])
    rx.sync()
    pipe.master.tx().send([3])
    rx.move(to: 5)
    let syncs = rx.counters.syncs
    #expect(rx.sync() == .reset)
    #expect(rx.counters.syncs == syncs + 1)
    #expect([rx.head, rx.cur, rx.tail] == [0, 0, 3])
    #expect(rx.visible == [1, 2, 3], "packets that were not released are not lost")
    #expect(rx.timestamp.seconds > 0)
  }

  @Test("resets are counted, one for each violation")
  func counted() throws {
    let rx = try TestPipe().slave.rx()
    for expected: UInt64 in 1...3 {
      rx.head = 2
      rx.sync()
      #expect(rx.counters.resets == expected)
    }
    rx.sync()
    #expect(rx.counters.resets == 3)
  }
}

@Suite("One sync of a ring at a time")
struct RingLockTests {
  @Test("a sync of a ring that another client is syncing changes nothing, and is counted")
  func busy() throws {
    let pipe = try TestPipe()
    let other = try pipe.engine.addClient(process: 2)
    for ring in [pipe.master.tx(), pipe.slave.rx()] {
      #expect(ring.lock(other))
      #expect(ring.lockHolder == other.rawValue)
      ring.head = 99
      #expect(ring.sync() == .busy)
      #expect(ring.head == 99)
      #expect(ring.counters.busySyncs == 1)
      #expect(ring.counters.syncs == 0)
      #expect(ring.counters.resets == 0)
      ring.head = 0
      ring.unlock()
      #expect(ring.sync() == .done)
      #expect(ring.counters.busySyncs == 1)
    }
  }

  @Test("after a sync, even one that reset the ring, the ring is not locked")
  func released() throws {
    let pipe = try TestPipe()
    for ring in [pipe.master.tx(), pipe.slave.rx()] {
      ring.sync()
      #expect(ring.lockHolder == 0)
      ring.head = 99
      ring.sync()
      #expect(ring.lockHolder == 0)
    }
  }

  @Test("rings of one port are locked separately")
  func independent() throws {
    let pipe = try TestPipe()
    #expect(pipe.master.tx().lock(pipe.slave.tag))
    #expect(pipe.master.rx().sync() == .done)
    #expect(pipe.slave.rx().sync() == .done)
    #expect(pipe.slave.tx().sync() == .done)
    pipe.master.tx().unlock()
  }

  @Test("a tag has its client's slot and epoch, and no two clients share a tag")
  func tags() throws {
    let engine = try Engine()
    let first = try engine.addClient(process: 10)
    let second = try engine.addClient(process: 11)
    #expect(first != second)
    #expect(engine.directory.process(of: first) == 10)
    engine.removeClient(first)
    #expect(engine.directory.process(of: first) == nil)
    let third = try engine.addClient(process: 12)
    #expect(third.slot == first.slot, "slots are reused")
    #expect(third != first, "with another epoch")
    #expect(engine.directory.process(of: first) == nil)
    #expect(engine.directory.process(of: third) == 12)
  }
}

@Suite("Timestamps")
struct TimestampTests {
  @Test("every receive sync stamps the ring with the wall clock, packets or not")
  func receive() throws {
    let pipe = try TestPipe()
    let rx = pipe.slave.rx()
    #expect(rx.timestamp == (0, 0))
    rx.sync()
    let now = wallClockSeconds()
    #expect(abs(rx.timestamp.seconds - now) <= 5)
    #expect((0..<1_000_000).contains(rx.timestamp.microseconds))
    #expect(rx.field(40, as: Int64.self) == rx.timestamp.seconds)
    #expect(rx.field(48, as: Int64.self) == rx.timestamp.microseconds)
  }

  @Test("over many syncs the timestamp keeps up with the clock, and does not run ahead of it")
  func keepsUp() throws {
    let rx = try TestPort(try Engine(), "a{1", hints: .slots(4)).rx()
    func microseconds(_ time: (seconds: Int64, microseconds: Int64)) -> Int64 {
      time.seconds * 1_000_000 + time.microseconds
    }
    var now = timeval()
    var (ahead, looks) = (0, 0)
    var behind: [Int64] = []
    // Long enough for the ring to calibrate the processor's time-stamp counter, and to use it.
    let end = monotonicNanoseconds() + 300_000_000
    while monotonicNanoseconds() < end {
      unsafe gettimeofday(&now, nil)
      let before = Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_usec)
      rx.sync()
      unsafe gettimeofday(&now, nil)
      let after = Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_usec)
      let stamp = microseconds(rx.timestamp)
      looks += 1
      // The kernel may slew the clock by 0.5 us per millisecond.
      if stamp > after + 2 { ahead += 1 }
      behind.append(before - stamp)
    }
    #expect(looks > 100 && ahead == 0, "\(ahead) of \(looks)")
    #expect(behind.max() ?? .max <= 5, "microseconds")
  }

  @Test("transmit rings are never stamped")
  func transmit() throws {
    let tx = try TestPipe().master.tx()
    tx.flags = 2
    tx.send([1, 2])
    #expect(tx.timestamp == (0, 0))
  }

  @Test("with stamping switched off, a ring is stamped only if it asks with NR_TIMESTAMP")
  func onRequest() throws {
    let engine = try Engine()
    let port = try TestPort(engine, "a{1", hints: .slots(4), stampsAlways: false)
    let rx = port.rx()
    rx.sync()
    #expect(rx.timestamp == (0, 0))
    rx.flags = 2
    rx.sync()
    #expect(rx.timestamp.seconds > 0)
  }
}
