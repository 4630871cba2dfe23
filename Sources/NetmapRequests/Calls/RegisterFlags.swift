internal import CNetmap

/// The bits of `nr_flags` that netmap knows. netmap ignores other bits, and so does this type.
package struct RegisterFlags: OptionSet, Hashable, Sendable {
  package let rawValue: UInt64

  /// Creates a set from `nr_flags`, without the bits that netmap does not know.
  package init(rawValue: UInt64) {
    self.rawValue = rawValue & Self.known
  }

  private init(_ bit: Int32) {
    rawValue = UInt64(bit)
  }

  /// `NR_MONITOR_TX`
  package static let monitorTransmit = Self(NR_MONITOR_TX)
  /// `NR_MONITOR_RX`
  package static let monitorReceive = Self(NR_MONITOR_RX)
  /// `NR_ZCOPY_MON`
  package static let zeroCopyMonitor = Self(NR_ZCOPY_MON)
  /// `NR_EXCLUSIVE`
  package static let exclusive = Self(NR_EXCLUSIVE)
  /// `NR_RX_RINGS_ONLY`
  package static let receiveRingsOnly = Self(NR_RX_RINGS_ONLY)
  /// `NR_TX_RINGS_ONLY`
  package static let transmitRingsOnly = Self(NR_TX_RINGS_ONLY)
  /// `NR_ACCEPT_VNET_HDR`
  package static let acceptVirtioHeader = Self(NR_ACCEPT_VNET_HDR)
  /// `NR_DO_RX_POLL`
  package static let doReceivePoll = Self(NR_DO_RX_POLL)
  /// `NR_NO_TX_POLL`
  package static let noTransmitPoll = Self(NR_NO_TX_POLL)

  private static let known = UInt64(
    NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON | NR_EXCLUSIVE | NR_RX_RINGS_ONLY
      | NR_TX_RINGS_ONLY | NR_ACCEPT_VNET_HDR | NR_DO_RX_POLL | NR_NO_TX_POLL)
}
