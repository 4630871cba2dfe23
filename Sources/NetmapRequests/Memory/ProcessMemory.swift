internal import CLinux
internal import Glibc

/// The memory of the calling process.
///
/// A program may pass any address: null, one that is not mapped, one that another thread unmaps at this moment. So the
/// kernel copies, and reports what it cannot reach. `process_vm_readv` and `process_vm_writev` on the own process do so
/// with one call and no descriptor. A sandbox may refuse them (`EPERM`, `ENOSYS`); then a pipe carries the bytes.
///
/// Limits: a sandbox that kills the process for these calls cannot be served. A process without room for two
/// descriptors, in a sandbox that needs the pipe, gets `EFAULT` for memory that is in order. Memory of devices that the
/// process has mapped counts as unreadable, unless the pipe carries the bytes.
package struct ProcessMemory: UserMemory {
  /// How the bytes get from one place to the other.
  package enum Path: Sendable {
    /// By `process_vm_readv` and `process_vm_writev`, and by a pipe where they are refused.
    case direct
    /// By a pipe.
    case pipe
  }

  let path: Path

  /// Creates access to the memory of the calling process.
  ///
  /// - Parameter path: How to copy. Only tests need ``Path/pipe``.
  package init(path: Path = .direct) {
    self.path = path
  }

  package func copyIn(from address: UInt64, into bytes: inout MutableSpan<UInt8>) -> Bool {
    unsafe bytes.withUnsafeMutableBytes { buffer in
      guard let base = buffer.baseAddress else { return true }
      if path == .direct {
        let count = unsafe clinux_copy_from_self(base, address, buffer.count)
        if let result = Self.outcome(count, of: buffer.count) { return result }
      }
      let place = UInt64(UInt(bitPattern: base))
      return Self.copyThroughPipe(from: address, to: place, count: buffer.count)
    }
  }

  package func copyOut(_ bytes: Span<UInt8>, to address: UInt64) -> Bool {
    unsafe bytes.withUnsafeBytes { buffer in
      guard let base = buffer.baseAddress else { return true }
      if path == .direct {
        let count = unsafe clinux_copy_to_self(address, base, buffer.count)
        if let result = Self.outcome(count, of: buffer.count) { return result }
      }
      let place = UInt64(UInt(bitPattern: base))
      return Self.copyThroughPipe(from: place, to: address, count: buffer.count)
    }
  }

  /// Whether a direct copy succeeded; nil if the kernel did not try. Call it in the statement after the copy.
  private static func outcome(_ copied: Int, of wanted: Int) -> Bool? {
    // Less than wanted: the rest cannot be reached.
    if copied >= 0 { return copied == wanted }
    return errno == EFAULT ? false : nil
  }
}

extension ProcessMemory {
  /// Every pipe has room for as much.
  private static let pieceByteCount = 4096

  /// Copies bytes by writing them to a pipe and reading them back. Either address may be wild.
  private static func copyThroughPipe(from source: UInt64, to target: UInt64, count: Int) -> Bool {
    var ends: (reading: Int32, writing: Int32) = (-1, -1)
    let result = unsafe withUnsafeMutablePointer(to: &ends) {
      unsafe $0.withMemoryRebound(to: Int32.self, capacity: 2) { unsafe clinux_pipe($0) }
    }
    guard result == 0 else { return false }
    defer {
      _ = clinux_raw_close(ends.reading)
      _ = clinux_raw_close(ends.writing)
    }
    var done = 0
    while done < count {
      let piece = min(count - done, pieceByteCount)
      guard clinux_write_from(ends.writing, source &+ UInt64(done), piece) == piece,
        clinux_read_to(ends.reading, target &+ UInt64(done), piece) == piece
      else { return false }
      done += piece
    }
    return true
  }
}
