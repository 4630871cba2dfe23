import Glibc

/// What the open descriptors of a process are.
package struct DescriptorKinds: CustomStringConvertible {
  /// The number of descriptors of each kind. Numbers in names are left out, so `socket:[4711]` is `tcp st=4`, `unix
  /// stream` or another kind that /proc shows for its inode.
  package private(set) var counts: [String: Int] = [:]

  package init(of process: Int32) {
    let sockets = Self.sockets(of: process)
    let folder = "/proc/\(process)/fd"
    for name in ProcessFiles.entries(folder) {
      var text = [CChar](repeating: 0, count: 256)
      let count = unsafe readlink("\(folder)/\(name)", &text, text.count)
      // The descriptor that has read this list, if the process is this one.
      guard count > 0 else { continue }
      let link = String(
        decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
      var kind = link.filter { !$0.isNumber }
      if link.hasPrefix("socket:[") {
        kind = sockets[String(link.dropFirst(8).dropLast())] ?? "socket of another namespace"
      }
      counts[kind, default: 0] += 1
    }
  }

  /// The number of descriptors.
  package var count: Int { counts.values.reduce(0, +) }

  package var description: String {
    counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) \($0.key)" }
      .joined(separator: ", ")
  }

  /// The kinds that a process has more of than before, with the difference.
  package func added(since before: DescriptorKinds) -> DescriptorKinds {
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
      for line in ProcessFiles.text("/proc/\(process)/net/\(file)").split(separator: "\n")
        .dropFirst()
      {
        let fields = line.split(whereSeparator: \.isWhitespace)
        guard fields.count > max(inode, detail) else { continue }
        // For unix sockets the type, and the state: 1 not connected, 3 connected.
        let state = file == "unix" ? "\(fields[4]) \(fields[5])" : "\(fields[detail])"
        result[String(fields[inode])] = "\(file) \(state)"
      }
    }
    return result
  }
}
