import Glibc
import NetmapTestSupport
import Synchronization
import Testing

/// A peer that writes numbers into all memory that it can reach, as fast as possible.
///
/// A sync must end whatever it reads, and must access only the memory of its ring.
struct HostilePeer {
  let memory: [ExposedMemory]
  /// Values that are more likely to do harm than others.
  private static let words: [UInt32] = [
    0, 1, 2, 3, 7, 62, 63, 64, 65, 127, 128, 255, 4095, 4096, 65_535, 65_536, 1 << 20, 1 << 24,
    (1 << 31) - 1, 1 << 31, .max - 64, .max - 1, .max,
  ]

  /// Writes while `sync` runs repeatedly, for `seconds`.
  ///
  /// - Returns: The number of syncs.
  func attack(seconds: Double, _ sync: () -> Void) -> Int {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 1...99_999)
    print("HostilePeer: NETMAP_TEST_SEED=\(seed)")
    let isDone = Atomic(false)
    let hasEnded = Atomic(false)
    let memory = memory
    DetachedThread {
      var random = SeededGenerator(seed: seed)
      while !isDone.load(ordering: .relaxed) {
        for _ in 0..<256 {
          let place = random.next()
          let value =
            place & 3 == 0
            ? UInt32(truncatingIfNeeded: random.next())
            : Self.words[Int(place >> 2 & 0xff) % Self.words.count]
          memory[Int(place >> 10 & 0xffff) % memory.count].scribble(value, at: place >> 26)
        }
      }
      hasEnded.store(true, ordering: .releasing)
    }
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    var syncs = 0
    while clock.now < end {
      let start = clock.now
      for _ in 0..<16 { sync() }
      syncs += 16
      #expect(clock.now - start < .seconds(10), "a sync took too long")
    }
    isDone.store(true, ordering: .relaxed)
    while !hasEnded.load(ordering: .acquiring) { usleep(100) }
    return syncs
  }
}
