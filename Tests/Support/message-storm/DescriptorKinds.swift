import Glibc

/// What the open descriptors of a process are, for the message of a failure.
struct DescriptorKinds: CustomStringConvertible {
  /// The number of descriptors of each kind. Numbers in names are left out, so `socket:[4711]` is `tcp st=4`, `unix
  /// stream` or another kind that /proc shows for its inode.
  private(set) var counts: [String: Int] = [:]

  init(of process: Int32) {
    let sockets = Self.sockets(of: process)
    guard let folder = opendir("/proc/\(process)/fd") else { return }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard name != ".", name != ".." else { continue }
      var text = [CChar](repeating: 0, count: 256)
      let count = readlink("/proc/\(process)/fd/\(name)", &text, text.count)
      let link = String(
        decoding: text.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
      var kind = link.filter { !$0.isNumber }
      if link.hasPrefix("socket:[") {
        kind = sockets[String(link.dropFirst(8).dropLast())] ?? "socket of another namespace"
      }
      counts[kind, default: 0] += 1
    }
  }

  var description: String {
    counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) \($0.key)" }
      .joined(separator: ", ")
  }

  /// The kinds that a process has more of than before, with the difference.
  func added(since before: DescriptorKinds) -> DescriptorKinds {
    var result = DescriptorKinds(counts: [:])
    for (kind, count) in counts where count > before.counts[kind] ?? 0 {
      result.counts[kind] = count - (before.counts[kind] ?? 0)
    }
    return result
  }

  private init(counts: [String: Int]) { self.counts = counts }

  /// The kinds of the sockets in a process's network namespace, by their inodes (proc(5), /proc/PID/net).
  private static func sockets(of process: Int32) -> [String: String] {
    var result: [String: String] = [:]
    for (file, inode, detail) in [
      ("unix", 6, 4), ("tcp", 9, 3), ("tcp6", 9, 3), ("udp", 9, 3), ("udp6", 9, 3),
      ("raw", 9, 3), ("packet", 8, 3), ("netlink", 9, 1),
    ] {
      for line in text(of: "/proc/\(process)/net/\(file)").split(separator: "\n").dropFirst() {
        let fields = line.split(whereSeparator: \.isWhitespace)
        guard fields.count > max(inode, detail) else { continue }
        // For unix sockets the type, and the state: 1 not connected, 3 connected.
        let state = file == "unix" ? "\(fields[4]) \(fields[5])" : "\(fields[detail])"
        result[String(fields[inode])] = "\(file) \(state)"
      }
    }
    return result
  }

  private static func text(of path: String) -> String {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65_536)
    while bytes.count < 16 << 20, case let count = read(file, &part, part.count), count > 0 {
      bytes += part.prefix(count)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
