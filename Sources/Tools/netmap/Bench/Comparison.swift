internal import ArgumentParser
internal import Glibc
internal import ToolSupport

/// `netmap bench --compare`: runs the program that compares this package with its peers.
///
/// The peers are loops in C and DPDK's testpmd. They are not installed: the package `Benchmarks` of the sources builds
/// them, and the program `compare` there measures.
enum Comparison {
  /// Replaces this process by `compare`.
  ///
  /// - Parameters:
  ///   - folder: The folder with the built peers; nil to look in the usual places.
  ///   - arguments: Further arguments of `compare`.
  /// - Throws: `ExitCode` after printing why `compare` cannot run.
  static func run(peers folder: String?, _ arguments: [String]) throws -> Never {
    let program = ownPath
    let folders = folder.map { [$0] } ?? usualFolders(program)
    guard let peers = folders.first(where: isComplete) else {
      printError(
        "netmap bench --compare: no peers in \(folders.joined(separator: " or ")): build them in this package's"
          + " sources (make setup-bench, make bench-peers), or name their folder with --peers (ENOENT)"
      )
      throw ExitCode.failure
    }
    let words = [peers + "/compare", "--report", "--netmap", program] + arguments
    var pointers: [UnsafeMutablePointer<CChar>?] =
      unsafe words.map { word in unsafe strdup(word) } + [nil]
    _ = unsafe execv(words[0], &pointers)
    printError("netmap bench --compare: \(words[0]): \(unsafe String(cString: strerror(errno)))")
    throw ExitCode.failure
  }

  private static func isComplete(_ folder: String) -> Bool {
    unsafe access(folder + "/compare", X_OK) == 0
  }

  private static var ownPath: String {
    var path = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    let length = unsafe readlink("/proc/self/exe", &path, path.count - 1)
    guard length > 0 else { return CommandLine.arguments[0] }
    return String(decoding: path[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Where `Benchmarks/check` builds the peers, relative to this program and to the working directory.
  private static func usualFolders(_ program: String) -> [String] {
    let peers = "Benchmarks/.build/release"
    // The program is in `.build/TRIPLE/release`.
    let parts = program.split(separator: "/")
    guard parts.count > 4, parts[parts.count - 4] == ".build" else { return [peers] }
    return ["/" + parts.dropLast(4).joined(separator: "/") + "/" + peers, peers]
  }
}
