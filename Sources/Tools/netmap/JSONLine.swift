/// One JSON object on one line, its members in the order they were added.
///
/// Enough for flat results: strings, numbers, booleans and null.
struct JSONLine {
  private var members: [String] = []

  mutating func add(_ key: String, _ value: String) { append(key, Self.quoted(value)) }

  mutating func add(_ key: String, _ value: Int) { append(key, String(value)) }

  mutating func add(_ key: String, _ value: UInt64) { append(key, String(value)) }

  mutating func add(_ key: String, _ value: Bool) { append(key, value ? "true" : "false") }

  /// Adds a number; null where it is not finite, which JSON cannot say.
  mutating func add(_ key: String, _ value: Double) {
    append(key, value.isFinite ? "\(value)" : "null")
  }

  private mutating func append(_ key: String, _ value: String) {
    members.append("\(Self.quoted(key)):\(value)")
  }

  /// The object, without a line break.
  var text: String { "{" + members.joined(separator: ",") + "}" }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      case "\0"..<" ":
        let hex = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
