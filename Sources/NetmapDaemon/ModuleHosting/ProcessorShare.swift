internal import Glibc
internal import NetmapCore

/// The processor time that a process has used, and whether it wants more.
struct ProcessorShare {
  /// The processor time of all threads together, nanoseconds.
  let time: UInt64
  /// Whether the first thread runs, or would run if a processor were free.
  let isRunnable: Bool

  /// Opens the file in which a process's state can be read for as long as the process lives.
  ///
  /// A broker, which cannot open files, can read it too.
  ///
  /// - Returns: Nil when the process has ended or there is no /proc.
  static func file(of process: pid_t) -> OwnedFile? {
    let file = unsafe open("/proc/\(process)/stat", O_RDONLY | O_CLOEXEC)
    return file >= 0 ? OwnedFile(file) : nil
  }

  /// Reads the state of a process; nil when it has ended.
  ///
  /// - Parameters:
  ///   - process: The process.
  ///   - file: The process's ``file(of:)``.
  init?(of process: pid_t, _ file: OwnedFile) {
    guard let time = Self.time(of: process) else { return nil }
    self.time = time
    guard let state = Self.state(in: file) else { return nil }
    isRunnable = state == UInt8(ascii: "R")
  }

  /// Whether the first thread of a process has ended.
  ///
  /// Other threads may still exist.
  ///
  /// - Parameter file: The process's ``file(of:)``.
  /// - Returns: True also when the whole process has ended.
  static func hasFirstThreadEnded(_ file: OwnedFile) -> Bool {
    guard let state = state(in: file) else { return true }
    return state == UInt8(ascii: "Z") || state == UInt8(ascii: "X")
  }

  private static func state(in file: OwnedFile) -> UInt8? {
    // The state follows the program's name, which may contain any character.
    var bytes = [UInt8](repeating: 0, count: 512)
    let count = unsafe pread(file.descriptor, &bytes, bytes.count, 0)
    guard count > 0, let end = bytes[..<count].lastIndex(of: UInt8(ascii: ")")), end + 2 < count
    else { return nil }
    return bytes[end + 2]
  }

  /// The processor time of a process, nanoseconds; nil when it has ended.
  static func time(of process: pid_t) -> UInt64? {
    var clock = clockid_t()
    var time = timespec()
    guard unsafe clock_getcpuclockid(process, &clock) == 0,
      unsafe clock_gettime(clock, &time) == 0
    else { return nil }
    return UInt64(max(0, time.tv_sec)) &* 1_000_000_000 &+ UInt64(max(0, time.tv_nsec))
  }
}
