internal import CNetmap

/// A command of netmap's `ioctl` interface.
package enum IoctlCommand: Hashable, Sendable, CaseIterable {
  /// `NIOCCTRL`: a control request.
  case control
  /// `NIOCREGIF`: a legacy request that binds or changes something.
  case legacyRegister
  /// `NIOCGINFO`: a legacy request that asks something.
  case legacyInfo
  /// `NIOCCONFIG`: a message to the module of a switch.
  case configure
  /// `NIOCTXSYNC`
  case synchronizeTransmit
  /// `NIOCRXSYNC`
  case synchronizeReceive

  /// Finds the command with a number; nil for a command of another device.
  ///
  /// Compares 32 bits, as the kernel does: a program that keeps a command in an `int` passes a sign-extended number.
  ///
  /// - Parameter number: The second argument of `ioctl`.
  package init?(number: UInt) {
    switch UInt32(truncatingIfNeeded: number) {
    case NETMAP_IOCTL_CTRL: self = .control
    case NETMAP_IOCTL_REGIF: self = .legacyRegister
    case NETMAP_IOCTL_GINFO: self = .legacyInfo
    case NETMAP_IOCTL_CONFIG: self = .configure
    case NETMAP_IOCTL_TXSYNC: self = .synchronizeTransmit
    case NETMAP_IOCTL_RXSYNC: self = .synchronizeReceive
    default: return nil
    }
  }
}
