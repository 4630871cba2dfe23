internal import Glibc

/// Why a request was refused: the `errno` that `ioctl` leaves.
package struct RequestErrno: Error, Hashable, Sendable, CustomStringConvertible {
  /// The number, in `1...4095`, as the kernel's system calls return it.
  package let rawValue: Int32

  /// Creates an error from a number that an engine or a daemon has given.
  ///
  /// - Parameter rawValue: An `errno`. A number that no system call can return becomes `EIO`, so that a refusal
  ///   never looks like a success.
  package init(rawValue: Int32) {
    self.rawValue = (1...4095).contains(rawValue) ? rawValue : EIO
  }

  package var description: String { "errno \(rawValue)" }
}

// The numbers that this layer gives by itself.
extension RequestErrno {
  /// `EINVAL`: a wrong version, a reserved field that is not 0, a body that is missing or not wanted, an unknown
  /// request, a null argument.
  package static let invalidArgument = Self(rawValue: EINVAL)
  /// `EFAULT`: memory of the program that cannot be read or written.
  package static let badAddress = Self(rawValue: EFAULT)
  /// `EMSGSIZE`: options that are too long, too many, or linked in a circle.
  package static let messageTooLong = Self(rawValue: EMSGSIZE)
  /// `EOPNOTSUPP`: an unknown command, or an option that the request does not support.
  package static let unsupported = Self(rawValue: EOPNOTSUPP)
  /// `ENOMEM`: netmap's answer to legacy requests that it cannot translate.
  package static let outOfMemory = Self(rawValue: ENOMEM)
}
