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

  /// Finds the words that the operation loads: watches each word in turn.
  func record() throws {
    for _ in 0..<(isRestored ? 1 : 8) { try step() }
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
    var plainStores: Set<UInt64> = []
    var order: [String] = []
    var byName: [String: RacePair] = [:]
    for (number, count) in counts.enumerated() where count > 0 {
      let word = all[number]
      let (places, stores) = try accesses(to: word)
      plainStores.formUnion(stores)
      guard !places.subtracting(stores).isEmpty else { continue }
      for part in word.parts.isEmpty ? [nil] : word.parts.map({ Optional($0) }) {
        let name = part.map { "\(word.name).\($0.name)" } ?? word.name
        var pair = byName[name] ?? RacePair(name: name, instances: [], part: part)
        if byName[name] == nil { order.append(name) }
        pair.instances.append(
          RacePair.Instance(word: word, accesses: count))
        pair.places.formUnion(places)
        byName[name] = pair
      }
    }
    let sorted = plainStores.sorted()
    unsafe crace_set_plain_stores(sorted, CInt(sorted.count))
    pairs = order.compactMap { byName[$0] }
    try watch([])
    restore()
  }

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
