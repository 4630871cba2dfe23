internal import Glibc

/// An IPv4 address.
@frozen
public struct IPv4Address: RawRepresentable, Hashable, Sendable {
  /// The address as a number: `10.0.0.1` is 0x0a000001.
  public let rawValue: UInt32

  /// The address with this number.
  @inlinable @inline(__always)
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The address `a.b.c.d`.
  @inlinable
  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
    rawValue = UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)
  }

  /// 0.0.0.0, the source address of a host that has no address yet.
  @inlinable
  public static var any: IPv4Address { IPv4Address(rawValue: 0) }

  /// 255.255.255.255, all hosts on the link.
  @inlinable
  public static var broadcast: IPv4Address { IPv4Address(rawValue: .max) }

  /// Whether the address is in 224.0.0.0/4.
  @inlinable
  public var isMulticast: Bool { rawValue >> 28 == 0xe }

  /// The four bytes in the order on the wire; allocates memory.
  public var bytes: [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: rawValue >> ($0 as UInt32)) }
  }
}

extension IPv4Address: Comparable {
  /// Compares the addresses as numbers.
  @inlinable
  public static func < (left: IPv4Address, right: IPv4Address) -> Bool {
    left.rawValue < right.rawValue
  }
}

extension IPv4Address: LosslessStringConvertible {
  /// Parses four decimal numbers, as inet_pton(3) does. Nil for other text.
  public init?(_ description: String) {
    var value: UInt32 = 0
    // C would ignore what follows a zero byte.
    guard !description.utf8.contains(0), unsafe inet_pton(AF_INET, description, &value) == 1 else {
      return nil
    }
    rawValue = UInt32(bigEndian: value)
  }

  /// The address as `10.0.0.1`.
  public var description: String { bytes.map(String.init).joined(separator: ".") }
}
