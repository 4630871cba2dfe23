internal import Glibc

/// Receives a tool's output: a stream of the process, or a function of a test.
package struct TextSink: Sendable {
  private let receive: @Sendable (String) -> Void

  package init(_ receive: @escaping @Sendable (String) -> Void) {
    self.receive = receive
  }

  /// Writes `text` in one call, so that lines of several threads do not mix.
  package func write(_ text: String) {
    receive(text)
  }

  /// Writes `text` and a line end.
  package func line(_ text: String) {
    receive(text + "\n")
  }

  /// The standard output.
  ///
  /// Output that cannot be written is lost, as with printf(3).
  package static let standardOutput = descriptor(STDOUT_FILENO)
  /// The standard error stream.
  package static let standardError = descriptor(STDERR_FILENO)

  private static func descriptor(_ file: CInt) -> TextSink {
    TextSink { text in
      var rest = Array(text.utf8)[...]
      while !rest.isEmpty {
        let count = unsafe rest.withUnsafeBytes { bytes in
          unsafe Glibc.write(file, bytes.baseAddress, bytes.count)
        }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return }
        rest = rest.dropFirst(count)
      }
    }
  }
}
