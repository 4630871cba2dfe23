/// An Ethernet address.
@frozen
public struct MACAddress: RawRepresentable, Hashable, Sendable {
  /// The six bytes as a number, with the first byte on the wire lowest; the upper 16 bits are 0.
  public let rawValue: UInt64

  /// - Parameter rawValue: The six bytes, with the first byte on the wire lowest. The upper 16 bits
  ///   are ignored.
  @inlinable @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue & 0xffff_ffff_ffff }

  /// The address with these bytes, in the order on the wire.
  @inlinable
  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, _ e: UInt8, _ f: UInt8) {
    let low = UInt64(a) | UInt64(b) << 8 | UInt64(c) << 16 | UInt64(d) << 24
    rawValue = low | UInt64(e) << 32 | UInt64(f) << 40
  }

  /// ff:ff:ff:ff:ff:ff, the address of all stations.
  @inlinable
  public static var broadcast: MACAddress { MACAddress(rawValue: .max) }

  /// 00:00:00:00:00:00, which no station has.
  @inlinable
  public static var zero: MACAddress { MACAddress(rawValue: 0) }

  /// Whether this is the address of a group of stations, ``broadcast`` included.
  @inlinable
  public var isMulticast: Bool { rawValue & 1 != 0 }

  /// Whether this is the address of all stations.
  @inlinable
  public var isBroadcast: Bool { self == .broadcast }

  /// Whether a local administrator, and not a vendor, assigned the address.
  @inlinable
  public var isLocallyAdministered: Bool { rawValue & 2 != 0 }

  /// The six bytes in the order on the wire; allocates memory.
  public var bytes: [UInt8] {
    (0..<6).map { UInt8(truncatingIfNeeded: rawValue >> UInt64($0 * 8)) }
  }
}

extension MACAddress: LosslessStringConvertible {
  /// Parses six hexadecimal numbers separated by colons, as ether_aton(3) does; `2:0:0:0:0:1` is
  /// valid. Nil for other text.
  public init?(_ description: String) {
    var value: UInt64 = 0
    var count = 0
    let colon = UInt8(ascii: ":")
    for word in description.utf8.split(separator: colon, omittingEmptySubsequences: false) {
      guard count < 6, (1...2).contains(word.count) else { return nil }
      var byte: UInt64 = 0
      for character in word {
        guard let digit = Character(Unicode.Scalar(character)).hexDigitValue else { return nil }
        byte = byte << 4 | UInt64(digit)
      }
      value |= byte << UInt64(count * 8)
      count += 1
    }
    guard count == 6 else { return nil }
    self.init(rawValue: value)
  }

  /// The address as `02:00:00:00:00:01`.
  public var description: String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
  }
}
