import CTrace
import Glibc

/// A network namespace of this process with one pair of interfaces.
package enum TableNetwork {
  /// Moves the process, and all that it forks later, to a new namespace with a veth pair.
  package static func enter(_ first: String, _ second: String) throws {
    guard ctrace_new_network() == 0 else { throw TableError("unshare: errno \(errno)") }
    for words in [
      ["ip", "link", "add", first, "type", "veth", "peer", "name", second],
      ["ip", "link", "set", first, "up"], ["ip", "link", "set", second, "up"],
    ] { try run(words) }
  }

  private static func run(_ words: [String]) throws {
    let child = ctrace_plain_fork()
    if child == 0 {
      var list: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
      _ = unsafe execvp(words[0], &list)
      _exit(127)
    }
    var status: CInt = 0
    _ = unsafe waitpid(child, &status, 0)
    try expect(status == 0, "\(words.joined(separator: " ")): status \(status)")
  }
}
