/// The bits of `-o`, some of which also have a letter.
package struct GenerationOptions: OptionSet, Hashable, Sendable {
  package let rawValue: Int

  package init(rawValue: Int) {
    self.rawValue = rawValue
  }

  /// Prefetch the next buffers into the cache, although the loop does not write them.
  package static let prefetch = Self(rawValue: 1)
  /// Listed in the summary line, without any other effect.
  package static let access = Self(rawValue: 2)
  /// Write every packet, with a copy that rounds up to cache lines.
  package static let copy = Self(rawValue: 4)
  /// Write every packet, with memcpy(3).
  package static let memcpy = Self(rawValue: 8)
  /// Send from private memory of the process (`-I`).
  package static let indirect = Self(rawValue: 32)
  /// Print every packet (`-X`).
  package static let dump = Self(rawValue: 64)
  /// Send buffers with their present contents (`-r`).
  package static let rubbish = Self(rawValue: 256)
  /// Random source addresses and ports (`-z`).
  package static let randomSource = Self(rawValue: 512)
  /// Random destination addresses and ports (`-Z`).
  package static let randomDestination = Self(rawValue: 1024)
  /// Print mean and deviation of the last reports (`-A`).
  package static let rateStatistics = Self(rawValue: 2048)
  /// Update length fields and checksums when sizes vary.
  package static let updateChecksum = Self(rawValue: 4096)

  private static let words: [(option: Self, word: String)] = [
    (.prefetch, "prefetch"), (.access, "access"), (.memcpy, "memcpy"), (.indirect, "indirect"),
    (.copy, "copy"), (.rubbish, "rubbish"),
  ]

  /// The words of the summary line, in their order.
  package var summary: [String] {
    Self.words.filter { contains($0.option) }.map(\.word)
  }
}
