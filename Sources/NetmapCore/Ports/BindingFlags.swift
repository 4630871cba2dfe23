/// The binding mode of a port: the `nr_flags` of a register request.
///
/// Bits without a name here have no effect, as in netmap(4). What netmap(4) does not have, such as isolated ports, is
/// in ``PortSpecification``, not here.
public struct BindingFlags: OptionSet, Hashable, Sendable {
  public let rawValue: UInt64

  public init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// Monitor the packets sent on the selected rings (`NR_MONITOR_TX`, `/t`).
  public static let monitorTransmit = BindingFlags(rawValue: 0x100)
  /// Monitor the packets received on the selected rings (`NR_MONITOR_RX`, `/r`).
  ///
  /// Those of an end of a pipe arrive when they are sent; those of a switch port or an interface when the monitored port's
  /// program syncs its receive rings.
  public static let monitorReceive = BindingFlags(rawValue: 0x200)
  /// Monitor both directions without copying: the monitor exchanges its buffers for those of packets that the monitored
  /// program has released, or that have come back to it (`NR_ZCOPY_MON`, `/z`).
  ///
  /// Not of interfaces that are on a switch: opening these fails with `EOPNOTSUPP`. The monitored program
  /// must look at the index again of each buffer whose slot has ``SlotFlags/bufferChanged``.
  public static let zeroCopyMonitor = BindingFlags(rawValue: 0x400)
  /// Do not share the selected rings with any other binding (`NR_EXCLUSIVE`, `/x`).
  public static let exclusive = BindingFlags(rawValue: 0x800)
  /// Bind no transmit rings (`NR_RX_RINGS_ONLY`, `/R`).
  ///
  /// With ``transmitOnly``: no rings at all.
  public static let receiveOnly = BindingFlags(rawValue: 0x2000)
  /// Bind no receive rings (`NR_TX_RINGS_ONLY`, `/T`).
  ///
  /// With ``receiveOnly``: no rings at all.
  public static let transmitOnly = BindingFlags(rawValue: 0x4000)
  /// The application handles virtio-net headers (`NR_ACCEPT_VNET_HDR`); a port with such headers refuses
  /// applications without the flag.
  public static let acceptVirtioNetHeader = BindingFlags(rawValue: 0x8000)
  /// Also sync receive rings when polling for output (`NR_DO_RX_POLL`).
  ///
  /// Kept, without effect, as in netmap(4).
  public static let doReceivePoll = BindingFlags(rawValue: 0x10000)
  /// Do not sync transmit rings when polling for input (`NR_NO_TX_POLL`).
  public static let noTransmitPoll = BindingFlags(rawValue: 0x20000)

  /// The bits that netmap(4) defines.
  ///
  /// The engine ignores all others, which a program may have left as they were on its stack.
  package static let known = BindingFlags(rawValue: 0x3ffff)

  /// Every flag that makes the binding a monitor.
  public static let anyMonitor = monitorTransmit.union(monitorReceive).union(zeroCopyMonitor)

  /// Whether the binding monitors a port instead of using it.
  public var isMonitor: Bool {
    !isDisjoint(with: .anyMonitor)
  }
}

extension BindingFlags {
  /// The flags that a port specification can name after `/`, in print order.
  static let letters: [(letter: UInt8, flag: BindingFlags)] = [
    (UInt8(ascii: "x"), .exclusive),
    (UInt8(ascii: "z"), .zeroCopyMonitor),
    (UInt8(ascii: "t"), .monitorTransmit),
    (UInt8(ascii: "r"), .monitorReceive),
    (UInt8(ascii: "R"), .receiveOnly),
    (UInt8(ascii: "T"), .transmitOnly),
  ]

  /// The flag that `letter` stands for.
  init?(letter: UInt8) {
    guard let entry = Self.letters.first(where: { $0.letter == letter }) else { return nil }
    self = entry.flag
  }
}
