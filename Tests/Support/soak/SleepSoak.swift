import Glibc
import Netmap
import NetmapClient
import NetmapCore

/// Round trips between processes that sleep until a packet arrives, beside busy loops, stops and kills.
///
/// A process that waits without a time limit looks at its rings again after a second at the latest (the worker for isolated
/// ports after 100 ms), because another process may have been stopped before it rang. So a wake-up that is lost delays a
/// round trip, and does not end it. It shows while both processes sleep, without a single interruption, although a packet
/// is under way: for longer than anything but a lost wake-up can last, and for less than a second.
final class SleepSoak {
  private let options: SoakOptions
  private let bed: SoakBed
  private var random: SoakRandom
  private let pairs: [SleepPair]
  private var loops: [pid_t] = []
  private var loopsRun = false
  private var (kills, stops, checks) = (0, 0, 0)
  /// Round trips of processes that have ended.
  private var trips: [Int: UInt64] = [:]
  /// Round trips whose packets were sent again, because a switch had dropped and counted packets.
  private var repetitions = 0
  /// The packets that the ports of a pair had dropped when its process started, or when it was last made to send again.
  private var drops: [Int: UInt64] = [:]

  init(_ options: SoakOptions) throws {
    self.options = options
    random = SoakRandom(seed: options.seed)
    bed = try SoakBed(options)
    pairs = SleepPair.all
  }

  func run() throws {
    for index in pairs.indices { try start(pairs[index]) }
    for _ in 0..<2 { loops.append(try bed.startOther(["/bin/sh", "-c", "while :; do :; done"])) }
    for loop in loops { Glibc.kill(loop, SIGSTOP) }
    if options.fault != nil {
      bed.board.faultTime = now() + UInt64(options.seconds) * 1_000_000_000 / 4
    }
    var nextEvent: UInt64 = 0
    while !bed.isOver, options.trips.map({ total < $0 }) ?? true {
      if now() >= nextEvent {
        try event()
        nextEvent = now() + .random(in: 0..<60_000_000, using: &random)
      }
      try watch()
      try bed.expectAllAlive()
      bed.progress(
        "\(Ledger.grouped(total)) round trips, \(kills) kills, \(stops) stops,"
          + " \(repetitions) sent again")
      usleep(5000)
    }
    try end()
  }

  /// The number of round trips so far.
  private var total: UInt64 { pairs.reduce(0) { $0 + count(of: $1) } }

  private func count(of pair: SleepPair) -> UInt64 {
    trips[pair.ping, default: 0] + bed.board[pair.ping, .count]
  }

  // MARK: - Processes

  private func start(_ pair: SleepPair) throws {
    try startEcho(pair)
    try startPing(pair)
  }

  private func startPing(_ pair: SleepPair) throws {
    trips[pair.ping, default: 0] += bed.board[pair.ping, .count]
    bed.board[pair.ping, .count] = 0
    bed.board[pair.ping, .since] = 0
    bed.board[pair.ping, .again] = 0
    // The new port's own counters begin at 0.
    if pair.mayDrop { drops[pair.ping] = try dropped(at: [pair.name(isPing: false)]) }
    try start(pair.ping, pair.name(isPing: true), pair.pingWay, "ping", pair.echo)
    watches[pair.ping] = nil
  }

  private func startEcho(_ pair: SleepPair) throws {
    try start(pair.echo, pair.name(isPing: false), pair.echoWay, "echo", pair.ping)
  }

  private func start(
    _ station: Int, _ port: String, _ way: String, _ part: String, _ peer: Int
  ) throws {
    if let call = SleepPair.calls[way] {
      let words = [
        bed.program("soak-client"), port, bed.board.path, "\(station)", "\(peer)", part, call,
      ]
      let environment = [
        "NETMAP_SOCKET": bed.socket, "LD_PRELOAD": bed.program("libnetmap-c.so"),
        "NETMAP_HALF": bed.program("libnetmap-half.so"),
      ]
      return try bed.start(station) { try bed.spawn(words, environment: environment) }
    }
    var settings = WorkerSettings()
    settings.seed = options.seed
    settings.batch = 6
    settings.targets = [peer]
    settings.sleeping = "\(part)-\(way)"
    settings.announces = port.hasPrefix("vale")
    // One echo makes the mistake.
    if station == 1 { settings.fault = options.fault }
    try bed.start(station, port, settings)
  }

  // MARK: - Events

  private func event() throws {
    let pair = pairs.randomElement(using: &random) ?? pairs[0]
    // A stop or a kill would hide that a wake-up was lost.
    let begun = bed.board[pair.ping, .since]
    if begun != 0, now() > begun + 100_000_000 { return }
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<50:
      // Never both, so that a stop of one shows whether the other one survives it.
      let station = random.chance(50) ? pair.ping : pair.echo
      bed.send(SIGSTOP, to: station)
      usleep(.random(in: 0..<20_000, using: &random))
      bed.send(SIGCONT, to: station)
      stops += 1
      watches[pair.ping] = nil
    case 50..<65:
      bed.kill(pair.ping)
      kills += 1
      try startPing(pair)
    case 65..<70:
      bed.kill(pair.ping)
      bed.kill(pair.echo)
      kills += 2
      try start(pair)
    case 70..<74:
      loopsRun.toggle()
      for loop in loops { Glibc.kill(loop, loopsRun ? SIGCONT : SIGSTOP) }
    case 74..<78:
      _ = try bed.check()
      checks += 1
    default: break
    }
  }

  // MARK: - Lost wake-ups

  /// A round trip during which both processes sleep.
  private struct Watch {
    /// When it began, as its process says.
    let begun: UInt64
    /// How often each process had left its processor, when it was first seen asleep.
    let sleeps: [UInt64]
    /// What netmapd's threads had got of the processors then.
    let daemon: [String: SoakBed.ThreadTime]
    let since: UInt64
  }

  private var watches: [Int: Watch] = [:]

  /// Fails if both processes sleep for long during a round trip.
  private func watch() throws {
    for pair in pairs {
      let begun = bed.board[pair.ping, .since]
      // A short trip is not worth a look at processes.
      guard begun != 0, now() > begun, now() - begun > 20_000_000 else {
        watches[pair.ping] = nil
        continue
      }
      let sleeps = [pair.ping, pair.echo].compactMap { bed.sleep(of: $0) }
      guard sleeps.count == 2 else {
        watches[pair.ping] = nil
        continue
      }
      guard let watch = watches[pair.ping], watch.begun == begun, watch.sleeps == sleeps else {
        watches[pair.ping] = Watch(
          begun: begun, sleeps: sleeps, daemon: bed.daemonTimes, since: now())
        continue
      }
      // The process may have noted the end of the trip after the look at its state.
      guard bed.board[pair.ping, .since] == begun else { continue }
      if try sendAgain(pair, begun) {
        watches[pair.ping] = nil
        continue
      }
      guard now() - watch.since > pair.longestSleep else { continue }
      // The others reach each other without netmapd, whose worker is busy for the isolated pair.
      if pair.needsDaemon {
        guard let hasWaited = bed.daemonWaited(since: watch.daemon, limit: pair.longestSleep / 2)
        else { continue }
        if hasWaited {
          watches[pair.ping] = nil
          continue
        }
      }
      // A thread of netmapd may have woken one of them since the look at it.
      guard [pair.ping, pair.echo].compactMap({ bed.sleep(of: $0) }) == watch.sleeps,
        bed.board[pair.ping, .since] == begun
      else { continue }
      let threads = bed.describe([pair.ping, pair.echo])
      try bed.fail(
        "\(pair): both processes have slept for \((now() - watch.since) / 1_000_000) ms, and a round trip"
          + " has taken \((now() - begun) / 1_000_000) ms: a wake-up was lost\n\(threads)")
    }
  }

  /// Has a process send the packets of a round trip again, if the ports of the pair have counted more dropped packets than
  /// when that was done last.
  ///
  /// A switch drops a packet for a port whose memory the sender could not receive, for want of descriptors. A packet that
  /// is neither dropped nor taken is left to ``watch()``.
  private func sendAgain(_ pair: SleepPair, _ begun: UInt64) throws -> Bool {
    guard pair.mayDrop else { return false }
    let count = try dropped(at: [pair.name(isPing: true), pair.name(isPing: false)])
    guard count > drops[pair.ping, default: 0] else { return false }
    drops[pair.ping] = count
    bed.board[pair.ping, .again] = begun
    bed.send(SIGUSR1, to: pair.ping)
    repetitions += 1
    return true
  }

  /// The packets that ports have counted as dropped.
  private func dropped(at names: [String]) throws -> UInt64 {
    do throws(NetmapError) {
      return try bed.engine.listing().filter { names.contains($0.name) }.reduce(0) {
        $0 &+ $1.transmit.drops &+ $1.receive.drops
      }
    } catch {
      try bed.fail("netmapd does not answer: \(error)")
    }
  }

  // MARK: - The end

  private func end() throws {
    bed.board.phase = .drain
    let end = now() + 20_000_000_000
    for pair in pairs {
      while bed.board.state(of: pair.ping) != .drained {
        try watch()
        try bed.expectAllAlive()
        if now() > end { try bed.fail("\(pair): the last round trip does not end") }
        usleep(1000)
      }
    }
    _ = try bed.check()
    for pair in pairs {
      bed.kill(pair.ping)
      bed.kill(pair.echo)
    }
    if options.isJSON {
      for pair in pairs { print(json(pair)) }
    } else {
      print(table)
      print("")
      print(
        "soak sleep: \(Int(bed.elapsed)) s, seed \(options.seed), \(Ledger.grouped(total)) round trips,"
          + " \(kills) kills, \(stops) stops, \(repetitions) sent again after counted drops,"
          + " \(checks) checks without findings; no wake-up was lost"
      )
    }
  }

  private static let columns = [
    "below 0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "longer", "longest, ms",
  ]

  private func numbers(_ pair: SleepPair) -> [String] {
    let longest = bed.board[pair.ping, .count2]
    return bed.board.histogram(pair.ping).map(Ledger.grouped)
      + ["\(longest / 1_000_000).\(longest / 100_000 % 10)"]
  }

  private var table: String {
    var lines = [
      "| pair | round trips | " + Self.columns.joined(separator: " | ") + " |",
      "|---|---:|" + Self.columns.map { _ in "---:|" }.joined(),
    ]
    for pair in pairs {
      let numbers = numbers(pair).joined(separator: " | ")
      lines.append("| \(pair) | \(Ledger.grouped(count(of: pair))) | \(numbers) |")
    }
    return lines.joined(separator: "\n")
  }

  private func json(_ pair: SleepPair) -> String {
    let counts = bed.board.histogram(pair.ping).map(String.init).joined(separator: ",")
    return "{\"pair\":\"\(pair)\",\"trips\":\(count(of: pair)),\"histogram\":[\(counts)],"
      + "\"longest_ns\":\(bed.board[pair.ping, .count2])}"
  }
}

/// Two processes that exchange packets: how each of them sleeps, and through what.
struct SleepPair: CustomStringConvertible {
  enum Line: String { case pipe, vale, isolated }

  let ping: Int
  let line: Line
  let pingWay: String
  let echoWay: String

  var echo: Int { ping + 1 }

  /// Whether the switch drops packets, because a process could not receive the memory of a port.
  var mayDrop: Bool { line == .vale && echoWay.hasSuffix("exhausted") }

  /// Whether netmapd carries packets, or rings for a process that could not receive a doorbell.
  var needsDaemon: Bool { line == .isolated || echoWay.hasSuffix("exhausted") }

  /// How long both processes can sleep during a round trip, nanoseconds, if no wake-up is lost. The worker does not listen
  /// for 16 ms to a doorbell that rings for nothing.
  var longestSleep: UInt64 { line == .isolated ? 60_000_000 : 300_000_000 }

  var description: String { "\(line.rawValue): \(pingWay), \(echoWay)" }

  /// C programs, by how they sleep.
  static let calls = ["C poll": "poll", "C epoll": "epoll", "C select": "select"]

  private static let kinds: [(ping: String, echo: String, line: Line)] = [
    ("futex", "futex", .pipe), ("poller", "poller", .pipe), ("futex", "poller-exhausted", .pipe),
    ("poller", "poller-exhausted", .vale), ("futex", "poller", .vale), ("C poll", "C epoll", .pipe),
    ("C select", "futex", .vale), ("futex", "futex", .isolated),
  ]

  static let all = kinds.enumerated().map { index, kind in
    SleepPair(ping: 2 * index, line: kind.line, pingWay: kind.ping, echoWay: kind.echo)
  }

  func name(isPing: Bool) -> String {
    switch line {
    case .pipe, .isolated:
      // Room for what an earlier process has left: a process that sleeps for room does not receive meanwhile.
      "netmap:\(line.rawValue)\(ping)\(isPing ? "{" : "}")1\(line == .isolated ? "/i" : "@conf:slots=32")"
    case .vale: "vale\(ping):s\(isPing ? ping : echo)"
    }
  }
}
