/// The protocol of an Ethernet frame's payload.
@frozen
public struct EtherType: RawRepresentable, Hashable, Sendable {
  /// The number in the frame. Numbers below 0x0600 are the length of an IEEE 802.3 frame.
  public let rawValue: UInt16

  /// The protocol with this number.
  @inlinable @inline(__always)
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// 0x0800.
  @inlinable public static var ipv4: EtherType { EtherType(rawValue: 0x0800) }
  /// 0x0806.
  @inlinable public static var arp: EtherType { EtherType(rawValue: 0x0806) }
  /// 0x8100: a VLAN tag follows (IEEE 802.1Q).
  @inlinable public static var vlan: EtherType { EtherType(rawValue: 0x8100) }
  /// 0x86dd.
  @inlinable public static var ipv6: EtherType { EtherType(rawValue: 0x86dd) }
  /// 0x88a8: a provider's VLAN tag follows (IEEE 802.1ad, "QinQ").
  @inlinable public static var serviceVLAN: EtherType { EtherType(rawValue: 0x88a8) }

  /// Whether a VLAN tag follows.
  @inlinable
  public var isVLAN: Bool { self == .vlan || self == .serviceVLAN }
}

extension EtherType: CustomStringConvertible {
  /// The name of the protocol, or its number, such as `0x88cc`.
  public var description: String {
    switch self {
    case .ipv4: return "IPv4"
    case .arp: return "ARP"
    case .vlan: return "VLAN"
    case .ipv6: return "IPv6"
    case .serviceVLAN: return "service VLAN"
    default:
      let digits = String(rawValue, radix: 16)
      return "0x" + String(repeating: "0", count: 4 - digits.count) + digits
    }
  }
}
