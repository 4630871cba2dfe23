import Glibc

/// What proc(5) says about processes. A process may end at any time: then there is nothing to read.
package enum ProcessFiles {
  /// The names in a folder; none if it does not exist.
  package static func entries(_ path: String) -> [String] {
    guard let folder = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  /// The contents of a file, of which at most 16 MiB; empty if it cannot be read.
  package static func text(_ path: String) -> String {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var all: [UInt8] = []
    var bytes = [UInt8](repeating: 0, count: 65_536)
    while all.count < 16 << 20, case let count = unsafe read(file, &bytes, bytes.count), count > 0 {
      all += bytes[..<count]
    }
    return String(decoding: all, as: UTF8.self)
  }

  /// The processes that the main thread of a process has started.
  package static func children(of process: Int32) -> [Int32] {
    text("/proc/\(process)/task/\(process)/children").split(whereSeparator: \.isWhitespace)
      .compactMap { Int32($0) }
  }
}
