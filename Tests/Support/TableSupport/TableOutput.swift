import Glibc

/// Prints a table while it grows: on standard output, or on standard error if JSON goes to standard output.
package struct TableOutput {
  private let isJSON: Bool
  /// The widths of the columns, characters, and how many of them begin at the left.
  private let widths: [Int]
  private let leftColumns: Int

  package init(isJSON: Bool, widths: [Int], leftColumns: Int) {
    (self.isJSON, self.widths, self.leftColumns) = (isJSON, widths, leftColumns)
  }

  package func say(_ text: String) {
    if isJSON {
      let bytes = [UInt8]((text + "\n").utf8)
      _ = unsafe write(2, bytes, bytes.count)
    } else {
      print(text)
      _ = fflush(nil)
    }
  }

  /// Prints a row of the table.
  package func row(_ words: String...) {
    say(
      zip(words, widths).enumerated().map { index, pair in
        let pad = String(repeating: " ", count: max(1, pair.1 - pair.0.count))
        return index < leftColumns ? pair.0 + pad : pad + pair.0
      }.joined())
  }

  /// Prints objects as one JSON array, if JSON is wanted.
  package func json(_ objects: [String]) {
    if isJSON { print("[\(objects.joined(separator: ",\n"))]") }
  }

  /// A string of JSON; characters below the space become spaces.
  package static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      default: result += scalar.value < 32 ? " " : String(scalar)
      }
    }
    return result + "\""
  }
}
