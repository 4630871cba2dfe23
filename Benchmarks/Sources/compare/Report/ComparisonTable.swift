internal import Foundation

/// A table of the report: Markdown, or one JSON object per row.
struct ComparisonTable {
  enum Cell {
    case text(String)
    /// Millions of packets per second, or a part of 1.
    case number(Double)
    /// A ratio, in bold.
    case ratio(Double)
    /// Nanoseconds without decimals.
    case nanoseconds(Double)
    case missing
  }

  /// A column: its JSON key, and its heading in Markdown.
  struct Column {
    let key: String
    let heading: String

    init(_ key: String, _ heading: String) {
      self.key = key
      self.heading = heading
    }
  }

  private let name: String
  private let columns: [Column]
  private let isJSON: Bool
  private var isEmpty = true

  /// - Parameters:
  ///   - name: The value of `table` in JSON objects.
  ///   - introduction: What the table shows, printed before it.
  ///   - columns: The columns, in order.
  ///   - isJSON: Whether to print JSON objects.
  init(_ name: String, _ introduction: String, _ columns: [Column], isJSON: Bool) {
    self.name = name
    self.columns = columns
    self.isJSON = isJSON
    if !isJSON { print("\n\(introduction)\n") }
  }

  /// Prints a row as soon as it is measured.
  mutating func add(_ cells: [Cell]) {
    defer { fflush(nil) }
    if isJSON {
      let fields = zip(columns, cells).map { "\(Self.quoted($0.key)):\(Self.json($1))" }
      return print("{\"table\":\(Self.quoted(name)),\(fields.joined(separator: ","))}")
    }
    if isEmpty {
      print("| " + columns.map(\.heading).joined(separator: " | ") + " |")
      print("|" + String(repeating: "---|", count: columns.count))
    }
    isEmpty = false
    print("| " + cells.map(Self.markdown).joined(separator: " | ") + " |")
  }

  /// Says why the table has no further rows.
  func note(_ text: String) {
    if isJSON {
      print("{\"table\":\(Self.quoted(name)),\"reason\":\(Self.quoted(text))}")
    } else {
      print(isEmpty ? text : "\n\(text)")
    }
    fflush(nil)
  }

  private static func markdown(_ cell: Cell) -> String {
    switch cell {
    case .text(let text): text
    case .number(let value): significant(value)
    case .ratio(let value): "**\(String(format: "%.2f", value))**"
    case .nanoseconds(let value): String(format: "%.0f", value)
    case .missing: "-"
    }
  }

  /// Three digits, as far as a rate has them.
  private static func significant(_ value: Double) -> String {
    String(format: value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value)
  }

  private static func json(_ cell: Cell) -> String {
    switch cell {
    case .text(let text): quoted(text)
    case .number(let value), .ratio(let value), .nanoseconds(let value):
      value.isFinite ? "\(value)" : "null"
    case .missing: "null"
    }
  }

  private static func quoted(_ text: String) -> String {
    let data = (try? JSONEncoder().encode(text)) ?? Data()
    return String(decoding: data, as: UTF8.self).replacingOccurrences(of: "\\/", with: "/")
  }
}
