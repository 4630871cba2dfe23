internal import Glibc
internal import NetmapCore
internal import NetmapLinuxSetup

/// The bpf_links that other processes hold open: clients that drive an interface.
///
/// Read once from /proc. A copy that is under way in a message is not found.
struct LinkHolders {
  private var links: Set<String> = []

  /// - Parameter others: Processes to leave out.
  init(besides others: [Int32]) {
    for text in entryNames(in: "/proc") {
      guard let process = Int32(text), !others.contains(process) else { continue }
      for file in entryNames(in: "/proc/\(process)/fd") {
        guard Self.isLink("/proc/\(process)/fd/\(file)"),
          let link = Self.identity("/proc/\(process)/fdinfo/\(file)")
        else { continue }
        links.insert(link)
      }
    }
  }

  /// Whether one of the processes has this link open.
  func have(_ link: CInt) -> Bool {
    // If this cannot be determined, assume that a process uses the link.
    guard link >= 0, let identity = Self.identity("/proc/self/fdinfo/\(link)") else { return true }
    return links.contains(identity)
  }

  /// Whether a file is a bpf_link, by the text of its link in /proc.
  ///
  /// The kernel writes that text; the text for a named file would begin with a slash.
  private static func isLink(_ path: String) -> Bool {
    var text = [CChar](repeating: 0, count: 64)
    let count = unsafe readlink(path, &text, text.count)
    let name = String(
      decoding: text.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return name.hasPrefix("anon_inode:") && name.contains("bpf")
  }

  /// The link's ID as the kernel shows it; nil for any other file.
  private static func identity(_ path: String) -> String? {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 1024)
    let count = unsafe read(file, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: "\n")
      .first { $0.hasPrefix("link_id:") }.map(String.init)
  }
}
