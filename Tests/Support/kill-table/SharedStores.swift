import CTrace
import Glibc

/// Finds the parts of a long operation in which memory changes that the victim shares with other processes.
///
/// Every instruction of those parts is a point; the rest is tried at some points.
struct SharedStores {
  private let process: pid_t
  /// The contents of each mapping, by its address.
  private var contents: [UInt: [UInt8]] = [:]

  /// How much of each mapping is looked at: buffers lie behind everything else.
  private static let byteCountMax: UInt = 4 << 20

  init(of process: pid_t) {
    self.process = process
    _ = hasChanged()
  }

  /// Whether shared memory has changed since the last call, or was mapped.
  mutating func hasChanged() -> Bool {
    var changed = false
    var now: [UInt: [UInt8]] = [:]
    for (start, count) in mappings() {
      var bytes = contents.removeValue(forKey: start) ?? []
      let copy = unsafe [UInt8](unsafeUninitializedCapacity: Int(count)) { buffer, filled in
        filled = unsafe max(0, ctrace_read(process, start, buffer.baseAddress, count))
      }
      if copy != bytes {
        changed = true
        bytes = copy
      }
      now[start] = bytes
    }
    contents = now
    return changed
  }

  /// The start and the size of each mapping that other processes may have, too.
  private func mappings() -> [(start: UInt, count: UInt)] {
    guard let file = unsafe fopen("/proc/\(process)/maps", "r") else { return [] }
    defer { unsafe fclose(file) }
    var result: [(start: UInt, count: UInt)] = []
    var line = [CChar](repeating: 0, count: 1024)
    while unsafe fgets(&line, CInt(line.count), file) != nil {
      let text = String(
        decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
      let words = text.split(separator: " ", maxSplits: 2)
      guard words.count == 3, words[1].hasPrefix("rw-s"), text.contains("memfd:") else { continue }
      let ends = words[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
      guard ends.count == 2, ends[0] < ends[1] else { continue }
      result.append((ends[0], min(ends[1] - ends[0], Self.byteCountMax)))
    }
    return result
  }
}
