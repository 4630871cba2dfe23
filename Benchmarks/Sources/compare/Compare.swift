internal import Foundation

/// Runs `netmap bench` and its peers in turns (A B A B ...), and compares the speed of each pair.
///
/// Neighbouring runs see the same machine, so the ratio of a pair says more than two separate medians
/// on a machine with other things to do.
@main
struct Compare {
  static func main() {
    do {
      let options = try Options(CommandLine.arguments.dropFirst())
      var passes = true
      for goal in options.goals {
        passes = try compareInterfaces(goal, options) && passes
      }
      let targets = TargetReport(options)
      for target in options.targets { passes = try targets.compare(target) && passes }
      if let name = options.pipe { passes = try comparePipes(name, options) && passes }
      guard passes else { exit(1) }
    } catch {
      FileHandle.standardError.write(Data("compare: \(error)\n".utf8))
      exit(error is UsageError ? 64 : 1)
    }
  }

  /// - Returns: False when a median ratio is below the threshold.
  static func comparePipes(_ name: String, _ options: Options) throws -> Bool {
    var report = PipeReport(name, options)
    guard let peer = options.pipeReference else {
      report.notMeasured("no C reference: build Benchmarks, or name it with --reference PATH")
      return true
    }
    for payload in options.payloads {
      for batch in options.batches ?? [1, 32, 256] {
        var comparison = Comparison(batch: batch, payload: payload)
        let arguments = [
          "--case", name, "--batch", String(batch), "--payload", payload,
          "--seconds", String(options.seconds), "--json",
        ]
        for _ in 0..<options.pairs {
          let ours = try Sample.take(from: options.netmap, ["bench"] + arguments)
          let theirs = try Sample.take(from: peer, arguments)
          comparison.pairs.append(Pair(ours: try ours.rate(), peer: try theirs.rate()))
        }
        report.add(comparison)
      }
    }
    return report.finish()
  }

  /// Compares with every peer that can be had; the best of them is what counts.
  ///
  /// - Returns: False when the median ratio to it is below the goal's limit.
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

struct Comparison {
  let batch: Int
  let payload: String
  var pairs: [Pair] = []

  var ratio: Double { median(pairs.map(\.ratio)) }
}

func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  guard !sorted.isEmpty else { return .nan }
  // The mean of the middle two, which are the same one when the count is odd.
  return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}

struct CompareError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
