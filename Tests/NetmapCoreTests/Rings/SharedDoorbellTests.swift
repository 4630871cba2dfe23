import CLinux
import Glibc
import Synchronization
import Testing

@testable import NetmapCore

/// Doorbells that cross a process boundary: sockets, which several sleepers of one process share.
@Suite("Shared doorbells", .timeLimit(.minutes(15)))
struct SharedDoorbellTests {
  /// A process's table, and the end of its socket on which other processes ring it.
  private static func table() throws -> (DoorbellTable, rung: CInt) {
    let (rung, watched) = try BellSocket.pair()
    let copy = dup(rung)
    let tag = ClientTag(slot: 3, epoch: 1)
    return (unsafe try DoorbellTable(of: tag, watched: watched, rung: rung, resolver: nil), copy)
  }

  private func isReported(_ watch: Watch, within milliseconds: CInt) -> Bool {
    var entry = pollfd(fd: watch.descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&entry, 1, milliseconds) == 1
  }

  @Test("every ring wakes both of two sleepers, whichever of them reads the socket")
  func everySleeperIsWoken() throws {
    let (table, rung) = try Self.table()
    let rounds = 10_000
    /// The current round, the last round that each sleeper has seen, and the number of late wake-ups.
    final class Board: Sendable {
      let round = Atomic<Int>(0)
      let first = Atomic<Int>(0)
      let second = Atomic<Int>(0)
      let late = Atomic<Int>(0)
      func seen(by number: Int) -> Int {
        number == 0
          ? first.load(ordering: .sequentiallyConsistent)
          : second.load(ordering: .sequentiallyConsistent)
      }
      func see(_ round: Int, by number: Int) {
        if number == 0 {
          first.store(round, ordering: .sequentiallyConsistent)
        } else {
          second.store(round, ordering: .sequentiallyConsistent)
        }
      }
    }
    let board = Board()
    var threads: [pthread_t] = []
    for number in 0..<2 {
      threads.append(
        try EngineThread.start("sleeper") {
          guard let watch = try? Watch(table, isAlone: false) else { return }
          while board.seen(by: number) < rounds {
            watch.consumeRings()
            let round = board.round.load(ordering: .sequentiallyConsistent)
            if round > board.seen(by: number) {
              board.see(round, by: number)
              continue
            }
            var entry = pollfd(fd: watch.descriptor, events: Int16(POLLIN), revents: 0)
            if unsafe poll(&entry, 1, 2000) == 0 {
              board.late.wrappingAdd(1, ordering: .relaxed)
            }
          }
        })
    }
    for round in 1...rounds {
      board.round.store(round, ordering: .sequentiallyConsistent)
      // In some rounds more rings than the socket has room for.
      for _ in 0..<(round % 100 == 0 ? 400 : 1 + round % 3) { BellSocket.ring(rung) }
      while board.seen(by: 0) < round || board.seen(by: 1) < round { sched_yield() }
    }
    for thread in threads { pthread_join(thread, nil) }
    #expect(board.late.load(ordering: .relaxed) == 0, "a ring was lost")
    close(rung)
  }

  @Test("a full socket refuses rings without blocking, and has room again after a read")
  func room() throws {
    let (table, rung) = try Self.table()
    let watch = try Watch(table, isAlone: false)
    #expect(fcntl(rung, F_SETFL, 0) == 0, "rings must not block on a blocking socket")
    for _ in 0..<20_000 { BellSocket.ring(rung) }
    watch.consumeRings()
    #expect(table.isReliable)
    for _ in 0..<10 {
      BellSocket.ring(rung)
      #expect(isReported(watch, within: 1000))
      watch.consumeRings()
      #expect(!isReported(watch, within: 0), "a consumed ring ends no sleep")
    }
    close(rung)
  }

  @Test("a doorbell that a peer shut down is not reliable, and does not end sleeps again and again")
  func shutDown() throws {
    let (table, rung) = try Self.table()
    let watch = try Watch(table, isAlone: false)
    shutdown(rung, CInt(SHUT_RDWR))
    watch.consumeRings()
    #expect(!table.isReliable)
    #expect(!isReported(watch, within: 50))
    close(rung)
  }

  @Test("descriptors that a peer sends are not received: closing them could block forever")
  func descriptors() throws {
    let (table, rung) = try Self.table()
    let watch = try Watch(table, isAlone: false)
    let byte: [UInt8] = [1]
    _ = unsafe clinux_send(rung, byte, 1, [0], 1, CInt(MSG_DONTWAIT))
    watch.consumeRings()
    #expect(!table.isReliable)
    close(rung)
  }

  @Test(
    "an isolated port's table rings its members, and keeps expelled bells until takeMembers"
  )
  func members() throws {
    final class Owner: Sendable {
      let isGone: @Sendable () -> Void
      init(_ isGone: @escaping @Sendable () -> Void) { self.isGone = isGone }
      deinit { isGone() }
    }
    let gone = Flag()
    let (mine, theirs) = try BellSocket.pair()
    let table = try DoorbellTable.ofIsolatedPort()
    var bell: PeerBell? = PeerBell(1025, mine, owner: Owner { gone.raise() })
    if let bell { table.admit(bell) }
    bell = nil
    func hasRung() -> Bool {
      var ring: UInt64 = 0
      return unsafe recv(theirs, &ring, 8, CInt(MSG_DONTWAIT)) == 8
    }
    unsafe table.view.ring(1025)
    #expect(hasRung())
    unsafe table.view.ring(1026)
    #expect(!hasRung())
    table.expel(1025)
    unsafe table.view.ring(1025)
    #expect(!hasRung())
    #expect(!gone.isRaised)
    var seen: UInt64 = 0
    let left = table.takeMembers(since: &seen)
    #expect(left?.isEmpty == true)
    #expect(gone.isRaised)
    for file in [mine, theirs] { close(file) }
  }

  private final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isRaised: Bool { value.load(ordering: .acquiring) }
    func raise() { value.store(true, ordering: .releasing) }
  }

  @Test("spurious rings are ignored for longer and longer, until a useful ring comes")
  func throttle() {
    var throttle = RingThrottle()
    var pauses: [UInt64] = []
    for _ in 0..<13 { pauses.append(throttle.noteNothing(at: 0) ? throttle.until / 1_000_000 : 0) }
    #expect(pauses == [0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 16])
    throttle.forget()
    let isIgnored = throttle.noteNothing(at: 0)
    #expect(!isIgnored)
  }
}
