internal import Netmap
internal import ToolSupport

/// The argument of `-C` for `-p`: `0,CPU` for one thread, `1,CPU,COUNT` for one thread on each CPU.
enum PollingConfiguration {
  /// - Throws: ``NetmapError`` `EINVAL` for anything else.
  static func read(_ text: String?, for name: String) throws(NetmapError) -> PollingCPUs {
    guard let text else {
      throw refusal(name, "-p needs -C, which selects the CPUs", "for example -C 0,1")
    }
    let words = text.split(separator: ",", omittingEmptySubsequences: false)
    let numbers = words.map { LeadingNumber($0) }
    guard numbers.allSatisfy({ !$0.hasTrailingText && $0.value >= 0 }) else {
      throw refusal(name, "'\(text)' contains something other than numbers", "for example -C 0,1")
    }
    let values = numbers.map(\.value)
    switch (values.first, values.count) {
    case (0, 2): return .one(values[1])
    case (1, 3): return .each(first: values[1], count: values[2])
    case (0, 3...), (1, 4...):
      throw refusal(name, "too many numbers in '\(text)'", "write -C 0,CPU or -C 1,CPU,COUNT")
    default:
      throw refusal(
        name, "'\(text)' does not select the CPUs", "write -C 0,CPU or -C 1,CPU,COUNT")
    }
  }

  private static func refusal(
    _ name: String, _ reason: String, _ remedy: String
  ) -> NetmapError {
    NetmapError(.invalidArgument, "poll", name, reason: reason, remedy: remedy)
  }
}
