import CRace

/// A word of the victim's memory, or a part of it, and the operation that loads it.
struct RacePair {
  let name: String
  /// The words of this kind that the operation accesses.
  var instances: [Instance]
  let part: RacedWord.Part?
  /// The places at which the operation accesses the words: the addresses of the next instructions.
  var places: Set<UInt64> = []
  /// Whether breakpoints report them, and whether it has been measured that they take less time than watches.
  var canPatch = true
  var isMeasured = false

  struct Instance {
    let word: RacedWord
    /// How often the operation accesses the word.
    let accesses: Int
  }
}

/// What happens in one round.
struct RaceRound {
  let instance: RacePair.Instance
  let part: RacedWord.Part?
  /// The access after which the word changes, the first one being 0.
  let access: Int
  let mode: Mode
  let value: RaceValue

  enum Mode: UInt32 {
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
      let named = buffers.known[generator.next(below: buffers.known.count)]
      let indexes = [buffers.count, buffers.count - 1, named]
      self = .constant(UInt64(indexes[generator.next(below: 3)]))
    default: self = .constant(Self.constants[generator.next(below: Self.constants.count)])
    }
  }

  /// The kind and the number of the handler's language.
  var words: (kind: crace_value, value: UInt64) {
    switch self {
    case .constant(let value): (CRACE_CONSTANT, value)
    case .difference(let difference): (CRACE_DIFFERENCE, difference)
    case .flip(let bit): (CRACE_FLIP, UInt64(bit))
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
