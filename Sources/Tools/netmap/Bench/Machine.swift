internal import Glibc
internal import NetmapCore
internal import ToolSupport

/// The machine and build that a result depends on, printed with every result.
struct Machine {
  let kernel: String
  let cpuModel: String
  /// The CPUs this process may use, in ascending order.
  let cpus: [Int]

  static let isDebugBuild: Bool = {
    #if DEBUG
      true
    #else
      false
    #endif
  }()

  var build: String { Self.isDebugBuild ? "debug" : "release" }

  init() {
    kernel = Self.line(of: "/proc/sys/kernel/osrelease") { _ in true } ?? "unknown"
    cpuModel =
      Self.value(of: "model name", in: "/proc/cpuinfo")
      ?? Self.value(of: "CPU part", in: "/proc/cpuinfo") ?? "unknown"
    let allowed = Self.value(of: "Cpus_allowed_list", in: "/proc/self/status") ?? "0"
    cpus = Self.numbers(in: allowed)
  }

  var description: String {
    "Linux \(kernel), \(cpuModel), \(cpus.count) CPU\(cpus.count == 1 ? "" : "s"), \(build) build"
  }

  /// Adds the machine to a JSON object.
  func describe(in line: inout JSONLine) {
    line.add("kernel", kernel)
    line.add("cpu", cpuModel)
    line.add("cpus", cpus.count)
    line.add("build", build)
    line.add("version", PackageVersion.text)
  }

  /// The numbers of a list such as `0-2,5`.
  static func numbers(in list: String) -> [Int] {
    list.split(separator: ",").flatMap { part -> [Int] in
      let ends = part.split(separator: "-").compactMap { Int($0) }
      guard let first = ends.first, let last = ends.last, first <= last else { return [] }
      return Array(first...last)
    }
  }

  private static func value(of key: String, in path: String) -> String? {
    guard let line = line(of: path, where: { $0.hasPrefix(key) }),
      let colon = line.firstIndex(of: ":")
    else { return nil }
    let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
    return String(value)
  }

  private static func line(of path: String, where matches: (String) -> Bool) -> String? {
    guard let file = unsafe fopen(path, "re") else { return nil }
    defer { unsafe fclose(file) }
    var buffer = [CChar](repeating: 0, count: 1024)
    while unsafe fgets(&buffer, CInt(buffer.count), file) != nil {
      let end = buffer.firstIndex { $0 == 0 || $0 == 10 } ?? buffer.count
      let line = String(decoding: buffer[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
      if matches(line) { return line }
    }
    return nil
  }
}
