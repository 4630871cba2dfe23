package import NetmapCore

/// One JSON object on one line, with its members in the order of their addition.
package struct JSONLine {
  private var members: [String] = []

  package init() {}

  /// One member for each reason.
  package init(_ drops: DropCounters) {
    for reason in DropReason.allCases { add(reason.name, drops[reason]) }
  }

  /// One member for each kind of repair.
  package init(_ repairs: RepairCounters) {
    for (name, value) in repairs.fields { add(name, value) }
  }

  package mutating func add(_ key: String, _ value: String) { append(key, Self.quoted(value)) }

  package mutating func add(_ key: String, _ values: [String]) {
    append(key, "[" + values.map(Self.quoted).joined(separator: ",") + "]")
  }

  package mutating func add(_ key: String, _ value: some BinaryInteger) {
    append(key, String(value))
  }

  package mutating func add(_ key: String, _ value: Bool) { append(key, value ? "true" : "false") }

  /// Adds a number; null for a value that is not finite, which JSON cannot express.
  package mutating func add(_ key: String, _ value: Double) {
    append(key, value.isFinite ? "\(value)" : "null")
  }

  package mutating func add(_ key: String, _ value: JSONLine) { append(key, value.text) }

  package mutating func add(_ key: String, _ values: [JSONLine]) {
    append(key, "[" + values.map(\.text).joined(separator: ",") + "]")
  }

  private mutating func append(_ key: String, _ value: String) {
    members.append("\(Self.quoted(key)):\(value)")
  }

  /// The object, without a line end.
  package var text: String { "{" + members.joined(separator: ",") + "}" }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\0"..<" ": result += "\\u" + TextFormat.hexadecimal(scalar.value, 4)
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
