import CTrace
import Glibc

/// What the programs of both tables do before anything else.
package enum TableProgram {
  /// Starts this program once more, so that each process of it has the same addresses, the same order in hash tables,
  /// and symbols that are bound before the first call.
  ///
  /// Returns in the program that has been started so. The caller must have used nothing yet.
  package static func fixAddresses() {
    guard unsafe getenv("LD_BIND_NOW") == nil else { return }
    unsafe setenv("LD_BIND_NOW", "1", 1)
    unsafe setenv("SWIFT_DETERMINISTIC_HASHING", "1", 1)
    _ = ctrace_fix_addresses()
    var words = unsafe CommandLine.arguments.map { unsafe strdup($0) } + [nil]
    _ = unsafe execv("/proc/self/exe", &words)
  }

  /// The path of the netmapd that was built with this program.
  ///
  /// - Throws: ``TableError`` when there is none.
  package static func daemonPath() throws -> String {
    var path = [CChar](repeating: 0, count: 4096)
    let length = unsafe readlink("/proc/self/exe", &path, path.count - 1)
    let own = String(
      decoding: path.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let daemon =
      own.split(separator: "/", omittingEmptySubsequences: false).dropLast()
      .joined(separator: "/") + "/netmapd"
    guard unsafe access(daemon, X_OK) == 0 else { throw TableError("no \(daemon)") }
    return daemon
  }
}

/// The words of a command line after the program's name, in order.
package struct TableArguments {
  private var rest: ArraySlice<String>

  package init(_ arguments: [String]) { rest = arguments.dropFirst() }

  /// The next word; nil after the last one.
  package mutating func next() -> String? { rest.popFirst() }

  /// The next word, which an option needs.
  ///
  /// - Throws: ``TableError`` when there is none.
  package mutating func value() throws -> String {
    guard let word = rest.popFirst() else { throw TableError("an option has no value") }
    return word
  }

  /// The next word as a number, 0 or more.
  ///
  /// - Throws: ``TableError`` when it is none.
  package mutating func number() throws -> Int {
    let word = try value()
    guard let number = Int(word), number >= 0 else { throw TableError("no number: \(word)") }
    return number
  }
}
