import Glibc

/// The time that threads have been ready to run while no CPU was free.
///
/// A process that other processes have kept from a CPU was not held by what a test examines.
package struct CPUWaits {
  private var watched: [Watched]

  private struct Watched {
    let process: Int32
    let before: [Int32: UInt64]
    /// The longest wait of a thread that has been seen.
    var known: UInt64 = 0

    var longest: UInt64 { max(known, CPUWaits.longest(of: process, since: before)) }
  }

  /// Begins to watch processes. Those that do not exist do not count.
  package init(of processes: [Int32]) {
    watched = processes.map { Watched(process: $0, before: Self.threads(of: $0)) }
  }

  /// Remembers the waits so far: those of a process that ends cannot be read afterwards.
  package mutating func look() {
    for index in watched.indices { watched[index].known = watched[index].longest }
  }

  /// For each process, the longest wait of one of its threads since the beginning; the sum of these, nanoseconds.
  ///
  /// A wait that has not ended yet does not count.
  package var total: UInt64 { watched.reduce(0) { $0 + $1.longest } }

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

  /// The time of the calling thread, nanoseconds.
  package static var ofThisThread: UInt64 { time(at: "/proc/thread-self/schedstat") }

  private static func time(at path: String) -> UInt64 {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return 0 }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 96)
    let count = unsafe read(file, &bytes, bytes.count)
    let fields = bytes.prefix(max(0, count)).split(separator: UInt8(ascii: " "))
    guard fields.count > 1 else { return 0 }
    return fields[1].reduce(0) { $0 &* 10 &+ UInt64($1 &- UInt8(ascii: "0")) }
  }
}
