internal import Glibc

/// An IPv6 address.
@frozen
public struct IPv6Address: Hashable, Sendable {
  /// The first eight bytes as a number: 0xfd00_0000_0000_0000 in `fd00::1`.
  public let high: UInt64

  /// The last eight bytes as a number: 1 in `fd00::1`.
  public let low: UInt64

  /// The address with these halves.
  @inlinable @inline(__always)
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// `::`, the source address of a host that has no address yet.
  @inlinable
  public static var any: IPv6Address { IPv6Address(high: 0, low: 0) }

  /// `::1`, this host.
  @inlinable
  public static var loopback: IPv6Address { IPv6Address(high: 0, low: 1) }

  /// Whether the address is in `ff00::/8`.
  @inlinable
  public var isMulticast: Bool { high >> 56 == 0xff }

  /// Whether the address is in `fe80::/10`: valid on one link only.
  @inlinable
  public var isLinkLocal: Bool { high >> 54 == 0xfe80 >> 6 }

  /// The sixteen bytes in the order on the wire; allocates memory.
  public var bytes: [UInt8] {
    [high, low].flatMap { half in
      (1...8).map { UInt8(truncatingIfNeeded: half >> UInt64(64 - $0 * 8)) }
    }
  }
}

extension IPv6Address: Comparable {
  /// Compares the addresses as numbers.
  @inlinable
  public static func < (left: IPv6Address, right: IPv6Address) -> Bool {
    left.high != right.high ? left.high < right.high : left.low < right.low
  }
}

extension IPv6Address: LosslessStringConvertible {
  /// Parses the forms of RFC 4291, as inet_pton(3) does: no scope, no prefix length. Nil for other
  /// text.
  public init?(_ description: String) {
    var bytes = [UInt8](repeating: 0, count: 16)
    // C would ignore what follows a zero byte.
    guard !description.utf8.contains(0), unsafe inet_pton(AF_INET6, description, &bytes) == 1 else {
      return nil
    }
    high = bytes.bytes.uint64(at: 0)
    low = bytes.bytes.uint64(at: 8)
  }

  /// The address as inet_ntop(3) prints it, such as `fd00::1`.
  public var description: String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    _ = unsafe inet_ntop(AF_INET6, bytes, &text, socklen_t(text.count))
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
