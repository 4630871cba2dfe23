import Glibc
import ProcessFiles

/// The time that the threads of a process have been ready to run while no CPU was free.
///
/// A process that other processes have kept from a CPU was not held by an attack.
package enum CPUWaits {
  /// The times of all threads of a process by thread number, nanoseconds.
  package static func threads(of process: Int32) -> [Int32: UInt64] {
    guard process > 0 else { return [:] }
    var result: [Int32: UInt64] = [:]
    for name in ProcessFiles.entries("/proc/\(process)/task") {
      guard let thread = Int32(name) else { continue }
      result[thread] = time(at: "/proc/\(process)/task/\(thread)/schedstat")
    }
    return result
  }

  /// The longest wait of a thread of the process since the threads' times were taken, nanoseconds.
  package static func longest(of process: Int32, since before: [Int32: UInt64]) -> UInt64 {
    threads(of: process).reduce(0) {
      max($0, $1.value &- min($1.value, before[$1.key] ?? $1.value))
    }
  }

  private static func time(at path: String) -> UInt64 {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return 0 }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 96)
    let count = read(file, &bytes, bytes.count)
    let fields = bytes.prefix(max(0, count)).split(separator: UInt8(ascii: " "))
    guard fields.count > 1 else { return 0 }
    return fields[1].reduce(0) { $0 &* 10 &+ UInt64($1 &- UInt8(ascii: "0")) }
  }
}
