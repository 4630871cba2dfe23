import CLinux
import Glibc
import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

@Suite("Sleeping and waking")
struct SleeperTests {
  /// Runs `body` in a thread, on a port that no other thread uses meanwhile.
  private func thread(
    _ port: TestPort, _ body: @escaping @Sendable (TestPort) -> Void
  ) -> BackgroundThread {
    nonisolated(unsafe) let port = port
    return BackgroundThread { unsafe body(port) }
  }

  @Test(
    "with timeout 0 a wait only scans; otherwise it sleeps that long and finds nothing ready")
  func timeout() throws {
    let pipe = try TestPipe()
    let sleeper = pipe.slave.sleeper()
    #expect(try pipe.slave.wait(sleeper, for: .receive, milliseconds: 0).isEmpty)
    #expect(sleeper.sleeps == 0)
    let start = monotonicNanoseconds()
    #expect(try pipe.slave.wait(sleeper, for: .receive, milliseconds: 30).isEmpty)
    let elapsed = monotonicNanoseconds() - start
    #expect(elapsed >= 30_000_000)
    #expect(elapsed < 5_000_000_000)
    #expect(sleeper.sleeps > 0)
    #expect(pipe.slave.rx().counters.sleeps == sleeper.sleeps)
  }

  @Test("a wait returns what is ready without sleeping")
  func readyAtOnce() throws {
    let pipe = try TestPipe()
    pipe.master.tx().send([1])
    let sleeper = pipe.slave.sleeper()
    #expect(try pipe.slave.wait(sleeper, for: .receive) == .receive)
    #expect(try pipe.slave.wait(sleeper, for: .transmit) == .transmit)
    #expect(sleeper.sleeps == 0)
    #expect(sleeper.systemCalls == 0)
  }

  @Test("packets that the sender publishes wake the receiver")
  func wakeReceiver() throws {
    let pipe = try TestPipe()
    let found = Mutex<Readiness>([])
    let thread = thread(pipe.slave) { port in
      let sleeper = port.sleeper()
      let ready = (try? port.wait(sleeper, for: .receive)) ?? []
      found.withLock { $0 = ready }
    }
    let slept = eventually { pipe.slave.rx().counters.sleeps > 0 }
    #expect(slept)
    pipe.master.tx().send([1])
    thread.join()
    #expect(found.withLock { $0 } == .receive)
    #expect(pipe.slave.rx().visible == [1])
    #expect(pipe.master.tx().counters.systemCalls == 1, "one call for the wake-up, none otherwise")
    pipe.master.tx().send([2])
    #expect(pipe.master.tx().counters.systemCalls == 1)
  }

  @Test("slots that the receiver returns wake the sender")
  func wakeSender() throws {
    let pipe = try TestPipe()
    pipe.master.tx().send([1, 2, 3])
    let found = Mutex<Readiness>([])
    let thread = thread(pipe.master) { port in
      let sleeper = port.sleeper()
      let ready = (try? port.wait(sleeper, for: .transmit)) ?? []
      found.withLock { $0 = ready }
    }
    let slept = eventually { pipe.master.tx().counters.sleeps > 0 }
    #expect(slept)
    #expect(pipe.slave.rx().receive() == [1, 2, 3])
    thread.join()
    #expect(found.withLock { $0 } == .transmit)
    #expect(pipe.master.tx().space == 3)
  }

  @Test("all sleepers on one ring wake, not just one of them", arguments: [2, 5])
  func severalSleepers(count: Int) throws {
    let pipe = try TestPipe()
    let ports = try (0..<count).map { _ in try TestPort(pipe.engine, "a}1") }
    let (sleeping, woken) = (SharedCounter(), SharedCounter())
    let threads = ports.map { port in
      thread(port) { port in
        let sleeper = port.sleeper()
        sleeping.add()
        if (try? port.wait(sleeper, for: .receive)) == .receive { woken.add() }
      }
    }
    // Each sleeper counts its sleep on the shared ring.
    let slept = eventually {
      sleeping.value == count && pipe.slave.rx().counters.sleeps >= UInt64(count)
    }
    #expect(slept)
    pipe.master.tx().send([1])
    for thread in threads { thread.join() }
    #expect(woken.value == count)
  }

  @Test("one sleeper watches several ports, and syncs all of them")
  func severalPorts() throws {
    let engine = try Engine()
    let ends = try ["a{1", "a{2", "b{1"].map { try TestPort(engine, $0, hints: .slots(4)) }
    let others = try ["a}1", "a}2", "b}1"].map { try TestPort(engine, $0) }
    let sleeper = ends[0].sleeper()
    others[2].tx().send([7])
    ends[0].tx().put([1])
    ends[1].tx().put([2])
    var items = ends.map { Sleeper.Item(port: $0.mapped, wanted: .receive) }
    var none: [pollfd] = []
    #expect(try sleeper.wait(for: &items, and: &none, timeout: nil) == 1)
    #expect(items.map(\.ready) == [[], [], .receive])
    #expect(others[0].rx().receive() == [1], "sent, although another port was ready")
    #expect(others[1].rx().receive() == [2])
  }

  @Test("a sleeper waits for other descriptors too")
  func descriptors() throws {
    let pipe = try TestPipe()
    let sleeper = pipe.slave.sleeper()
    let file = eventfd(0, CInt(EFD_CLOEXEC))
    defer { close(file) }
    var items = [Sleeper.Item(port: pipe.slave.mapped, wanted: .receive)]
    var others = [pollfd(fd: file, events: Int16(POLLIN), revents: 0)]
    #expect(try sleeper.wait(for: &items, and: &others, timeout: 1_000_000) == 0)
    let writer = thread(pipe.slave) { port in
      _ = eventually { port.rx().counters.sleeps >= 2 }
      var one: UInt64 = 1
      _ = unsafe write(file, &one, 8)
    }
    #expect(try sleeper.wait(for: &items, and: &others, timeout: 10_000_000_000) == 1)
    writer.join()
    #expect(others[0].revents == Int16(POLLIN))
    #expect(items[0].ready.isEmpty)
    // The port and the descriptor at once.
    pipe.master.tx().send([1])
    #expect(try sleeper.wait(for: &items, and: &others, timeout: nil) == 2)
    #expect(items[0].ready == .receive)
    #expect(others[0].revents == Int16(POLLIN))
  }

  @Test("a wait may be for descriptors alone, or for nothing at all")
  func withoutPorts() throws {
    let sleeper = Sleeper(doorbells: try DoorbellTable())
    var none: [Sleeper.Item] = []
    var empty: [pollfd] = []
    #expect(try sleeper.wait(for: &none, and: &empty, timeout: 1_000_000) == 0)
    var bad = [pollfd(fd: 1_000_000, events: Int16(POLLIN), revents: 0)]
    #expect(try sleeper.wait(for: &none, and: &bad, timeout: nil) == 1)
    #expect(bad[0].revents & Int16(POLLNVAL) != 0)
  }

  @Test("a signal handler ends the wait with EINTR")
  func interrupted() throws {
    signal(SIGUSR1) { _ in }
    let pipe = try TestPipe()
    let code = Mutex<NetmapError.Code?>(nil)
    let done = SharedCounter()
    let thread = thread(pipe.slave) { port in
      defer { done.add() }
      // Threads of a test runner's pool block signals, and the threads that they start inherit that.
      unblockSignal(SIGUSR1)
      let sleeper = port.sleeper()
      do throws(NetmapError) {
        _ = try port.wait(sleeper, for: .receive)
      } catch {
        code.withLock { $0 = error.code }
      }
    }
    // The first signals may come before the thread sleeps.
    let interrupted = eventually {
      if pipe.slave.rx().counters.sleeps > 0 { thread.signal(SIGUSR1) }
      return done.value == 1
    }
    #expect(interrupted)
    thread.join()
    #expect(code.withLock { $0 } == .interrupted)
    // The ring still works, and the announcement is gone.
    pipe.master.tx().send([1])
    #expect(pipe.master.tx().counters.systemCalls == 0, "no sleeper to wake")
    #expect(pipe.slave.rx().receive() == [1])
  }

  @Test("an idle sleeper uses no CPU time")
  func idle() throws {
    let pipe = try TestPipe()
    let used = Mutex<UInt64>(.max)
    let thread = thread(pipe.slave) { port in
      let sleeper = port.sleeper()
      _ = try? port.wait(sleeper, for: .receive, milliseconds: 1)
      let before = threadCPUNanoseconds()
      _ = try? port.wait(sleeper, for: [.receive], milliseconds: 300)
      let after = threadCPUNanoseconds()
      used.withLock { $0 = after - before }
    }
    thread.join()
    #expect(used.withLock { $0 } < 15_000_000, "CPU time during a sleep of 300 milliseconds")
    #expect(pipe.slave.rx().counters.sleeps <= 4)
  }

  @Test("no wake-up is lost in many rounds of ping-pong, both sides sleeping")
  func pingPong() throws {
    #if DEBUG
      let standard: UInt64 = 4_000
    #else
      let standard: UInt64 = 100_000
    #endif
    let rounds = environmentNumber("NETMAP_TEST_ROUNDS") ?? standard
    let pipe = try TestPipe()
    let echoed = Mutex<UInt64>(0)
    let thread = thread(pipe.slave) { port in
      let sleeper = port.sleeper()
      for round in 0..<rounds {
        guard (try? port.wait(sleeper, for: .receive)) == .receive, port.rx().visible == [round]
        else { return }
        port.rx().move(to: port.rx().tail)
        port.tx().send([round])
        echoed.withLock { $0 = round + 1 }
      }
    }
    let sleeper = pipe.master.sleeper()
    for round in 0..<rounds {
      pipe.master.tx().send([round])
      guard try pipe.master.wait(sleeper, for: .receive) == .receive,
        pipe.master.rx().visible == [round]
      else {
        Issue.record("stuck in round \(round)")
        break
      }
      pipe.master.rx().move(to: pipe.master.rx().tail)
    }
    thread.join()
    #expect(echoed.withLock { $0 } == rounds)
  }

  @Test("a stream with sleepers on both sides arrives whole", arguments: [2, 5] as [UInt32])
  func stream(slots: UInt32) throws {
    let pipe = try TestPipe(.slots(slots))
    let total: UInt64 = 5_000
    let thread = thread(pipe.master) { port in
      let sleeper = port.sleeper()
      var next: UInt64 = 0
      while next < total {
        guard (try? port.wait(sleeper, for: .transmit)) == .transmit else { return }
        let count = min(UInt64(port.tx().space), total - next)
        port.tx().send(next..<(next + count))
        next += count
      }
    }
    let sleeper = pipe.slave.sleeper()
    var expected: UInt64 = 0
    while expected < total {
      guard try pipe.slave.wait(sleeper, for: .receive) == .receive else {
        Issue.record("stuck at \(expected)")
        break
      }
      for number in pipe.slave.rx().visible {
        guard number == expected else {
          Issue.record("\(number) instead of \(expected)")
          expected = total
          break
        }
        expected += 1
      }
      pipe.slave.rx().move(to: pipe.slave.rx().tail)
      pipe.slave.rx().sync()
    }
    thread.join()
    #expect(expected == total)
  }

  @Test("with cur at tail, a sleeper wakes only for new packets")
  func waitForMore() throws {
    let pipe = try TestPipe(.slots(8))
    pipe.master.tx().send([1])
    pipe.slave.rx().sync()
    pipe.slave.rx().cur = pipe.slave.rx().tail
    let sleeper = pipe.slave.sleeper()
    #expect(try pipe.slave.wait(sleeper, for: .receive, milliseconds: 5).isEmpty)
    pipe.master.tx().send([2])
    #expect(try pipe.slave.wait(sleeper, for: .receive) == .receive)
    #expect(pipe.slave.rx().visible == [1, 2])
  }

  @Test("the backend of an interface wakes a sleeper")
  func backend() throws {
    let engine = try Engine(interfaces: FakeInterfaces(["fake0": .pairs(1)]))
    let receiver = try TestPort(engine, "fake0", flags: .receiveOnly)
    let sender = try TestPort(engine, "fake0", flags: .transmitOnly)
    let found = Mutex<Readiness>([])
    let thread = thread(receiver) { port in
      let sleeper = port.sleeper()
      let ready = (try? port.wait(sleeper, for: .receive)) ?? []
      found.withLock { $0 = ready }
    }
    let slept = eventually { receiver.rx().counters.sleeps > 0 }
    #expect(slept)
    sender.tx().send([1])
    thread.join()
    #expect(found.withLock { $0 } == .receive)
    #expect(receiver.rx().visible == [1])
  }

  @Test("a sleeper does not miss a packet that came while another thread was syncing the ring")
  func passedOver() throws {
    let pipe = try TestPipe()
    #expect(pipe.slave.rx().lock(pipe.master.tag))
    pipe.master.tx().send([1])
    let found = Mutex<Readiness>([])
    let thread = thread(pipe.slave) { port in
      let sleeper = port.sleeper()
      let ready = (try? port.wait(sleeper, for: .receive)) ?? []
      found.withLock { $0 = ready }
    }
    let slept = eventually { pipe.slave.rx().counters.sleeps > 0 }
    #expect(slept)
    let start = monotonicNanoseconds()
    pipe.slave.rx().unlock()
    thread.join()
    #expect(found.withLock { $0 } == .receive)
    #expect(monotonicNanoseconds() - start < 5_000_000_000, "woken before the timeout")
  }

  @Test("sleepers that the list has no room for are told not to rely on a wake-up")
  func tooMany() throws {
    let pipe = try TestPipe()
    let bells = try (0..<80).map { _ in try pipe.engine.doorbells.acquire() }
    let sure = bells.map { pipe.slave.mapped.arm(.receive, as: .doorbell($0)) }
    #expect(sure[..<60].allSatisfy { $0 })
    #expect(!sure[70])
    #expect(!sure[79])
    // A wake-up rings all listed sleepers and empties the list.
    pipe.master.tx().send([1])
    #expect(pipe.slave.mapped.arm(.receive, as: .doorbell(bells[79])))
  }

  @Test("a sleeper that cannot be listed still notices packets")
  func unlisted() throws {
    let pipe = try TestPipe()
    for _ in 0..<80 {
      _ = try pipe.slave.mapped.arm(.receive, as: .doorbell(pipe.engine.doorbells.acquire()))
    }
    let sleeper = pipe.slave.sleeper()
    #expect(try pipe.slave.wait(sleeper, for: .receive, milliseconds: 5).isEmpty)
    pipe.master.tx().send([1])
    #expect(try pipe.slave.wait(sleeper, for: .receive) == .receive)
  }

  @Test("released doorbells are reused with their descriptor")
  func doorbellsReused() throws {
    let table = try DoorbellTable()
    let first = try table.acquire()
    let second = try table.acquire()
    #expect(first != second)
    let file = table.descriptor(of: first)
    table.release(first)
    #expect(try table.acquire() == first)
    #expect(table.descriptor(of: first) == file)
  }
}

/// Unblocks signal `number` for the calling thread.
func unblockSignal(_ number: CInt) {
  var set = sigset_t()
  unsafe sigemptyset(&set)
  unsafe sigaddset(&set, number)
  unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
}

/// A counter that several threads increase.
final class SharedCounter: Sendable {
  private let count = Atomic<Int>(0)
  func add() { count.add(1, ordering: .sequentiallyConsistent) }
  var value: Int { count.load(ordering: .sequentiallyConsistent) }
}
