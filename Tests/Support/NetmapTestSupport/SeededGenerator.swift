internal import Glibc

/// SplitMix64, so that a run can be repeated from its seed.
public struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  public init(seed: UInt64) {
    state = seed
  }

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  public mutating func chance(_ percent: Int) -> Bool {
    Int.random(in: 0..<100, using: &self) < percent
  }
}

/// A number from the environment, such as `NETMAP_TEST_SEED=42`; nil when it is not set.
public func environmentNumber(_ name: String) -> UInt64? {
  guard let text = unsafe getenv(name) else { return nil }
  return unsafe UInt64(String(cString: text))
}

/// The wall clock, seconds since 1970.
public func wallClockSeconds() -> Int64 {
  Int64(time(nil))
}
