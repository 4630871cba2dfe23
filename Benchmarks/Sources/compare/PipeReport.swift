internal import Foundation

/// Prints comparisons of pipes as a table, or as one JSON object a line.
struct PipeReport {
  private let name: String
  private let options: Options
  private var passes = true
  private var hasHeader = false

  init(_ name: String, _ options: Options) {
    self.name = name
    self.options = options
  }

  func notMeasured(_ reason: String) {
    if options.isJSON {
      print(#"{"case":"\#(name)","peer":"c","measured":false}"#)
    } else {
      print("\(name) against C: not measured (\(reason))")
    }
  }

  mutating func add(_ comparison: Comparison) {
    let isGood = comparison.ratio >= options.threshold
    passes = passes && isGood
    let ours = median(comparison.pairs.map(\.ours))
    let peer = median(comparison.pairs.map(\.peer))
    let ratios = comparison.pairs.map { Self.text($0.ratio, 3) }
    if options.isJSON {
      print(
        #"{"case":"\#(name)","peer":"c","measured":true,"#
          + #""batch":\#(comparison.batch),"payload":"\#(comparison.payload)","#
          + #""mpps":\#(ours),"peerMpps":\#(peer),"ratio":\#(comparison.ratio),"#
          + #""ratios":[\#(ratios.joined(separator: ","))],"threshold":\#(options.threshold),"#
          + #""pass":\#(isGood)}"#)
    } else {
      if !hasHeader {
        print("case     batch  payload     Swift Mpps   C Mpps  ratio        each pair")
      }
      hasHeader = true
      print(
        name.padding(toLength: 8, withPad: " ", startingAt: 0),
        Self.right(String(comparison.batch), 5),
        " " + comparison.payload.padding(toLength: 10, withPad: " ", startingAt: 0),
        Self.right(Self.text(ours, 2), 11), Self.right(Self.text(peer, 2), 8),
        Self.right(Self.text(comparison.ratio, 3), 6), isGood ? "PASS" : "FAIL", "",
        ratios.joined(separator: " "))
    }
    fflush(nil)
  }

  /// - Returns: Whether every ratio reached the threshold.
  func finish() -> Bool {
    if !options.isJSON {
      print(
        passes ? "PASS" : "FAIL", ": median ratio of \(options.pairs) pairs at least ",
        Self.text(options.threshold, 2), separator: "")
    }
    return passes
  }

  private static func text(_ value: Double, _ decimals: Int) -> String {
    String(format: "%.\(decimals)f", value)
  }

  private static func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
