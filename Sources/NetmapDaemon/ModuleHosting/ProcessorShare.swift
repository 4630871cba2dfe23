internal import Glibc
internal import NetmapCore

/// What a process has had of the machine's processors.
struct ProcessorShare {
  /// Nanoseconds that it has run, all threads together.
  let time: UInt64
  /// Whether its first thread runs, or would if a processor were free.
  let isRunnable: Bool

  /// Where a process's state can be read as long as it lives: by a broker too, which can open no file.
  ///
  /// - Returns: Nil when the process has ended, or there is no /proc.
  static func file(of process: pid_t) -> OwnedFile? {
    let file = unsafe open("/proc/\(process)/stat", O_RDONLY | O_CLOEXEC)
    return file >= 0 ? OwnedFile(file) : nil
  }

  /// Nil when the process has ended.
  ///
  /// - Parameters:
  ///   - process: A process.
  ///   - file: Its ``file(of:)``.
  init?(of process: pid_t, _ file: OwnedFile) {
    guard let time = Self.time(of: process) else { return nil }
    self.time = time
    guard let state = Self.state(in: file) else { return nil }
    isRunnable = state == UInt8(ascii: "R")
  }

  /// Whether a process's first thread has ended; the others may still be there.
  ///
  /// - Parameter file: The process's ``file(of:)``.
  /// - Returns: True as well when it has gone altogether.
  static func hasFirstThreadEnded(_ file: OwnedFile) -> Bool {
    guard let state = state(in: file) else { return true }
    return state == UInt8(ascii: "Z") || state == UInt8(ascii: "X")
  }

  private static func state(in file: OwnedFile) -> UInt8? {
    // It follows the name, which may contain anything.
    var bytes = [UInt8](repeating: 0, count: 512)
    let count = unsafe pread(file.descriptor, &bytes, bytes.count, 0)
    guard count > 0, let end = bytes[..<count].lastIndex(of: UInt8(ascii: ")")), end + 2 < count
    else { return nil }
    return bytes[end + 2]
  }

  /// Nanoseconds that a process has run; nil when it has ended.
  static func time(of process: pid_t) -> UInt64? {
    var clock = clockid_t()
    var time = timespec()
    guard unsafe clock_getcpuclockid(process, &clock) == 0,
      unsafe clock_gettime(clock, &time) == 0
    else { return nil }
    return UInt64(max(0, time.tv_sec)) &* 1_000_000_000 &+ UInt64(max(0, time.tv_nsec))
  }
}
