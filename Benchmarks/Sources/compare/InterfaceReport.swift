internal import Foundation

/// Prints comparisons on interfaces, one line per peer, as text or as JSON objects.
struct InterfaceReport {
  private let goal: Goal
  private let options: Options

  init(_ goal: Goal, _ options: Options) {
    self.goal = goal
    self.options = options
  }

  func notMeasured(_ peer: String, _ reason: String) {
    if options.isJSON {
      struct Line: Encodable {
        let name: String
        let peer: String
        let measured = false
        let reason: String

        enum CodingKeys: String, CodingKey {
          case name = "case"
          case peer, measured, reason
        }
      }
      printJSON(Line(name: goal.name, peer: peer, reason: reason))
    } else {
      print("\(left(goal.name, 17)) \(left(peer, 8)) not measured: \(reason)")
    }
    fflush(nil)
  }

  /// - Returns: Whether the ratio to the best peer reaches the limit; true without a peer.
  func add(_ rounds: Rounds, batch: Int) -> Bool {
    var passes = true
    let ours = median(rounds.figures["netmap"] ?? [])
    for peer in rounds.peers {
      guard let figures = rounds.figures[peer.name] else {
        notMeasured(peer.name, rounds.reasons[peer.name] ?? "not installed")
        continue
      }
      let ratios = rounds.ratios(to: peer)
      let isBest = peer.name == rounds.best
      let isGood = median(ratios) >= goal.limit
      if isBest { passes = isGood }
      if options.isJSON {
        printJSON(
          Line(
            name: goal.name, peer: peer.name, frameBytes: options.frameBytes, batch: batch,
            metric: goal.metric.rawValue, ours: ours, theirs: median(figures),
            ratio: median(ratios), ratios: ratios, limit: goal.limit, isBest: isBest, pass: isGood))
      } else {
        let verdict = isBest ? (isGood ? "PASS" : "FAIL") : "    "
        print(
          left(goal.name, 17), left(peer.name, 8), "\(options.frameBytes) bytes, batch \(batch):",
          "\(left(goal.metric.rawValue, 14)) ours \(text(ours)), peer \(text(median(figures))),",
          "ratio \(text(median(ratios))) (at least \(goal.limit))", verdict, "",
          ratios.map(text).joined(separator: " "))
      }
      fflush(nil)
    }
    return passes
  }

  private struct Line: Encodable {
    let name: String
    let peer: String
    let measured = true
    let frameBytes: Int
    let batch: Int
    let metric: String
    let ours: Double
    let theirs: Double
    let ratio: Double
    let ratios: [Double]
    let limit: Double
    /// Whether this is the best peer, whose ratio decides.
    let isBest: Bool
    let pass: Bool

    enum CodingKeys: String, CodingKey {
      case name = "case"
      case theirs = "peerFigure"
      case limit = "threshold"
      case peer, measured, frameBytes, batch, metric, ours, ratio, ratios, isBest, pass
    }
  }

  private func printJSON(_ line: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(line) else { return }
    print(String(decoding: data, as: UTF8.self))
  }

  private func text(_ value: Double) -> String { String(format: "%.3f", value) }

  private func left(_ text: String, _ width: Int) -> String {
    text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0)
  }
}
