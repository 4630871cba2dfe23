package import NetmapCore

/// A pattern for names of ports: one name, or all names with a common prefix (`vale0:*`).
package struct PortPattern: Hashable, Sendable {
  private let start: [UInt8]
  private let isPrefix: Bool

  /// - Parameter text: A name, or a prefix followed by `*`.
  package init(_ text: String) {
    isPrefix = text.hasSuffix("*")
    start = Array((isPrefix ? text.dropLast() : Substring(text)).utf8)
  }

  package func matches(_ name: PortName) -> Bool {
    isPrefix ? name.bytes.starts(with: start) : name.bytes == start
  }
}
