import Glibc
import Netmap
import ProcessFiles

/// A process that sends packets and sleeps until they come back, or that sends back what arrives.
///
/// It sleeps without a limit, so that a wake-up that is lost shows.
final class SleepWorker {
  private let board: SoakBoard
  private let station: Int
  private let settings: WorkerSettings
  private let port: NetmapPort
  /// A second port, without packets: a process that waits for several ports sleeps in another way.
  private let idle: NetmapPort?
  private let poller = Poller()
  private let incarnation: UInt64
  private var random: SoakRandom
  private let faultIsDue: Bool
  /// The limit of descriptors before this process gave itself a lower one; nil for a process that does not.
  private var limit: rlimit?
  /// When this process raises or lowers its limit next, monotonic nanoseconds.
  private var changesLimitAt: UInt64 = 0
  private var isExhausted = false

  private var isPing: Bool { settings.sleeping?.hasPrefix("ping") ?? false }
  private var peer: Int { settings.targets.first ?? 0 }

  init(
    _ board: SoakBoard, socket: String, _ station: Int, _ name: String, _ settings: WorkerSettings
  ) throws {
    self.board = board
    self.station = station
    self.settings = settings
    incarnation = board[station, .incarnation]
    random = SoakRandom(seed: settings.seed &+ incarnation)
    faultIsDue = settings.fault == .oversleep
    if settings.sleeping?.hasPrefix("ping") ?? false {
      // A handler that does nothing: the signal ends a sleep.
      var action = sigaction()
      unsafe action.__sigaction_handler.sa_handler = { _ in }
      unsafe sigaction(SIGUSR1, &action, nil)
    }
    let engine = try HostEngine(socket: socket)
    port = try NetmapPort(name, engine: engine)
    let polls = settings.sleeping?.contains("poller") ?? false
    idle = polls ? try NetmapPort("netmap:idle\(station){1", engine: engine) : nil
    if settings.sleeping?.contains("exhausted") ?? false {
      // The first sleep on several ports makes descriptors. Nobody sends to the idle port, so this wait does sleep, unless its
      // time is over before: on a busy machine the process may get no processor for a millisecond.
      if let idle {
        let before = DescriptorKinds(of: getpid()).count
        repeat {
          var items = [PollItem(idle, for: .receive), PollItem(port, for: [])]
          _ = try poller.wait(for: &items, timeout: .milliseconds(1))
        } while DescriptorKinds(of: getpid()).count == before
      }
      var found = rlimit()
      unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &found)
      limit = found
      try setExhausted(true)
    }
  }

  /// Lets this process have no more descriptors than it has, or as many as at its start.
  private func setExhausted(_ isExhausted: Bool) throws {
    guard var limit else { return }
    if isExhausted {
      let next = dup(2)
      guard next >= 0 else { throw SoakError("dup: errno \(errno)") }
      close(next)
      limit.rlim_cur = rlim_t(next)
    }
    guard unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
      throw SoakError("setrlimit: errno \(errno)")
    }
    self.isExhausted = isExhausted
  }

  /// Has descriptors for some time, and none for some time.
  ///
  /// A process on a switch needs descriptors for the memory of a port that comes to the switch, and for its doorbell. One
  /// that never has any can send nothing to the port. On a pipe it needs the doorbell alone, and netmapd rings it instead.
  private func changeLimit() throws {
    guard settings.announces, limit != nil, now() >= changesLimitAt else { return }
    changesLimitAt = now() + .random(in: 0..<50_000_000, using: &random)
    try setExhausted(!isExhausted)
  }

  func run() throws {
    if settings.announces { try send([(0, 0)], to: SoakPacket.everybody) }
    board[station, .state] = SoakBoard.State.ready.rawValue
    if isPing {
      while board.phase == .run { try trip() }
      board[station, .state] = SoakBoard.State.drained.rawValue
      while true { pause() }
    }
    while true { try echo() }
  }

  private var number: UInt64 = 0
  /// The number after the last packet that was sent again.
  private var repeatedEnd: UInt64 = 0

  /// Sends some packets, and sleeps until each has come back.
  private func trip() throws {
    delay()
    let count = random.chance(20) ? Int.random(in: 2...settings.batch, using: &random) : 1
    let begun = now()
    board[station, .since] = begun
    let first = number
    try send((0..<UInt64(count)).map { (incarnation, first + $0) }, to: peer)
    number += UInt64(count)
    var back: UInt64 = 0
    while back < UInt64(count) {
      try port.sync(.receive)
      try take { found in
        // An earlier process of this station may have sent others.
        guard found.incarnation == incarnation else { return }
        // A packet that was sent again may come back twice.
        if found.number < repeatedEnd, found.number < first + back { return }
        guard found.number == first + back else {
          throw SoakFailure("packet \(found.number) came back instead of \(first + back)")
        }
        back += 1
      }
      guard back < UInt64(count) else { break }
      if try wait(.receive, timeout: nil) { continue }
      // A signal: packets of this trip were dropped, and counted, if the soak says so.
      guard board[station, .again] == begun else { continue }
      board[station, .again] = 0
      repeatedEnd = number
      try send((back..<UInt64(count)).map { (incarnation, first + $0) }, to: peer)
    }
    board[station, .since] = 0
    note(now() - begun)
  }

  /// Sends back the packets that have arrived; sleeps if there are none.
  private func echo() throws {
    try changeLimit()
    var found: [(UInt64, UInt64)] = []
    try port.sync(.receive)
    try take { found.append(($0.incarnation, $0.number)) }
    if found.isEmpty {
      _ = try wait(.receive, timeout: nil)
      return
    }
    delay()
    if faultIsDue, board.faultTime != 0, now() >= board.faultTime {
      // As if nobody had woken this process, until it would look at its rings without a wake-up. Again and again: the soak
      // may be starting processes meanwhile.
      usleep(900_000)
    }
    try send(found, to: peer)
  }

  private func send(_ contents: [(incarnation: UInt64, number: UInt64)], to target: Int) throws {
    let port = port
    var rest = contents[...]
    while let next = rest.first {
      let packet = SoakPacket(
        sender: station, target: target, incarnation: next.incarnation, number: next.number,
        length: 60)
      var isSent = false
      do {
        var ring = port.transmitRing(0)
        isSent = ring.append(length: 60) { packet.write(to: &$0) }
      }
      if isSent {
        rest.removeFirst()
      } else {
        _ = try wait(.transmit, timeout: nil)
      }
    }
    try port.sync(.transmit)
  }

  private func take(_ body: ((incarnation: UInt64, number: UInt64)) throws -> Void) throws {
    let port = port
    var ring = port.receiveRing(0)
    while let packet = ring.next() {
      guard packet.bytes.byteCount == 60 else { continue }
      let own = SoakPacket.address(station) & 0xffff_ffff_ffff
      let target = unsafe packet.bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self)
      guard target & 0xffff_ffff_ffff == own else { continue }
      try unsafe body(
        (
          packet.bytes.unsafeLoadUnaligned(fromByteOffset: 16, as: UInt64.self),
          packet.bytes.unsafeLoadUnaligned(fromByteOffset: 24, as: UInt64.self)
        ))
    }
  }

  /// - Returns: Whether the port is ready; false when the time is over, or after a signal.
  private func wait(_ direction: Readiness, timeout: Duration?) throws -> Bool {
    do throws(NetmapError) {
      guard let idle else { return try !port.wait(for: direction, timeout: timeout).isEmpty }
      var items = [PollItem(port, for: direction), PollItem(idle, for: .receive)]
      return try poller.wait(for: &items, timeout: timeout) > 0
    } catch {
      guard error.code.rawValue == EINTR else { throw error }
      return false
    }
  }

  /// Lets some time pass: the process that it exchanges packets with is then at another point of going to sleep.
  private func delay() {
    switch Int.random(in: 0..<10, using: &random) {
    case 0: usleep(.random(in: 0..<300, using: &random))
    case 1..<5:
      var turns = Int.random(in: 0..<2000, using: &random)
      var sum = random.next()
      while turns > 0 {
        sum = SoakRandom.mix(sum)
        turns -= 1
      }
      if sum == 1 { sched_yield() }
    default: break
    }
  }

  private func note(_ time: UInt64) {
    board[station, .count] += 1
    board[station, .count2] = max(board[station, .count2], time)
    let limits: [UInt64] = [100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000]
    board.addToHistogram(station, limits.firstIndex { time < $0 } ?? limits.count)
  }
}
