import CLinux
import Glibc
import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

/// The cost of wake-ups, and wake-ups for every kind of sleeper.
@Suite("Wake-ups")
struct WakeUpTests {
  private func thread(
    _ port: TestPort, _ body: @escaping @Sendable (TestPort) -> Void
  ) -> BackgroundThread {
    nonisolated(unsafe) let port = port
    return BackgroundThread { unsafe body(port) }
  }

  /// A descriptor that is never ready, so that a sleeper has to watch descriptors.
  private static func silentDescriptor() -> pollfd {
    pollfd(fd: eventfd(0, CInt(EFD_CLOEXEC)), events: Int16(POLLIN), revents: 0)
  }

  @Test(
    "one system call for the sleeper and one for the waker, on one ring and on many",
    arguments: [1, 8] as [UInt16])
  func systemCalls(rings: UInt16) throws {
    let pipe = try TestPipe(
      RingGeometryHints(
        transmitSlots: 8, receiveSlots: 8, transmitRings: rings, receiveRings: rings))
    let rounds: UInt64 = 1_000
    let echo = thread(pipe.slave) { port in
      let sleeper = port.sleeper()
      for round in 0..<rounds {
        guard (try? port.wait(sleeper, for: .receive)) == .receive else { return }
        let ring = Int(round) % Int(rings)
        port.rx(ring).move(to: port.rx(ring).tail)
        port.tx(ring).send([round])
      }
    }
    let sleeper = pipe.master.sleeper()
    for round in 0..<rounds {
      let ring = Int(round) % Int(rings)
      pipe.master.tx(ring).send([round])
      guard try pipe.master.wait(sleeper, for: .receive) == .receive else {
        Issue.record("stuck in round \(round)")
        break
      }
      #expect(pipe.master.rx(ring).visible == [round])
      pipe.master.rx(ring).move(to: pipe.master.rx(ring).tail)
    }
    echo.join()
    #expect(sleeper.systemCalls == sleeper.sleeps)
    #expect(sleeper.sleeps <= 2 * rounds, "at most one spurious wake-up per round")
    let wakes = (0..<Int(rings)).reduce(0) { $0 + pipe.master.tx($1).counters.systemCalls }
    #expect(wakes > 0)
    #expect(wakes <= rounds)
  }

  @Test(
    "a sleeper that watches descriptors and one that does not are both woken by one sync",
    arguments: [false, true])
  func bothKinds(descriptorsFirst: Bool) throws {
    let pipe = try TestPipe()
    let other = try TestPort(pipe.engine, "a}1")
    let woken = SharedCounter()
    func sleep(_ port: TestPort, onDescriptors: Bool) -> BackgroundThread {
      thread(port) { port in
        let sleeper = port.sleeper()
        var items = [Sleeper.Item(port: port.mapped, wanted: .receive)]
        var others = onDescriptors ? [Self.silentDescriptor()] : []
        defer { for entry in others { close(entry.fd) } }
        let count = try? sleeper.wait(for: &items, and: &others, timeout: 10_000_000_000)
        if count == 1, items[0].ready == .receive { woken.add() }
      }
    }
    let sleeps = { pipe.slave.rx().counters.sleeps }
    let first = sleep(pipe.slave, onDescriptors: descriptorsFirst)
    #expect(eventually { sleeps() >= 1 })
    let second = sleep(other, onDescriptors: !descriptorsFirst)
    #expect(eventually { sleeps() >= 2 })
    let start = monotonicNanoseconds()
    pipe.master.tx().send([1])
    first.join()
    second.join()
    #expect(woken.value == 2)
    #expect(monotonicNanoseconds() - start < 5_000_000_000, "woken before the timeout")
  }

  @Test("a sleeper does not miss a ring between its announcement and its sleep")
  func rungBetween() throws {
    let pipe = try TestPipe()
    let registration = pipe.slave.registration
    let bell = unsafe try #require(
      registration.segment.bell(ofBinding: registration.bindingIndex))
    let stop = SharedCounter()
    // Spurious rings all the time: the sleeper must neither miss a packet nor report one that is not there.
    nonisolated(unsafe) let ringing = unsafe bell
    let noise = BackgroundThread {
      while stop.value == 0 {
        unsafe ringing.ring()
        sched_yield()
      }
    }
    let sleeper = pipe.slave.sleeper()
    for round in 0..<200 as Range<UInt64> {
      let sender = thread(pipe.master) { $0.tx().send([round]) }
      #expect(try pipe.slave.wait(sleeper, for: .receive) == .receive)
      #expect(pipe.slave.rx().receive() == [round])
      sender.join()
    }
    stop.add()
    noise.join()
    #expect(try pipe.slave.wait(sleeper, for: .receive, milliseconds: 5).isEmpty)
  }

  @Test(
    "a handler with SA_RESTART ends the sleep as well, with and without descriptors",
    arguments: [false, true])
  func restartingHandler(onDescriptors: Bool) throws {
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in }
    action.sa_flags = SA_RESTART
    #expect(unsafe sigaction(SIGUSR2, &action, nil) == 0)
    let pipe = try TestPipe()
    let code = Mutex<NetmapError.Code?>(nil)
    let done = SharedCounter()
    let thread = thread(pipe.slave) { port in
      defer { done.add() }
      unblockSignal(SIGUSR2)
      var items = [Sleeper.Item(port: port.mapped, wanted: .receive)]
      var others = onDescriptors ? [Self.silentDescriptor()] : []
      defer { for entry in others { close(entry.fd) } }
      do throws(NetmapError) {
        // A wait without a timeout uses another system call than one with a timeout.
        _ = try port.sleeper().wait(for: &items, and: &others, timeout: nil)
      } catch {
        code.withLock { $0 = error.code }
      }
    }
    let interrupted = eventually {
      if pipe.slave.rx().counters.sleeps > 0 { thread.signal(SIGUSR2) }
      return done.value == 1
    }
    #expect(interrupted)
    if !interrupted { pipe.master.tx().send([1]) }
    thread.join()
    #expect(code.withLock { $0 } == .interrupted)
  }

  @Test("waiting for pipes uses no descriptors")
  func noDescriptors() throws {
    let pipe = try TestPipe()
    let sleeper = pipe.slave.sleeper()
    #expect(try pipe.slave.wait(sleeper, for: .receive, milliseconds: 1).isEmpty)
    #expect(sleeper.sleeps > 0)
    #expect(pipe.engine.doorbells.descriptor(of: 0) == -1)
  }
}
