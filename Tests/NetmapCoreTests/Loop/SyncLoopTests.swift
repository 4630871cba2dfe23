import CLinux
import CNetmap
import Glibc
import NetmapCore
import Testing

@Suite("Loops that drive rings by control blocks")
struct SyncLoopTests {
  @Test("control blocks begin with the state of the rings, and both sides want to be woken")
  func start() throws {
    let fixture = try LoopFixture()
    let (tx, rx) = (fixture.application(0), fixture.application(1))
    #expect([tx.head, tx.cur, tx.hwcur, tx.hwtail, tx.needsKick] == [0, 0, 0, 7, 1])
    #expect([rx.head, rx.cur, rx.hwcur, rx.hwtail, rx.needsKick] == [0, 0, 0, 0, 1])
    #expect(
      [tx[NM_CSB_ATOK_APPL_NEED_KICK_OFFSET], tx[NM_CSB_ATOK_SYNC_FLAGS_OFFSET]] == [1, 1])
  }

  @Test("packets pass in both directions, and the ring's own cursors stay the application's")
  func traffic() throws {
    let fixture = try LoopFixture()
    let (tx, rx) = (fixture.application(0), fixture.application(1))
    let (master, slave) = (fixture.master, fixture.slave)
    // The words that upstream's sync_kloop_test uses for itself.
    (master.tx().head, master.tx().cur, master.tx().tail) = (111, 222, 333)
    (master.rx().head, master.rx().cur, master.rx().tail) = (444, 555, 666)
    for round in 0..<20 {
      let first = tx.head
      for offset in 0..<3 as Range<UInt32> {
        let buffer = master.tx()[(first + offset) % 8].bufferIndex
        master.tx().setPayload(buffer, UInt64(round) * 10 + UInt64(offset))
      }
      tx.move(to: (first + 3) % 8)
      fixture.turn()
      #expect(tx.hwcur == tx.head)
      let base = UInt64(round) * 10
      #expect(slave.rx().receive() == [base, base + 1, base + 2])
      slave.tx().send([100, 101])
      fixture.turn()
      #expect((rx.hwtail + 8 - rx.head) % 8 == 2)
      #expect(master.rx().payload(master.rx()[rx.head].bufferIndex) == 100)
      rx.move(to: rx.hwtail)
      fixture.turn()
      #expect(rx.hwcur == rx.head)
    }
    #expect([master.tx().head, master.tx().cur, master.tx().tail] == [111, 222, 333])
    #expect([master.rx().head, master.rx().cur, master.rx().tail] == [444, 555, 666])
    #expect(master.tx().counters.resets == 0 && master.rx().counters.resets == 0)
  }

  @Test(
    "cursors out of place reset the ring, and the application recovers by the published ones",
    arguments: [8, 9, 0x7fff_ffff, 0x8000_0000, UInt32.max], [0, 1])
  func outOfPlace(value: UInt32, ring: Int) throws {
    let fixture = try LoopFixture()
    let application = fixture.application(ring)
    fixture.slave.tx().send([70, 71])
    fixture.turn()
    for word in [NM_CSB_ATOK_HEAD_OFFSET, NM_CSB_ATOK_CUR_OFFSET] {
      application.move(to: application.hwcur)
      fixture.turn()
      let side = ring == 0 ? fixture.master.tx() : fixture.master.rx()
      let resets = side.counters.resets
      application[word] = value
      fixture.turn()
      #expect(side.counters.resets == resets + 1)
      #expect(application.hwcur < 8 && application.hwtail < 8)
    }
    fixture.application(0).move(to: fixture.application(0).hwcur)
    fixture.application(1).move(to: fixture.application(1).hwcur)
    fixture.turn()
    fixture.application(0).move(to: (fixture.application(0).head + 1) % 8)
    fixture.turn()
    #expect(fixture.slave.rx().receive().count == 1)
    #expect((fixture.application(1).hwtail + 8 - fixture.application(1).head) % 8 == 2)
  }

  @Test("heads beyond the slots that the application has are refused, and nothing is sent")
  func beyondTail() throws {
    let fixture = try LoopFixture()
    let (tx, rx) = (fixture.application(0), fixture.application(1))
    fixture.slave.tx().send([70, 71])
    fixture.turn()
    // Only two slots were received.
    rx.move(to: 3)
    fixture.turn()
    #expect(fixture.master.rx().counters.resets == 1)
    rx.move(to: 2)
    tx.move(to: 4)
    fixture.turn()
    // Backwards.
    tx.move(to: 2)
    fixture.turn()
    #expect(fixture.master.tx().counters.resets == 1)
    #expect(fixture.slave.rx().receive().count == 4)
  }

  @Test("the application's own cursors are no finding, and the next process finds the engine's")
  func ownCursors() throws {
    let fixture = try LoopFixture()
    let (engine, master, slave) = (fixture.engine, fixture.master, fixture.slave)
    (master.tx().head, master.tx().cur, master.tx().tail) = (111, 222, 333)
    (master.rx().head, master.rx().cur, master.rx().tail) = (444, 555, 666)
    fixture.application(0).move(to: 3)
    slave.tx().send([100, 101])
    fixture.turn()
    #expect(engine.check().findings == [])
    fixture.loop.end()
    #expect(engine.check().findings == [])
    master.close()
    #expect(engine.check().findings == [])
    // The pipe's rings stay, because its other end is open.
    let next = try TestPort(engine, "p{1", hints: .slots(8))
    #expect([next.tx().head, next.tx().cur, next.tx().tail] == [3, 3, 7])
    #expect([next.rx().head, next.rx().cur, next.rx().tail] == [0, 0, 2])
    #expect(next.rx().receive() == [100, 101])
    next.tx().send([103])
    #expect(slave.rx().receive().count == 4)
  }

  @Test("a mode that a process sets on a shared binding hides no finding, and changes no cursor")
  func forgedMode() throws {
    let engine = try Engine()
    let port = try TestPort(engine, "p{1", hints: .slots(8))
    let other = try TestPort(engine, "p}1", hints: .slots(8))
    unsafe port.mapped.control?.setMode(.loop)
    port.tx().head = 111
    #expect(engine.check().findings.count == 1)
    port.close()
    let next = try TestPort(engine, "p{1", hints: .slots(8))
    #expect(next.tx().head == 111)
    withExtendedLifetime(other) {}
  }

  @Test("random words in both blocks neither trap nor move a packet out of order")
  func random() throws {
    var settings = SyncLoop.Settings()
    settings.isNotified = true
    for notified in [false, true] {
      settings.isNotified = notified
      let fixture = try LoopFixture(settings)
      var generator = SystemRandomNumberGenerator()
      for _ in 0..<20_000 {
        let application = fixture.application(Int.random(in: 0...1, using: &generator))
        let value: UInt32 =
          Bool.random(using: &generator)
          ? .random(in: 0..<10, using: &generator) : .random(in: 0...(.max), using: &generator)
        let word = Int.random(in: 0..<16, using: &generator) * 4
        if Bool.random(using: &generator) {
          application[word] = value
        } else {
          unsafe application.answer.storeBytes(of: value, toByteOffset: word, as: UInt32.self)
        }
        if Int.random(in: 0..<8, using: &generator) == 0, fixture.slave.tx().space > 0 {
          fixture.slave.tx().send([60])
        }
        #expect(!fixture.turn().isLast)
        for ring in [fixture.master.tx(), fixture.master.rx()] {
          #expect(ring.hwcur < 8 && ring.hwtail < 8 && ring.rhead < 8)
        }
        _ = fixture.slave.rx().receive()
      }
    }
  }

  @Test("a notified loop asks for kicks when it has nothing to do, and waives them at work")
  func kicks() throws {
    var settings = SyncLoop.Settings()
    settings.isNotified = true
    let fixture = try LoopFixture(settings)
    let (tx, rx) = (fixture.application(0), fixture.application(1))
    fixture.turn()
    // Nothing to send. Packets that arrive wake the loop anyway.
    #expect(tx.needsKick == 1 && rx.needsKick == 0)
    // The application holds all slots: it has to say when it returns some.
    fixture.slave.tx().send([60, 61, 62, 63, 64, 65, 66])
    fixture.turn()
    #expect(rx.hwtail == 7 && rx.needsKick == 1)
    // All slots are sent, and the other end has returned none.
    tx.move(to: 7)
    let turn = fixture.turn()
    #expect(tx.needsKick == 1 && turn.wanted.contains(.transmit))
  }

  @Test("a polling loop wants no kicks")
  func polling() throws {
    let fixture = try LoopFixture()
    fixture.turn()
    #expect(fixture.application(0).needsKick == 0 && fixture.application(1).needsKick == 0)
  }

  @Test("a direct ring wants a kick for every change")
  func direct() throws {
    var settings = SyncLoop.Settings()
    settings.isNotified = true
    settings.direct = [.transmit, .receive]
    let fixture = try LoopFixture(settings)
    let tx = fixture.application(0)
    tx.move(to: 7)
    fixture.turn()
    #expect(tx.needsKick == 1 && fixture.application(1).needsKick == 1)
    #expect(fixture.slave.rx().receive().count == 7)
  }

  @Test("without notifications nothing drives direct rings, as in netmap")
  func directPolling() throws {
    var settings = SyncLoop.Settings()
    settings.direct = [.transmit]
    let fixture = try LoopFixture(settings)
    fixture.application(0).move(to: 3)
    fixture.slave.tx().send([60])
    fixture.turn()
    #expect(fixture.slave.rx().receive().isEmpty)
    #expect(fixture.application(1).hwtail == 1)
  }

  @Test("the loop wakes an application that wants it, and only for progress")
  func signals() throws {
    let file = eventfd(0, CInt(EFD_NONBLOCK))
    defer { close(file) }
    var settings = SyncLoop.Settings()
    settings.isNotified = true
    settings.signals = [-1, file]
    let fixture = try LoopFixture(settings)
    func rings() -> UInt64 {
      var count: UInt64 = 0
      return unsafe read(file, &count, 8) == 8 ? count : 0
    }
    fixture.turn()
    #expect(rings() == 0)
    fixture.slave.tx().send([60])
    fixture.turn()
    #expect(rings() == 1)
    fixture.turn()
    #expect(rings() == 0)
    fixture.application(1)[NM_CSB_ATOK_APPL_NEED_KICK_OFFSET] = 0
    fixture.slave.tx().send([60])
    fixture.turn()
    #expect(rings() == 0)
    // A counter that is full does not make the loop wait.
    var most = UInt64.max - 1
    #expect(unsafe write(file, &most, 8) == 8)
    fixture.application(1)[NM_CSB_ATOK_APPL_NEED_KICK_OFFSET] = 1
    fixture.slave.tx().send([60])
    fixture.turn()
    #expect(rings() == UInt64.max - 1)
  }

  @Test("one loop at a time; a request to stop ends it, or the next one, once")
  func stop() throws {
    let fixture = try LoopFixture()
    let blocks = unsafe try #require(
      ControlBlocks(
        requests: fixture.memory, answers: fixture.memory + 2 * ControlBlock.byteCount))
    func again() throws -> SyncLoop {
      unsafe try SyncLoop(fixture.master.mapped, fixture.master.tag, blocks)
    }
    let second = #expect(throws: NetmapError.self) { _ = try again() }
    #expect(second?.code == .busy)
    #expect(fixture.master.mapped.hasLoop)
    #expect(!fixture.turn().isLast)
    fixture.master.mapped.requestLoopStop()
    #expect(fixture.turn().isLast)
    fixture.loop.end()
    #expect(!fixture.master.mapped.hasLoop)
    fixture.master.mapped.requestLoopStop()
    let third = try again()
    #expect(third.turn(nil).isLast)
    third.end()
    let fourth = try again()
    #expect(!fourth.turn(nil).isLast)
  }

  @Test("a loop whose owner is dead is not running any more")
  func deadOwner() throws {
    let fixture = try LoopFixture()
    #expect(fixture.master.registration.segment.releaseLoops(of: fixture.master.tag) == 1)
    #expect(!fixture.master.mapped.hasLoop)
  }

  @Test("a descriptor that is no eventfd is refused, and nothing is left behind")
  func noEventfd() throws {
    var settings = SyncLoop.Settings()
    for (file, code) in [(unsafe open("/dev/null", O_RDWR), EINVAL), (CInt(1_000_000), EBADF)] {
      settings.signals = [file, -1]
      let error = #expect(throws: NetmapError.self) { _ = try LoopFixture(settings) }
      #expect(error?.code.rawValue == code)
      #expect(throws: NetmapError.self) { _ = try LoopKicks([file]) }
      close(file)
    }
  }

  @Test("syncs and waits of the port are refused in CSB mode")
  func refusals() throws {
    let fixture = try LoopFixture()
    let mapped = fixture.master.mapped
    mapped.refuseSyncs()
    #expect(unsafe SyncPath.transmit(mapped.syncPath) == .controlled)
    #expect(unsafe SyncPath.receive(mapped.syncPath) == .controlled)
    #expect(mapped.scan([.receive, .transmit]) == .error)
    #expect(mapped.scan([]) == .error)
  }
}

@Suite("Threads that run loops", .timeLimit(.minutes(5)))
struct SyncLoopRunTests {
  /// What the thread of the loop shares with the test's.
  private struct Work: @unchecked Sendable {
    let fixture: LoopFixture
    let kicks: LoopKicks?
  }

  private func run(_ fixture: LoopFixture, _ kicks: LoopKicks?) -> BackgroundThread {
    let work = Work(fixture: fixture, kicks: kicks)
    return BackgroundThread {
      let sleeper = Sleeper(doorbells: work.fixture.engine.doorbells)
      do { try work.fixture.loop.run(work.kicks, pause: 10, sleeper) } catch { Issue.record(error) }
    }
  }

  @Test(
    "packets pass while a thread runs the loop, with kicks and without", arguments: [false, true])
  func traffic(isNotified: Bool) throws {
    let files = [eventfd(0, 0), eventfd(0, 0)]
    defer { for file in files { close(file) } }
    var settings = SyncLoop.Settings()
    settings.isNotified = isNotified
    let fixture = try LoopFixture(settings)
    let thread = run(fixture, isNotified ? try LoopKicks(files) : nil)
    let tx = fixture.application(0)
    var received = 0
    for _ in 0..<500 {
      tx.move(to: (tx.head + 1) % 8)
      var one: UInt64 = 1
      _ = unsafe write(files[0], &one, 8)
      #expect(
        eventually {
          received += fixture.slave.rx().receive().count
          return received > 0
        })
      received -= 1
    }
    #expect(received == 0)
    fixture.slave.tx().send([60, 61])
    #expect(eventually { fixture.application(1).hwtail == 2 })
    fixture.master.mapped.requestLoopStop()
    thread.join()
    #expect(!fixture.master.mapped.hasLoop)
  }

  @Test("a request to stop ends a loop that sleeps")
  func stop() throws {
    let files = [eventfd(0, 0), eventfd(0, 0)]
    defer { for file in files { close(file) } }
    var settings = SyncLoop.Settings()
    settings.isNotified = true
    let fixture = try LoopFixture(settings)
    let thread = run(fixture, try LoopKicks(files))
    usleep(20_000)
    let start = monotonicNanoseconds()
    fixture.master.mapped.requestLoopStop()
    thread.join()
    #expect(monotonicNanoseconds() - start < 60_000_000_000)
  }
}
