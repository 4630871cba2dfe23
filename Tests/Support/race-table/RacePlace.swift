import CTrace
import Glibc
import Netmap
import TableSupport

/// A word of the victim's memory, or a part of it, and the operation that loads it.
struct RacePair {
  let name: String
  /// The words of this kind that the operation accesses.
  var instances: [Instance]
  let part: RacedWord.Part?

  struct Instance {
    let word: RacedWord
    /// How often the operation accesses the word.
    let accesses: Int
  }
}

/// What the tracer does in one round.
struct RaceRound {
  let instance: RacePair.Instance
  let part: RacedWord.Part?
  /// The access after which the word changes, the first one being 0.
  let access: Int
  let mode: Mode
  let value: RaceValue

  enum Mode: Int {
    /// The word changes once.
    case once
    /// The word changes after each access from that one on.
    case always
    /// The word changes, and has its old value again after the next access.
    case back
  }
}

/// A value that replaces a word.
enum RaceValue: CustomStringConvertible {
  case constant(UInt64)
  case difference(UInt64)
  case flip(Int)

  static let constants: [UInt64] = [
    0, 1, 2, 13, 14, 60, 63, 64, 65, 1024, 2047, 2048, 2049, 4095, 4096, 65535, 65536, 1 << 20,
    1 << 31, 0x7fff_ffff, 0xffff_ffff, 1 << 32, 7 << 32 | 9, 1 << 47, 1 << 63, .max - 1, .max,
  ]

  init(_ generator: inout SplitMix, _ buffers: RacedWords.Buffers?) {
    switch generator.next(below: 10) {
    case 0: self = .difference(1)
    case 1: self = .difference(.max)
    case 2: self = .flip(generator.next(below: 64))
    case 3: self = .constant(generator.next())
    case 4: self = .constant(UInt64(generator.next(below: 256)))
    case 5:
      guard let buffers else { fallthrough }
      let known = buffers.named.sorted()
      let indexes = [buffers.count, buffers.count - 1, known[generator.next(below: known.count)]]
      self = .constant(UInt64(indexes[generator.next(below: 3)]))
    default: self = .constant(Self.constants[generator.next(below: Self.constants.count)])
    }
  }

  func apply(to old: UInt64) -> UInt64 {
    switch self {
    case .constant(let value): value
    case .difference(let difference): old &+ difference
    case .flip(let bit): old ^ 1 << UInt64(bit)
    }
  }

  var description: String {
    switch self {
    case .constant(let value): "\(value)"
    case .difference(let difference): difference == 1 ? "+1" : "-1"
    case .flip(let bit): "bit \(bit)"
    }
  }
}

/// Numbers that a seed determines (SplitMix64).
struct SplitMix {
  private var state: UInt64

  /// - Parameters:
  ///   - seed: The seed of the table.
  ///   - text: A name that gives each pair other numbers.
  ///   - round: The number of the round.
  init(_ seed: UInt64, _ text: String, _ round: Int) {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    state = seed &+ hash &+ UInt64(round) &* 0xd134_2543_de82_ef95
    _ = next()
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = (state ^ state >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return word ^ word >> 31
  }

  mutating func next(below limit: Int) -> Int { Int(next() >> 33) % max(1, limit) }
}

/// A testbed with the victim of one row, and the words that its operation loads.
final class RacePlace {
  private let testbed: TableTestbed
  private let victim: RacedVictim
  private let isRestored: Bool
  private var memories: [RacedMemory] = []
  private var words: RacedWords
  private(set) var pairs: [RacePair] = []
  /// Instructions after stores that load nothing.
  private var plainStores: Set<UInt> = []
  /// The operation's number when no word changes.
  private var outcome: UInt64 = 0
  /// Buffers that hostile words have named since the last check.
  private var hostileNames: [Int: Set<Int>] = [:]
  /// Whether a word that says where a ring lies has changed since the last check.
  ///
  /// A process that can write such a word has the ring's region mapped. So other processes may write anywhere there.
  private var hasMovedRing = false

  init(_ row: any RaceRow, _ index: Int, _ daemon: String, _ rows: [any RaceRow]) throws {
    isRestored = row.isRestored
    try row.prepareProcess()
    testbed = try TableTestbed(program: daemon, play: RacePlay.play(rows))
    testbed.row = index
    victim = try RacedVictim(awaiting: testbed.startVictim(), testbed.board)
    // An operation that does not end must not hold the tracer for ever.
    ctrace_tick(50)
    memories = try RacedMemory.all(of: victim.process)
    words = RacedWords(memories, slotsMax: isRestored ? .max : 24)
    try expect(!words.words.isEmpty, "the victim shares no memory")
    for (name, value) in row.presets {
      for word in words.words where word.name == name && word.mapping == 0 {
        memories[word.memory].store(value, word.offset, word.width)
      }
    }
    noteState()
    // The first operations fill pages and tables.
    for _ in 0..<3 { try operate([]) { _ in } }
    restore()
    if isRestored { for index in words.buffers.keys { memories[index].notePages() } }
    outcome = testbed.board[RacePlay.Word.outcome]
    try expect(outcome != .max, "the operation fails without an attack")
    try record()
  }

  private func noteState() {
    for (memory, ranges) in zip(memories, words.ranges) { memory.note(ranges) }
  }

  private func restore() {
    guard isRestored else { return }
    for memory in memories { memory.restore() }
  }

  private func operate(_ watches: [RacedVictim.Watch], _ body: (Int) -> Void) throws {
    restore()
    try victim.watch(watches)
    try victim.operate(body)
  }

  private func watch(_ word: RacedWord, storesOnly: Bool = false) -> RacedVictim.Watch {
    RacedVictim.Watch(
      address: memories[word.memory].victimBases[word.mapping] + UInt(word.offset),
      width: word.width,
      storesOnly: storesOnly)
  }

  // MARK: - Recording

  /// The operations after which an interface's ring has been passed once, if none is restored.
  private static let lap = 90

  /// Finds the words that the operation loads: watches each word in turn.
  private func record() throws {
    var found: [(word: RacedWord, accesses: Int)] = []
    for start in stride(from: 0, to: words.words.count, by: 4) {
      let part = words.words[start..<min(start + 4, words.words.count)]
      var counts = [0, 0, 0, 0]
      // Where nothing is restored, an operation reaches other slots of the ring each time.
      let times = isRestored || !part.contains { $0.name.contains(" slot") } ? 1 : Self.lap
      for _ in 0..<times {
        var now = [0, 0, 0, 0]
        try operate(part.map { watch($0) }) { hits in
          for index in 0..<4 where hits >> index & 1 != 0 { now[index] += 1 }
        }
        counts = zip(counts, now).map { max($0, $1) }
      }
      for (word, count) in zip(part, counts) where count > 0 { found.append((word, count)) }
    }
    var stores: Set<UInt> = []
    var order: [String] = []
    var byName: [String: RacePair] = [:]
    for (word, accesses) in found {
      var loads = 0
      for _ in 0..<(isRestored || !word.name.contains(" slot") ? 1 : Self.lap) where loads == 0 {
        try operate([watch(word), watch(word, storesOnly: true)]) { hits in
          let place = victim.place
          if hits & 2 == 0 {
            loads += 1
          } else if victim.isExchange(before: place) {
            loads += 1
          } else {
            stores.insert(place)
          }
        }
      }
      guard loads > 0 else { continue }
      let parts = word.parts.isEmpty ? [nil] : word.parts.map { Optional($0) }
      for part in parts {
        let name = part.map { "\(word.name).\($0.name)" } ?? word.name
        let instance = RacePair.Instance(word: word, accesses: accesses)
        if byName[name] == nil {
          order.append(name)
          byName[name] = RacePair(name: name, instances: [], part: part)
        }
        byName[name]?.instances.append(instance)
      }
    }
    plainStores = stores
    pairs = order.compactMap { byName[$0] }
    restore()
  }

  // MARK: - Rounds

  func plan(_ pair: RacePair, _ generator: inout SplitMix) -> RaceRound {
    let instance = pair.instances[generator.next(below: pair.instances.count)]
    return RaceRound(
      instance: instance, part: pair.part, access: generator.next(below: instance.accesses),
      mode: [.once, .once, .always, .back][generator.next(below: 4)],
      value: RaceValue(&generator, words.buffers[instance.word.memory]))
  }

  /// Changes one word during an operation of the victim.
  ///
  /// - Returns: Whether the word has changed after a load.
  func attack(_ round: RaceRound) throws -> Bool {
    let word = round.instance.word
    let memory = memories[word.memory]
    var (accesses, hasChanged) = (0, false)
    var (old, last): (UInt64?, UInt64) = (nil, 0)
    try operate([watch(word)]) { _ in
      defer { accesses += 1 }
      guard accesses >= round.access, round.mode != .once || accesses == round.access else {
        return
      }
      let now = memory.load(word.offset, word.width)
      if round.mode == .back, let old {
        if accesses == round.access + 1 { memory.store(old, word.offset, word.width) }
        return
      }
      old = old ?? now
      let hostile = hostile(round, now, word.width)
      guard hostile != now else { return }
      memory.store(hostile, word.offset, word.width)
      last = hostile
      if word.name.hasSuffix("ingOffset") { hasMovedRing = true }
      if !hasChanged, !plainStores.contains(victim.place) { hasChanged = true }
      if let buffers = words.buffers[word.memory] {
        // Whoever can write to slots may have any buffer of their region overwritten.
        for index in [hostile & 0xffff_ffff, hostile >> 32] where index < UInt64(buffers.count) {
          hostileNames[word.memory, default: []].insert(Int(index))
        }
      }
    }
    // Packets are not part of what is restored. An interface's words are not restored at all.
    if let old, isRestored || memory.load(word.offset, word.width) == last {
      memory.store(old, word.offset, word.width)
    }
    return hasChanged
  }

  private func hostile(_ round: RaceRound, _ now: UInt64, _ width: Int) -> UInt64 {
    let mask = width == 8 ? UInt64.max : (1 << UInt64(8 * width)) - 1
    guard let part = round.part else { return round.value.apply(to: now) & mask }
    let field: UInt64 = ((1 << UInt64(part.bits)) - 1) << UInt64(part.shift)
    let value = round.value.apply(to: (now & field) >> UInt64(part.shift)) << UInt64(part.shift)
    return now & ~field | value & field
  }

  /// Checks what the rounds before must not have harmed.
  func check() throws {
    for (index, buffers) in words.buffers where isRestored {
      let ranges = words.ranges[index]
      let named = buffers.named.union(hostileNames[index] ?? [])
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
    let board = testbed.board
    let before = board[RacePlay.Word.exchanged]
    board[RacePlay.Word.bystands] = 1
    try operate([]) { _ in }
    try expect(board[RacePlay.Word.exchanged] == before + 4, "the bystanders exchange no packets")
    guard isRestored else { return }
    let now = board[RacePlay.Word.outcome]
    try expect(now == outcome, "without an attack, the operation yields \(now), not \(outcome)")
    restore()
  }

  /// Ends the victim.
  func end() {
    ctrace_tick(0)
    kill(victim.process, SIGKILL)
    var status: CInt = 0
    while unsafe waitpid(victim.process, &status, 0x4000_0000) == victim.process,
      status & 0xff == 0x7f
    {}
  }
}
