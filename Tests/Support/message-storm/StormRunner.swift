import CLinux
import Glibc
import NetmapCore
import StormAttack

/// Attacks as one kind of peer after the other, in rounds; looks after each round at what is left of it.
struct StormRunner {
  private let options: StormOptions

  /// The steps of an episode; about three quarters of them are messages.
  private static let steps = 400
  /// The messages after which the attackers' connections end and the daemon must be as before.
  private static let messagesPerRound: UInt64 = 50_000
  /// How much longer than without an attack a bystander may be held, nanoseconds.
  private static let holdMax: UInt64 = 100_000_000
  /// The longest time without CPU waits that the daemon may take for an answer beyond that of the run without an
  /// attack, nanoseconds.
  private static let answerMax: UInt64 = 3_000_000_000
  /// How much the daemon's private memory may grow, bytes: in the first rounds, and after them.
  ///
  /// Each thread of netmapd keeps what its largest answers needed, and the allocator reuses it. A dump of all ports has
  /// megabytes. So it takes some rounds until memory no longer grows.
  private static let memoryMax: (settling: UInt64, settled: UInt64) = (64 << 20, 16 << 20)
  /// The rounds in which memory may grow more.
  private static let settlingRounds = 4
  /// How long an attacker may make no step, seconds.
  private static let patience = 90

  init(_ options: StormOptions) {
    self.options = options
  }

  /// - Returns: Whether every promise was kept.
  func run() -> Bool {
    guard geteuid() == 0 else {
      MessageStorm.say(
        "message-storm: attackers need other users than root, and root to become them")
      return false
    }
    var rows: [StormRow] = []
    for peer in options.peers {
      var row =
        options.progress.flatMap { StormRow(peer, in: $0) }
        ?? StormRow(peer, seed: options.seed ?? UInt64.random(in: 1...0xffff_ffff))
      if let seed = options.seed, seed != row.seed { row = StormRow(peer, seed: seed) }
      do {
        try attack(as: &row)
      } catch {
        row.failure = "\(error)"
      }
      rows.append(row)
      if options.isJSON { MessageStorm.say(row.json) }
    }
    if !options.isJSON {
      MessageStorm.say(StormRow.heading)
      for row in rows { MessageStorm.say(row.line) }
    }
    for row in rows where row.failure != nil {
      MessageStorm.say("\(row.peer.rawValue) FAILED: \(row.failure ?? "")")
    }
    return rows.allSatisfy { $0.failure == nil }
  }

  /// The number of attackers: the opener serves one broker at a time.
  private func workers(_ peer: StormPeer) -> Int { peer == .broker ? 1 : options.workers }

  private func isEnough(_ row: StormRow, _ start: ContinuousClock.Instant) -> Bool {
    if options.replay != nil { return row.messages > 0 }
    if let seconds = options.seconds { return ContinuousClock.now - start >= .seconds(seconds) }
    return row.messages >= options.messages
  }

  private func attack(as row: inout StormRow) throws {
    if options.replay == nil, options.seconds == nil, row.messages >= options.messages { return }
    let testbed = try StormTestbed(row.peer)
    defer { testbed.end() }
    note("\(row.peer.rawValue): seed \(row.seed)")
    try control(testbed, &row)
    if row.memoryBefore == 0 { row.memoryBefore = testbed.memory }
    let workers = UInt64(workers(row.peer))
    if let replay = options.replay {
      row.nextEpisode = StormPosition.episode(of: replay) / workers * workers
    }
    var rounds = 0
    var settledMemory: UInt64 = 0
    let start = ContinuousClock.now
    repeat {
      testbed.board.clear()
      let clock = ContinuousClock.now
      do {
        try round(testbed, &row, until: options.seconds.map { start + .seconds($0) })
        let recovery = try testbed.expectRecovered()
        if !recovery.late.isEmpty {
          note(
            "\(row.peer.rawValue): netmapd closed what the attackers had sent within"
              + " \(recovery.time); after 5 s: \(recovery.late)")
        }
        row.memoryAfter = testbed.memory
        rounds += 1
        let isSettling = rounds <= Self.settlingRounds
        let limit =
          isSettling
          ? row.memoryBefore + Self.memoryMax.settling : settledMemory + Self.memoryMax.settled
        guard row.memoryAfter <= limit else {
          throw testbed.failure(
            "the daemon's memory grew from \(isSettling ? row.memoryBefore : settledMemory) to"
              + " \(row.memoryAfter) bytes")
        }
        if isSettling { settledMemory = max(settledMemory, row.memoryAfter) }
        try judge(testbed, &row)
      } catch {
        let places = (0..<Int(workers)).map { "\(testbed.board[$0, .position])" }
        throw StormError(
          "\(error)\nrepeat with: --kind \(row.peer.rawValue) --seed \(row.seed) --workers"
            + " \(options.workers) --replay \(places.first ?? "0")\nattackers were at messages"
            + " \(places.joined(separator: ", "))")
      }
      row.add(testbed.board)
      row.seconds += UInt64((ContinuousClock.now - clock).components.seconds)
      if let folder = options.progress, options.replay == nil { try row.save(in: folder) }
      note(row.line)
    } while !isEnough(row, start)
    for bystander in testbed.bystanders { try bystander.settle() }
  }

  /// Runs as many busy loops as there will be attackers, and measures the same.
  private func control(_ testbed: StormTestbed, _ row: inout StormRow) throws {
    let loops = try (0..<workers(row.peer)).map { _ in try testbed.busyLoop() }
    let end = ContinuousClock.now + .seconds(options.controlSeconds)
    while ContinuousClock.now < end {
      try testbed.probe()
      usleep(50_000)
    }
    for loop in loops { loop.kill(SIGKILL) }
    row.controlAnswer = max(row.controlAnswer, testbed.takeWorstAnswer().hold)
    for gap in testbed.takeGaps() {
      row.controlGap = max(row.controlGap, gap.gap)
      row.controlHold = max(row.controlHold, gap.hold)
    }
  }

  /// Lets the attackers make their episodes.
  private func round(
    _ testbed: StormTestbed, _ row: inout StormRow, until deadline: ContinuousClock.Instant?
  ) throws {
    let workers = UInt64(workers(row.peer))
    // Episodes that all attackers make in a round.
    let count = max(
      workers, Self.messagesPerRound * 4 / 3 / UInt64(Self.steps) / workers * workers)
    let first = row.nextEpisode
    let hanging = try testbed.hang(seed: row.seed &+ first)
    defer { hanging?.kill(SIGKILL) }
    var attackers: [StormProcess] = []
    defer { for attacker in attackers { attacker.kill(SIGKILL) } }
    for worker in 0..<workers {
      attackers.append(
        try testbed.attack(
          Int(worker),
          StormEpisodes(
            seed: row.seed, first: first + worker, stride: workers, end: first + count,
            steps: Self.steps)))
    }
    var places = [UInt64](repeating: 0, count: attackers.count)
    var moved = [ContinuousClock.Instant](repeating: .now, count: attackers.count)
    var lastNote = ContinuousClock.now
    while attackers.contains(where: { $0.ended == nil }) {
      if ContinuousClock.now - lastNote >= .seconds(20) {
        lastNote = .now
        note("\(row.peer.rawValue): \(row.messages + testbed.board.sum(.messages)) messages")
      }
      if options.isSelfTest, testbed.board.sum(.messages) > 100 { testbed.bystanders[0].end() }
      try testbed.probe()
      for (slot, attacker) in attackers.enumerated() {
        if let status = attacker.ended {
          guard status == 0 else {
            throw StormError("attacker \(slot) ended with status \(status): \(attacker.rest())")
          }
          continue
        }
        let place = testbed.board[slot, .position]
        if place != places[slot] { (places[slot], moved[slot]) = (place, .now) }
        guard ContinuousClock.now - moved[slot] < .seconds(Self.patience) else {
          throw testbed.failure("attacker \(slot) hangs at message \(place)")
        }
      }
      if let deadline, ContinuousClock.now >= deadline { break }
      usleep(40_000)
    }
    row.nextEpisode = first + count
  }

  /// Compares what bystanders and the member have seen with the run without an attack.
  private func judge(_ testbed: StormTestbed, _ row: inout StormRow) throws {
    let answer = testbed.takeWorstAnswer()
    row.worstAnswer = max(row.worstAnswer, answer.hold)
    guard answer.hold <= row.controlAnswer + Self.answerMax else {
      throw testbed.failure("an answer took \(StormRow.milliseconds(answer.hold))")
    }
    for gap in testbed.takeGaps() {
      row.gap = max(row.gap, gap.gap)
      row.hold = max(row.hold, gap.hold)
      let isHeld =
        gap.gap > row.controlGap + Self.holdMax && gap.hold > row.controlHold + Self.holdMax
      guard !isHeld else {
        throw testbed.failure(
          "bystander, \(gap.kind.rawValue): no packet for \(StormRow.milliseconds(gap.gap)), of which"
            + " \(StormRow.milliseconds(gap.hold)) with a CPU; without an attack"
            + " \(StormRow.milliseconds(row.controlGap)) and \(StormRow.milliseconds(row.controlHold))"
        )
      }
    }
  }

  private func note(_ text: String) {
    guard !options.isJSON else { return }
    let bytes = [UInt8]("\(text)\n".utf8)
    _ = write(2, bytes, bytes.count)
  }
}
