internal import ArgumentParser
internal import Glibc

/// Runs another tool of the package in place of this process.
enum Tool {
  /// The possible paths of a tool, in order of preference.
  ///
  /// - Parameters:
  ///   - name: A name that ``isName(_:)`` accepts.
  ///   - folder: The folder of the running executable, without symbolic links.
  /// - Returns: Absolute paths.
  static func candidates(for name: String, beside folder: String) -> [String] {
    let parent = folder.lastIndex(of: "/").map { String(folder[..<$0]) } ?? ""
    let library = parent + "/libexec/netmap"
    let installed = library + "/" + name
    // The executable's own folder counts only in a build: an installed `netmap ls` must not run the
    // ls(1) in the same bin folder.
    return exists(library) ? [installed] : [installed, folder + "/" + name]
  }

  /// Whether `text` can name a tool: letters, digits and `-`, and not an option.
  static func isName(_ text: String) -> Bool {
    !text.isEmpty && !text.hasPrefix("-")
      && text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
          true
        default: false
        }
      }
  }

  /// Replaces this process with the tool; on failure, prints the reason and exits.
  ///
  /// Exit status: 64 for a tool that does not exist, 126 for a tool that cannot be run.
  static func replaceProcess(with name: String, arguments: [String]) -> Never {
    guard isName(name) else {
      fail("'\(name)' is not the name of a tool: names have letters, digits and '-' only", usage)
    }
    let paths = candidates(for: name, beside: executableFolder())
    for path in paths {
      let code = execute(path, [path] + arguments)
      if code == ENOENT || code == ENOTDIR { continue }
      fail("\(path): \(reason(code))", cannotRun)
    }
    fail(
      """
      no subcommand or tool '\(name)'; looked for
        \(paths.joined(separator: "\n  "))
      'netmap --help' lists the subcommands
      """, usage)
  }

  private static let usage: CInt = 64
  static let cannotRun: CInt = 126

  /// Prints why the command ends, and ends it.
  static func fail(_ message: String, _ status: CInt) -> Never {
    printError("netmap: \(message)")
    exit(status)
  }

  /// Calls execv(3), which returns only on failure.
  ///
  /// - Parameters:
  ///   - path: The program.
  ///   - words: Its arguments, of which the first one is its name.
  /// - Returns: The `errno` of the failure.
  static func execute(_ path: String, _ words: [String]) -> CInt {
    var arguments = unsafe [UnsafeMutablePointer<CChar>?]()
    for word in words { unsafe arguments.append(strdup(word)) }
    unsafe arguments.append(nil)
    unsafe execv(path, arguments)
    return errno
  }

  /// The folder of the running executable, symbolic links resolved.
  static func executableFolder() -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = unsafe readlink("/proc/self/exe", &buffer, buffer.count)
    guard length > 0 else { fail("/proc/self/exe: \(reason(errno))", cannotRun) }
    let path = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let end = path.lastIndex(of: "/") ?? path.startIndex
    return String(path[..<end])
  }

  static func exists(_ path: String) -> Bool {
    unsafe access(path, F_OK) == 0
  }

  static func reason(_ code: CInt) -> String {
    unsafe "\(String(cString: strerror(code))) (errno \(code))"
  }
}
