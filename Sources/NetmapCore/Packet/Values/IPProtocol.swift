/// The protocol of an IP packet's payload.
@frozen
public struct IPProtocol: RawRepresentable, Hashable, Sendable {
  /// The number that IANA assigns.
  public let rawValue: UInt8

  /// The protocol with this number.
  @inlinable @inline(__always)
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// 1.
  @inlinable public static var icmp: IPProtocol { IPProtocol(rawValue: 1) }
  /// 6.
  @inlinable public static var tcp: IPProtocol { IPProtocol(rawValue: 6) }
  /// 17.
  @inlinable public static var udp: IPProtocol { IPProtocol(rawValue: 17) }
  /// 58.
  @inlinable public static var icmpv6: IPProtocol { IPProtocol(rawValue: 58) }
  /// 132.
  @inlinable public static var sctp: IPProtocol { IPProtocol(rawValue: 132) }
}

extension IPProtocol: CustomStringConvertible {
  /// The name of the protocol, or its number, such as `89`.
  public var description: String {
    switch self {
    case .icmp: "ICMP"
    case .tcp: "TCP"
    case .udp: "UDP"
    case .icmpv6: "ICMPv6"
    case .sctp: "SCTP"
    default: "\(rawValue)"
    }
  }
}
