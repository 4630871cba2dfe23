internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// The sentences behind the errnos that a C program gets.
///
/// A C program sees `errno` only. With `$NETMAP_EXPLAIN` set, the library also writes each refusal to the program's standard
/// error.
enum Explanation {
  private static let isWanted: Bool = {
    guard let value = unsafe secure_getenv("NETMAP_EXPLAIN") else { return false }
    return unsafe value.pointee != 0
  }()

  /// Writes why a request was refused, in one line.
  ///
  /// Writes nothing where descriptor 2 is one of netmap's: a program that closed its standard error may open a port there.
  static func write(_ error: NetmapError) {
    guard isWanted, Token.identity(of: STDERR_FILENO) == nil else { return }
    let text = "netmap: \(error)\n"
    _ = unsafe Glibc.write(STDERR_FILENO, text, text.utf8.count)
  }
}
