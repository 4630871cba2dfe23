/// SplitMix64. Each step of an attack has a generator of its own, so that the decisions of a step do not depend
/// on the answers to earlier steps.
package struct StormRandom: RandomNumberGenerator {
  private var state: UInt64

  package init(seed: UInt64, _ parts: UInt64...) {
    state = seed
    for part in parts {
      state = next() ^ part &* 0x9e37_79b9_7f4a_7c15
    }
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// A number from 0 to `limit` - 1; 0 when there is none.
  mutating func below(_ limit: Int) -> Int {
    limit <= 1 ? 0 : Int(truncatingIfNeeded: next() >> 1) % limit
  }

  /// Whether an event of this probability, in thousandths, happens.
  mutating func chance(_ perMille: Int) -> Bool { below(1000) < perMille }

  mutating func pick<T>(_ values: [T]) -> T { values[below(values.count)] }

  /// A number of the given width: often one at which arithmetic goes wrong.
  mutating func edge() -> UInt64 {
    let edges: [UInt64] = [
      0, 1, 2, 3, 7, 8, 63, 64, 127, 128, 253, 254, 255, 256, 1023, 1024, 4095, 4096, 0x7fff,
      0x8000, 0xffff, 0x10000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, 1 << 47, 1 << 62,
      1 << 63, .max, .max - 1,
    ]
    return chance(700) ? pick(edges) : next()
  }
}
