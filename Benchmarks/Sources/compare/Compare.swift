internal import Foundation

/// Runs `netmap bench` and its peers in turns (A B A B ...), and compares the speeds of each pair.
///
/// Two consecutive runs see the same machine. On a machine with other load, the ratio of a pair is
/// therefore more reliable than two separate medians.
@main
struct Compare {
  static func main() {
    do {
      let options = try Options(CommandLine.arguments.dropFirst())
      if options.isReport {
        return try FullReport(options, isQuick: options.isQuick).run()
      }
      var passes = true
      for goal in options.goals {
        passes = try compareInterfaces(goal, options) && passes
      }
      let targets = TargetReport(options)
      for target in options.targets { passes = try targets.compare(target) && passes }
      guard passes else { exit(1) }
    } catch {
      FileHandle.standardError.write(Data("compare: \(error)\n".utf8))
      exit(error is UsageError ? 64 : 1)
    }
  }

  /// Compares with every available peer; only the best of them decides.
  ///
  /// - Returns: False when the median of the ratios to the best peer is below the goal's limit.
  static func compareInterfaces(_ goal: Goal, _ options: Options) throws -> Bool {
    let report = InterfaceReport(goal, options)
    var passes = true
    for batch in options.batches ?? [256] {
      var rounds = Rounds(peers: options.peers)
      for _ in 0..<options.pairs {
        guard try rounds.add(goal, batch: batch, options) else {
          report.notMeasured("netmap", rounds.reasons["netmap"] ?? "")
          return true
        }
      }
      passes = report.add(rounds, batch: batch) && passes
    }
    return passes
  }
}

struct Pair {
  let ours: Double
  let peer: Double

  var ratio: Double { ours / peer }
}

func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  guard !sorted.isEmpty else { return .nan }
  // The mean of the middle two, which are the same number when the count is odd.
  return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}

struct CompareError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
