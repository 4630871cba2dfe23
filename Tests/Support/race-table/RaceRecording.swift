import CRace
import Glibc
import TableSupport

/// How the table finds the words that an operation loads.
extension RaceRounds {
  func address(of word: RacedWord) -> UInt64 {
    UInt64(memories[word.memory].bases[word.mapping] + UInt(word.offset))
  }

  func watch(_ watched: [RacedWord], storesOnly: Bool = false) throws {
    let addresses = watched.map { address(of: $0) }
    let widths = watched.map { UInt32($0.width) }
    let error = unsafe crace_watch(
      addresses, widths, storesOnly ? 1 : 0, CInt(watched.count))
    try expect(error == 0, "no watches of memory: errno \(error)")
  }

  /// The operations after which an interface's ring has been passed once, if none is restored.
  func laps(_ word: RacedWord) -> Int {
    isRestored || !word.name.contains(" slot") ? 1 : 40
  }

  /// Finds the words that the operation loads.
  ///
  /// Finding them takes seconds, and a row of an interface needs a new process after some rounds. So the first process
  /// of a row leaves what it has found to the next ones.
  func record() throws {
    let all = words.words
    let key = layoutKey
    let found: [RecordedWord]
    if let known = RecordedWord.kept(key) {
      found = known
    } else {
      found = try watchAll()
      RecordedWord.keep(found, key)
    }
    var plainStores: Set<UInt64> = []
    var order: [String] = []
    var byName: [String: RacePair] = [:]
    for recorded in found {
      let word = all[recorded.number]
      plainStores.formUnion(recorded.stores)
      guard !recorded.places.subtracting(recorded.stores).isEmpty else { continue }
      for part in word.parts.isEmpty ? [nil] : word.parts.map({ Optional($0) }) {
        let name = part.map { "\(word.name).\($0.name)" } ?? word.name
        var pair = byName[name] ?? RacePair(name: name, instances: [], part: part)
        if byName[name] == nil { order.append(name) }
        pair.instances.append(RacePair.Instance(word: word, accesses: recorded.accesses))
        pair.places.formUnion(recorded.places)
        byName[name] = pair
      }
    }
    let sorted = plainStores.sorted()
    unsafe crace_set_plain_stores(sorted, CInt(sorted.count))
    pairs = order.compactMap { byName[$0] }
    try watch([])
    restore()
  }

  /// A number that two processes have in common if their words lie at the same addresses; never 0.
  private var layoutKey: UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func add(_ value: UInt64) { hash = (hash ^ value) &* 0x100_0000_01b3 }
    for memory in memories { for base in memory.bases { add(UInt64(base)) } }
    for word in words.words {
      for byte in word.name.utf8 { add(UInt64(byte)) }
      for number in [word.memory, word.mapping, word.offset, word.width] { add(UInt64(number)) }
    }
    return hash | 1
  }

  /// Watches each word in turn.
  private func watchAll() throws -> [RecordedWord] {
    try stepUntilKnown()
    // Of neighbors that one instruction accesses, one is reported. So words that are watched together lie apart.
    let all = words.words
    let part = (all.count + 3) / 4
    var counts = [Int](repeating: 0, count: all.count)
    for first in 0..<part {
      let numbers = stride(from: first, to: all.count, by: part).map { $0 }
      for _ in 0..<(numbers.map { laps(all[$0]) }.max() ?? 1) {
        try watch(numbers.map { all[$0] })
        try operate()
        for (index, number) in numbers.enumerated() {
          counts[number] = max(counts[number], Int(crace_count(CInt(index))))
        }
      }
    }
    var found: [RecordedWord] = []
    for (number, count) in counts.enumerated() where count > 0 {
      let (places, stores) = try accesses(to: all[number])
      found.append(
        RecordedWord(number: number, accesses: count, places: places, stores: stores))
    }
    return found
  }

  /// Does the operation by steps. An interface's operation takes other ways at other places of the ring, so it is
  /// repeated until two in a row have shown no further instruction.
  private func stepUntilKnown() throws {
    guard !isRestored else { return try step() }
    var (known, same) = (UInt32(0), 0)
    for _ in 0..<Self.stepsMax where same < 2 {
      try step()
      let now = crace_instructions()
      same = now == known ? same + 1 : 0
      known = now
    }
  }

  /// The most operations by steps at the beginning of an interface's row.
  private static let stepsMax = 8

  /// The places of the accesses to a word, and those of them that store and do not load.
  func accesses(to word: RacedWord) throws -> (all: Set<UInt64>, stores: Set<UInt64>) {
    var (all, stores): (Set<UInt64>, Set<UInt64>) = ([], [])
    for isStore in [false, true] {
      for _ in 0..<laps(word) {
        try watch([word], storesOnly: isStore)
        try operate()
        for number in 0..<crace_count(0) {
          let place = crace_place(number)
          guard place != 0 else { break }
          if isStore {
            let beginning = crace_beginning(place)
            // Where an instruction begins that no step has shown is not known: it may load.
            if beginning != 0, crace_is_exchange(beginning, place) == 0 { stores.insert(place) }
          } else {
            all.insert(place)
          }
        }
      }
    }
    return (all, stores)
  }
}

/// What watches have shown of a word, for the next process of the row.
struct RecordedWord {
  /// The word's place among the words of ``RacedWords``.
  let number: Int
  let accesses: Int
  /// The places of the accesses, and those of them that store and do not load.
  let places: Set<UInt64>
  let stores: Set<UInt64>

  /// Keeps words for the next process.
  ///
  /// - Parameters:
  ///   - found: The words.
  ///   - key: The layout of the memory in which they are; not 0.
  static func keep(_ found: [RecordedWord], _ key: UInt64) {
    var numbers = [UInt64(found.count)]
    for word in found {
      numbers += [UInt64(word.number), UInt64(word.accesses)]
      for places in [word.places, word.stores] { numbers += [UInt64(places.count)] + places }
    }
    // Processes of a row have few layouts, which follow from the order in which threads map memory.
    guard numbers.count < Int(partCount),
      let start = starts.first(where: { crace_kept($0) == 0 })
    else { return }
    for (index, number) in numbers.enumerated() { crace_keep(start + UInt32(index + 1), number) }
    // The key is kept last: without it the rest does not count.
    crace_keep(start, key)
  }

  /// The numbers that are kept for one layout.
  private static let partCount: UInt32 = CRACE_KEPT / 8
  private static var starts: StrideTo<UInt32> {
    stride(from: 0, to: CRACE_KEPT, by: Int(partCount))
  }

  /// - Returns: The words that a former process has kept; nil when none with this layout has.
  static func kept(_ key: UInt64) -> [RecordedWord]? {
    guard var index = starts.first(where: { crace_kept($0) == key }) else { return nil }
    func next() -> UInt64 {
      index += 1
      return crace_kept(index)
    }
    func places() -> Set<UInt64> { Set((0..<next()).map { _ in next() }) }
    return (0..<next()).map { _ in
      RecordedWord(
        number: Int(next()), accesses: Int(next()), places: places(), stores: places())
    }
  }
}
