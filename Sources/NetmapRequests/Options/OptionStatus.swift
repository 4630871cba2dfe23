internal import Glibc

/// What became of an option: `nro_status`.
package struct OptionStatus: RawRepresentable, Hashable, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// The request does not use options of this type, or failed before it came to the option.
  package static let unrecognized = refused(.unsupported)
  /// The option has been applied.
  package static let accepted = Self(rawValue: 0)

  /// The option cannot be applied, and this is why.
  package static func refused(_ reason: RequestErrno) -> Self {
    Self(rawValue: UInt32(bitPattern: reason.rawValue))
  }
}
