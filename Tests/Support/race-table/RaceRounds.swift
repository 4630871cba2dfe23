import CRace
import Glibc
import NetmapCore
import TableSupport

/// The rounds of one row, in the process whose operation is attacked.
///
/// The handler of the processor's signals changes the words (`crace.h`), so a round needs no other process.
final class RaceRounds {
  private let operation: RaceOperation
  private let bystanders: RaceBystanders
  private let board: TableBoard
  let isRestored: Bool
  let memories: [RacedMemory]
  let words: RacedWords
  var pairs: [RacePair] = []
  /// The operation's number when no word changes.
  private var outcome: UInt64 = 0
  /// Buffers that hostile words have named since the last check.
  private var hostileNames: [Int: Set<Int>] = [:]
  /// Whether a word that says where a ring lies has changed since the last check.
  ///
  /// A process that can write such a word has the ring's region mapped. So other processes may write anywhere there.
  private var hasMovedRing = false
  private var exchanged: UInt64 = 0

  /// Rounds between two checks.
  static let interval = 256
  /// The first rounds of each pair, which watches report. Of the later ones they report every ``interval``th: a watch
  /// also reports instructions that the operation has not reached before.
  private static let watched = 128
  /// Rounds without a change after which an interface's port is opened again.
  private static let idleMax = 60
  /// Rounds after which a pair without changes is given up.
  private static let patience = 200

  /// Finds the words that an operation loads.
  init(
    _ row: any RaceRow, _ operation: RaceOperation, _ bystanders: RaceBystanders,
    _ board: TableBoard
  ) throws {
    (self.operation, self.bystanders, self.board) = (operation, bystanders, board)
    isRestored = row.isRestored
    memories = try RacedMemory.all()
    words = RacedWords(memories, isRestored: isRestored)
    try expect(!words.words.isEmpty, "the process shares no memory")
    for (name, value) in row.presets {
      for word in words.words where word.name == name && word.mapping == 0 {
        memories[word.memory].store(value, word.offset, word.width)
      }
    }
    for (memory, ranges) in zip(memories, words.ranges) { memory.note(ranges) }
    let prepared = unsafe crace_prepare(
      board.address(of: RaceWord.death).assumingMemoryBound(to: crace_death.self))
    try expect(prepared == 0, "no watches of memory: errno \(prepared)")
    // The first operations fill pages and tables.
    for _ in 0..<3 { try operate() }
    restore()
    if isRestored { for index in words.buffers.keys { memories[index].notePages() } }
    outcome = try operate()
    try expect(outcome != .max, "the operation fails without an attack")
    try record()
  }

  func restore(all: Bool = true) {
    guard isRestored else { return }
    for memory in memories { memory.restore(all: all) }
  }

  /// Does the operation once, from the state at the beginning.
  ///
  /// - Parameters:
  ///   - restoringAll: Whether to restore also what no operation before the last check has changed.
  ///   - isStepped: Whether to execute the operation, but not the restoring, instruction by instruction.
  /// - Returns: The operation's number; `UInt64.max` after an error that is none of the table's.
  /// - Throws: ``TableError`` when the operation has done what no peer may cause.
  @discardableResult
  func operate(restoringAll: Bool = true, isStepped: Bool = false) throws -> UInt64 {
    restore(all: restoringAll)
    board[RaceWord.operations] += 1
    defer { board[RaceWord.operations] += 1 }
    // Comparing memory takes 100 times as many instructions as the operation does.
    if isStepped { crace_begin_steps() }
    defer { if isStepped { crace_end_steps() } }
    do {
      return try operation.run()
    } catch let error as TableError {
      throw error
    } catch {
      return .max
    }
  }

  /// Does the operation once, instruction by instruction, so that later rounds know where instructions begin.
  func step() throws {
    board[RaceWord.isSlow] = 1
    defer { board[RaceWord.isSlow] = 0 }
    try operate(isStepped: true)
  }

  // MARK: - Rounds

  /// Attacks a pair.
  ///
  /// - Parameters:
  ///   - index: The number of the pair.
  ///   - order: The rounds.
  /// - Returns: What the runner has to know.
  func attack(_ index: Int, _ order: RaceOrder) -> RaceReport {
    var report = RaceReport()
    var number = order.first
    // The first round since the last check, and the first one that may be at fault.
    var (checked, start) = (order.first, order.first)
    var idle = 0
    board[RaceWord.changes] = 0
    board[RaceWord.checked] = UInt64(checked)
    var isPatched = false
    defer { unpatch() }
    do {
      while report.changes < order.changes, report.rounds < order.rounds {
        if report.changes == 0, order.isOpen,
          report.rounds >= (isRestored ? 1 : 20) * Self.patience
        {
          break
        }
        var generator = SplitMix(order.seed, order.key, number)
        let round = plan(pairs[index], &generator)
        note(round, number)
        start = number
        let isWatched =
          !order.isOpen || report.rounds < Self.watched || number % Self.interval == 0
          || !pairs[index].canPatch
        if isWatched, isPatched {
          unpatch()
          isPatched = false
        } else if !isWatched, !isPatched {
          try watch([])
          isPatched = try patch(index, round)
        }
        number += 1
        report.rounds += 1
        if try attack(index, round, isPatched) {
          report.changes += 1
          idle = 0
        } else {
          idle += 1
        }
        board[RaceWord.changes] = UInt64(report.changes)
        if report.changes == order.changes || report.rounds == order.rounds
          || number % Self.interval == 0
        {
          // A check finds what any round since the last one has done.
          start = checked
          try check()
          checked = number
          board[RaceWord.checked] = UInt64(checked)
        }
        // The rounds may have left an interface's port in a state in which nothing moves.
        if !isRestored, idle > Self.idleMax {
          report.isWorn = true
          break
        }
      }
    } catch {
      report.failure = "\(error)"
    }
    report.start = start
    return report
  }

  private func note(_ round: RaceRound, _ number: Int) {
    board[RaceWord.round] = UInt64(number)
    let (kind, value) = round.value.words
    board[RaceWord.plan] = UInt64(round.access)
    board[RaceWord.plan + 1] = UInt64(round.mode.rawValue)
    board[RaceWord.plan + 2] = UInt64(kind.rawValue)
    board[RaceWord.plan + 3] = value
  }

  func plan(_ pair: RacePair, _ generator: inout SplitMix) -> RaceRound {
    let instance = pair.instances[generator.next(below: pair.instances.count)]
    return RaceRound(
      instance: instance, part: pair.part, access: generator.next(below: instance.accesses),
      mode: [.once, .once, .always, .back][generator.next(below: 4)],
      value: RaceValue(&generator, words.buffers[instance.word.memory]))
  }

  private func unpatch() { _ = unsafe crace_patch([], 0, 8) }

  /// Has breakpoints report the accesses to a pair's words, if that takes less time than watches do.
  ///
  /// A watch takes 13 us for each access to the word. A breakpoint takes 2 us, but for each execution of an instruction
  /// that accesses the word in one of them.
  ///
  /// - Returns: Whether breakpoints do it.
  private func patch(_ index: Int, _ round: RaceRound) throws -> Bool {
    let places = pairs[index].places.sorted()
    guard
      unsafe crace_patch(places, CInt(places.count), UInt32(round.instance.word.width)) == 0
    else {
      pairs[index].canPatch = false
      return false
    }
    guard !pairs[index].isMeasured else { return true }
    pairs[index].isMeasured = true
    var description = description(round, true)
    description.access = .max
    unsafe crace_begin(&description)
    defer { _ = crace_end() }
    try operate()
    pairs[index].canPatch = crace_hits() <= 8 + 4 * crace_end().accesses
    if !pairs[index].canPatch { unpatch() }
    return pairs[index].canPatch
  }

  /// The handler's description of a round.
  private func description(_ round: RaceRound, _ isPatched: Bool) -> crace_round {
    let word = round.instance.word
    let memory = memories[word.memory]
    let (kind, value) = round.value.words
    var result = crace_round()
    result.address = address(of: word)
    result.alias =
      UInt64(UInt(bitPattern: unsafe memory.memory.base))
      &- UInt64(
        memory.bases[word.mapping])
    (result.stride, result.count) = (UInt64(word.width), 1)
    if isPatched, let slots = word.slots {
      result.address = address(of: word) - UInt64(16 * slots.index)
      (result.stride, result.count) = (16, UInt32(slots.count))
    }
    result.width = UInt32(word.width)
    result.shift = UInt32(round.part?.shift ?? 0)
    result.bits = UInt32(round.part?.bits ?? 8 * word.width)
    result.access = UInt32(round.access)
    result.mode = crace_mode(round.mode.rawValue)
    (result.kind, result.value) = (kind, value)
    return result
  }

  /// Changes one word during an operation.
  ///
  /// - Returns: Whether the word has changed after a load.
  private func attack(_ index: Int, _ round: RaceRound, _ isPatched: Bool) throws -> Bool {
    let word = round.instance.word
    let memory = memories[word.memory]
    var description = description(round, isPatched)
    if !isPatched { try watch([word]) }
    unsafe crace_begin(&description)
    var result: Result<UInt64, any Error> = .success(0)
    do { result = .success(try operate(restoringAll: !isPatched)) } catch {
      result = .failure(error)
    }
    let found = crace_end()
    for number in 0..<found.stores {
      let change = crace_stored(number)
      let offset = Int(change.address &- UInt64(memory.bases[word.mapping]))
      if let buffers = words.buffers[word.memory] {
        // Whoever can write to slots may have any buffer of their region overwritten.
        for name in [change.last & 0xffff_ffff, change.last >> 32]
        where name < UInt64(buffers.count) {
          hostileNames[word.memory, default: []].insert(Int(name))
        }
      }
      // Packets are not part of what is restored. An interface's words are not restored at all.
      if isRestored || memory.load(offset, word.width) == change.last {
        memory.store(change.old, offset, word.width)
      }
    }
    if found.stores > 0, word.name.hasSuffix("ingOffset") { hasMovedRing = true }
    _ = try result.get()
    if !isPatched { try learn(index, round) }
    return found.changes > 0
  }

  /// Notes places at which the operation accesses a pair's words and which it had not reached before.
  private func learn(_ index: Int, _ round: RaceRound) throws {
    var unknown = false
    for number in 0..<crace_count(0) {
      let place = crace_place(number)
      guard place != 0, !pairs[index].places.contains(place) else { continue }
      pairs[index].places.insert(place)
      if crace_beginning(place) == 0 { unknown = true }
    }
    guard unknown, pairs[index].canPatch else { return }
    // The same round again, by steps, shows where the instructions begin.
    try watch([])
    var description = description(round, false)
    unsafe crace_begin(&description)
    defer { _ = crace_end() }
    try step()
  }

  // MARK: - Checks

  /// Checks what the rounds before must not have harmed.
  private func check() throws {
    for (index, buffers) in words.buffers where isRestored {
      let ranges = words.ranges[index]
      let named = buffers.named.union(buffers.extra).union(hostileNames[index] ?? [])
      let change = memories[index].firstChange { offset in
        if let buffer = buffers.buffer(at: offset) { return named.contains(buffer) }
        return ranges.contains { $0.contains(offset) }
      }
      try expect(
        change == nil || hasMovedRing,
        "\(memories[index].name): byte \(change ?? 0) has changed, in buffer"
          + " \(change.flatMap { buffers.buffer(at: $0) } ?? -1)")
    }
    hostileNames = [:]
    hasMovedRing = false
    let now = try bystanders.exchange()
    try expect(now == exchanged + 4, "the bystanders exchange no packets")
    exchanged = now
    guard isRestored else { return }
    let found = try operate()
    try expect(found == outcome, "without an attack, the operation yields \(found), not \(outcome)")
    restore()
  }
}
