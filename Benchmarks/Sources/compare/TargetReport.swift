internal import Foundation

/// Measures targets in many short pairs, and prints one line per target, as text or as a JSON object.
///
/// The pairs are short because on a machine with other load the two runs of a pair should be close in time.
struct TargetReport {
  private let options: Options

  init(_ options: Options) {
    self.options = options
  }

  /// - Returns: False when a measured target is missed.
  func compare(_ target: Target) throws -> Bool {
    var peer: MemifPeer?
    defer { peer?.end() }
    if case .memif(let arguments) = target.reference {
      do {
        peer = try MemifPeer(options.memifPeer, arguments)
      } catch {
        notMeasured(target, "\(error)")
        return true
      }
    }
    var (ours, theirs): ([Double], [Double]) = ([], [])
    for _ in 0..<options.targetPairs {
      ours.append(try run(target.arguments))
      switch target.reference {
      case .memif: theirs.append(try peer?.measure(seconds: options.targetSeconds) ?? .nan)
      case .run(let arguments): theirs.append(try run(arguments))
      case .absolute: break
      }
    }
    return report(target, ours, theirs, peer?.description)
  }

  private func run(_ arguments: [String]) throws -> Double {
    try Sample.take(
      from: options.netmap,
      ["bench"] + arguments + ["--seconds", String(options.targetSeconds), "--json"]
    ).rate()
  }

  private func notMeasured(_ target: Target, _ reason: String) {
    if options.isJSON {
      printLine(Line(target: target.name, measured: false, reason: reason))
    } else {
      print("\(left(target.name, 15)) not measured: \(reason)")
    }
    fflush(nil)
  }

  private func report(
    _ target: Target, _ ours: [Double], _ theirs: [Double], _ peer: String?
  ) -> Bool {
    let ratios = zip(ours, theirs).map { $0 / $1 }
    let figures = theirs.isEmpty ? ours : ratios
    let figure = target.statistic == .best ? figures.max() ?? .nan : median(figures)
    let passes = figure >= target.limit
    if options.isJSON {
      printLine(
        Line(
          target: target.name, measured: true, mpps: median(ours),
          peerMpps: theirs.isEmpty ? nil : median(theirs), peer: peer,
          statistic: target.statistic.rawValue, figure: figure, figures: figures,
          threshold: target.limit, pass: passes))
    } else {
      let rates =
        theirs.isEmpty
        ? "\(text(median(ours))) Mpps"
        : "\(text(median(ours))) to \(text(median(theirs))) Mpps"
      print(
        left(target.name, 15), passes ? "PASS" : "FAIL",
        "\(text(figure)) (at least \(text(target.limit)), \(target.statistic.rawValue) of"
          + " \(figures.count)):", target.what + ",", rates)
      if let peer { print("  ours: \(target.sides)\n  peer: \(peer)") }
      print(" ", figures.map(text).joined(separator: " "))
    }
    fflush(nil)
    return passes
  }

  private struct Line: Encodable {
    let target: String
    let measured: Bool
    var reason: String?
    var mpps: Double?
    var peerMpps: Double?
    var peer: String?
    var statistic: String?
    var figure: Double?
    var figures: [Double]?
    var threshold: Double?
    var pass: Bool?
  }

  private func printLine(_ line: Line) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(line) else { return }
    print(String(decoding: data, as: UTF8.self))
  }

  private func text(_ value: Double) -> String { String(format: "%.2f", value) }

  private func left(_ text: String, _ width: Int) -> String {
    text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0)
  }
}
