/// A random number generator of sufficient quality for addresses and sizes: xorshift64*.
package struct RandomSource: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// - Parameter seed: Any number. The same seed gives the same sequence.
  package init(seed: UInt64) {
    // A state of zero would stay zero.
    state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
  }

  @inline(__always)
  package mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_f491_4f6c_dd1d
  }

  /// A number in `lower..<upper`, close enough to uniform for ranges of 32 bits.
  @inline(__always)
  mutating func number(from lower: Int, upTo upper: Int) -> Int {
    let high = next().multipliedFullWidth(by: UInt64(upper &- lower)).high
    return lower &+ Int(high)
  }
}
