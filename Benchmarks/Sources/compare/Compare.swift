internal import Foundation

/// Runs `netmap bench` and a peer in turns (A B A B ...), and compares the speed of each pair.
///
/// Neighbouring runs see the same machine, so the ratio of a pair says more than two separate medians
/// on a machine with other things to do.
@main
struct Compare {
  static func main() {
    do {
      let options = try Options(CommandLine.arguments.dropFirst())
      guard try run(options) else { exit(1) }
    } catch {
      FileHandle.standardError.write(Data("compare: \(error)\n".utf8))
      exit(error is UsageError ? 64 : 1)
    }
  }

  /// - Returns: False when a median ratio is below the threshold.
  static func run(_ options: Options) throws -> Bool {
    var report = Report(options)
    guard let peer = options.peer else {
      report.notMeasured("no C reference: build Benchmarks, or name it with --reference PATH")
      return true
    }
    for payload in options.payloads {
      for batch in options.batches {
        var comparison = Comparison(batch: batch, payload: payload)
        let arguments = [
          "--case", options.name, "--batch", String(batch), "--payload", payload,
          "--seconds", String(options.seconds), "--json",
        ]
        for _ in 0..<options.pairs {
          let ours = try Sample.take(from: options.netmap, ["bench"] + arguments)
          let theirs = try Sample.take(from: peer, arguments)
          comparison.pairs.append(Pair(ours: ours.mpps, peer: theirs.mpps))
        }
        report.add(comparison)
      }
    }
    return report.finish()
  }
}

/// What one run reported.
struct Sample: Decodable {
  /// Millions of packets a second.
  let mpps: Double

  static func take(from program: String, _ arguments: [String]) throws -> Sample {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardOutput = output
    do {
      try process.run()
    } catch {
      throw CompareError("cannot run \(program): \(error.localizedDescription)")
    }
    let text = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw CompareError("\(program) \(arguments.joined(separator: " ")) failed")
    }
    return try JSONDecoder().decode(Sample.self, from: text)
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
