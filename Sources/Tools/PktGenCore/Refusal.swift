/// The reason why pkt-gen does not run, with its exit status.
package struct Refusal: Error, Hashable, Sendable {
  /// Exit status for bad usage, and for ports that cannot be opened.
  package static let usageStatus: CInt = 255
  /// Exit status for threads that could not start, or failed.
  package static let threadStatus: CInt = 1

  package let message: String
  package let status: CInt
  /// Whether the usage text is printed after the message.
  package let showsUsage: Bool

  init(_ message: String, status: CInt = usageStatus, showsUsage: Bool = false) {
    self.message = message
    self.status = status
    self.showsUsage = showsUsage
  }

  static func usage(_ message: String) -> Refusal {
    Refusal(message, showsUsage: true)
  }
}
