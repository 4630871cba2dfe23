/// The bits of `-o`, some of which have a letter of their own.
package struct GenerationOptions: OptionSet, Hashable, Sendable {
  package let rawValue: Int

  package init(rawValue: Int) {
    self.rawValue = rawValue
  }

  /// Fetch the next buffers into the cache although they are not written.
  package static let prefetch = Self(rawValue: 1)
  /// Named in the summary, without effect.
  package static let access = Self(rawValue: 2)
  /// Write every packet anew, with a copy that rounds up to cache lines.
  package static let copy = Self(rawValue: 4)
  /// Write every packet anew, with memcpy(3).
  package static let memcpy = Self(rawValue: 8)
  /// Send from a buffer of the process's own (`-I`).
  package static let indirect = Self(rawValue: 32)
  /// Print every packet (`-X`).
  package static let dump = Self(rawValue: 64)
  /// Send buffers as they are (`-r`).
  package static let rubbish = Self(rawValue: 256)
  /// Random source addresses and ports (`-z`).
  package static let randomSource = Self(rawValue: 512)
  /// Random destination addresses and ports (`-Z`).
  package static let randomDestination = Self(rawValue: 1024)
  /// Mean and deviation of the last reports (`-A`).
  package static let rateStatistics = Self(rawValue: 2048)
  /// Bring lengths and checksums in line when sizes vary.
  package static let updateChecksum = Self(rawValue: 4096)

  private static let words: [(option: Self, word: String)] = [
    (.prefetch, "prefetch"), (.access, "access"), (.memcpy, "memcpy"), (.indirect, "indirect"),
    (.copy, "copy"), (.rubbish, "rubbish"),
  ]

  /// The words of the summary line, in its order.
  package var summary: [String] {
    Self.words.filter { contains($0.option) }.map(\.word)
  }
}
