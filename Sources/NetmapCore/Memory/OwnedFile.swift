internal import CLinux
internal import Glibc

/// A descriptor that is closed with its last reference.
package final class OwnedFile: Sendable {
  package let descriptor: CInt

  package init(_ descriptor: CInt) {
    self.descriptor = descriptor
  }

  /// A second descriptor of the same file, which is the caller's.
  ///
  /// - Throws: ``NetmapError`` `EMFILE`.
  package func duplicate() throws(NetmapError) -> CInt {
    try Self.duplicate(descriptor)
  }

  /// A second descriptor of a file, close-on-exec, which is the caller's.
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
