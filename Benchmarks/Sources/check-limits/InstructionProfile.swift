/// The instructions that callgrind counted.
struct InstructionProfile {
  /// Instructions of the whole process, without those of the clock that stamps rings.
  ///
  /// A ring's stamp is renewed after a microsecond, so its instructions depend on how fast the machine is, not on
  /// the number of packets.
  let count: Double

  /// Reads a file in callgrind's format, version 1: `fn=(ID) NAME` begins a function's lines, and NAME is left out
  /// if the ID has been named before; `calls=` is followed by one line with the cost of the call itself.
  init(_ text: String) throws {
    var names: [Substring: Bool] = [:]
    var total: Double?
    var stamps = 0.0
    var isStamp = false
    var isCall = false
    for line in text.split(separator: "\n") {
      if line.hasPrefix("fn=") || line.hasPrefix("cfn=") {
        let function = line.drop { $0 != "(" }
        let id = function.prefix { $0 != ")" }
        if function.count > id.count + 1 { names[id] = function.contains("StampClock") }
        if line.hasPrefix("fn=") { isStamp = names[id] ?? false }
      } else if line.hasPrefix("calls=") {
        isCall = true
      } else if line.hasPrefix("summary:") {
        total = Double(line.dropFirst("summary:".count).drop { $0 == " " })
      } else if let first = line.first, first.isNumber || "+-*".contains(first) {
        if isStamp && !isCall, let cost = line.split(separator: " ").last.flatMap({ Double($0) }) {
          stamps += cost
        }
        isCall = false
      }
    }
    guard let total else { throw CheckError("callgrind left no summary") }
    count = total - stamps
  }
}
