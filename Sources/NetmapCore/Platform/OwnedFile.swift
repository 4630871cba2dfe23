internal import CLinux
internal import Glibc

/// An owned file descriptor, which this object closes when it is deinitialized.
package final class OwnedFile: Sendable {
  package let descriptor: CInt

  package init(_ descriptor: CInt) {
    self.descriptor = descriptor
  }

  /// Duplicates the descriptor; the caller owns the duplicate.
  ///
  /// - Throws: ``NetmapError`` `EMFILE`.
  package func duplicate() throws(NetmapError) -> CInt {
    try Self.duplicate(descriptor)
  }

  /// Duplicates a descriptor, close-on-exec; the caller owns the duplicate.
  ///
  /// - Throws: ``NetmapError`` `EMFILE`, `EBADF`.
  package static func duplicate(_ file: CInt) throws(NetmapError) -> CInt {
    let copy = fcntl(file, CInt(CLINUX_F_DUPFD_CLOEXEC), 0)
    guard copy >= 0 else {
      throw systemError(
        "fcntl(F_DUPFD_CLOEXEC)", "descriptor \(file)",
        remedy: "raise the limit of open files (ulimit -n)")
    }
    return copy
  }

  deinit { close(descriptor) }
}
