internal import Foundation

/// The machine's free huge pages. DPDK uses them when two processes find enough.
enum HugePages {
  /// Free memory in huge pages of the default size, in megabytes.
  private static let freeMegabytes: Int = {
    let text = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
    func value(_ label: String) -> Int {
      let line = text.split(separator: "\n").first { $0.hasPrefix(label + ":") }
      return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    }
    return value("HugePages_Free") * value("Hugepagesize") / 1024
  }()

  static func isEnough(megabytes: Int) -> Bool { freeMegabytes >= 2 * megabytes }

  /// DPDK's options for this much memory.
  static func options(megabytes: Int) -> [String] {
    (isEnough(megabytes: megabytes) ? ["--in-memory"] : ["--no-huge"]) + ["-m", String(megabytes)]
  }

  static var description: String {
    isEnough(megabytes: 512) ? "huge pages" : "no huge pages"
  }
}
