import Glibc

/// What proc(5) says about processes. A process may end at any time: then there is nothing to read.
enum ProcessFiles {
  /// The names in a folder; none if it does not exist.
  static func entries(_ path: String) -> [String] {
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

  /// The contents of a file; empty if it cannot be read.
  static func text(_ path: String) -> String {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var all: [UInt8] = []
    var bytes = [UInt8](repeating: 0, count: 16_384)
    while case let count = unsafe read(file, &bytes, bytes.count), count > 0 {
      all += bytes[..<count]
    }
    return String(decoding: all, as: UTF8.self)
  }

  /// The processes that the main thread of a process has started.
  static func children(of process: pid_t) -> [pid_t] {
    text("/proc/\(process)/task/\(process)/children").split(whereSeparator: \.isWhitespace)
      .compactMap { pid_t($0) }
  }

  /// How many epoll(7) descriptors this process has.
  static var epollCount: Int { descriptors(of: getpid())["anon_inode:[eventpoll]", default: 0] }

  /// How many descriptors a process has of each file, by what readlink(2) says; of all sockets, and of all pipes, together.
  static func descriptors(of process: pid_t) -> [String: Int] {
    let folder = "/proc/\(process)/fd"
    var result: [String: Int] = [:]
    for name in entries(folder) {
      var target = [CChar](repeating: 0, count: Int(PATH_MAX))
      let count = unsafe readlink("\(folder)/\(name)", &target, target.count)
      // The descriptor of opendir(3) for this list has gone, if the process is this one.
      guard count > 0 else { continue }
      let file = String(decoding: target.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
      let kind = ["socket:", "pipe:"].first(where: file.hasPrefix) ?? file
      result[kind, default: 0] += 1
    }
    return result
  }
}
