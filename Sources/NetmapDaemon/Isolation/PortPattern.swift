package import NetmapCore

/// Names of ports: one, or all that begin alike (`vale0:*`).
package struct PortPattern: Hashable, Sendable {
  private let start: [UInt8]
  private let isPrefix: Bool

  /// - Parameter text: A name, or the beginning of one and a `*`.
  package init(_ text: String) {
    isPrefix = text.hasSuffix("*")
    start = Array((isPrefix ? text.dropLast() : Substring(text)).utf8)
  }

  package func matches(_ name: PortName) -> Bool {
    isPrefix ? name.bytes.starts(with: start) : name.bytes == start
  }
}
