internal import CLinux
internal import Glibc

/// An owned file descriptor, which this object closes when it is deinitialized.
package final class OwnedFile: Sendable {
  package let descriptor: CInt
  private let identity: PrivateDescriptor?

  package init(_ descriptor: CInt) {
    self.descriptor = descriptor
    identity = nil
  }

  /// - Parameter descriptor: A descriptor that stays open for long in a program that does not know of it; it becomes a
  ///   private one (``PrivateDescriptors``), perhaps with another number.
  package init(private descriptor: CInt) {
    let identity = PrivateDescriptor(descriptor)
    self.descriptor = identity.number
    self.identity = identity
  }

  /// Whether the number still belongs to this object's file; always true for descriptors that are not private.
  package var isIntact: Bool { identity?.isIntact ?? true }

  /// Duplicates the descriptor; the caller owns the duplicate.
  ///
  /// - Throws: ``NetmapError`` `EMFILE`.
  package func duplicate() throws(NetmapError) -> CInt {
    try Self.duplicate(descriptor)
  }

  /// Duplicates a descriptor, close-on-exec; the caller owns the duplicate.
  ///
  /// The duplicate is never 0, 1 or 2.
  ///
  /// - Throws: ``NetmapError`` `EMFILE`, `EBADF`.
  package static func duplicate(_ file: CInt) throws(NetmapError) -> CInt {
    let copy = fcntl(file, CInt(CLINUX_F_DUPFD_CLOEXEC), 3)
    guard copy >= 0 else {
      throw systemError(
        "fcntl(F_DUPFD_CLOEXEC)", "descriptor \(file)",
        remedy: "raise the limit of open files (ulimit -n)")
    }
    return copy
  }

  /// Moves a descriptor that is 0, 1 or 2.
  ///
  /// A program may write to these numbers at any time, and the file may be shared memory.
  ///
  /// - Parameter file: A descriptor that the caller owns.
  /// - Returns: The descriptor that the caller owns now.
  package static func lifted(_ file: CInt) -> CInt {
    guard (0...2).contains(file) else { return file }
    let copy = fcntl(file, CInt(CLINUX_F_DUPFD_CLOEXEC), 3)
    guard copy >= 0 else { return file }
    close(file)
    return copy
  }

  deinit {
    if let identity { identity.close() } else { close(descriptor) }
  }
}
