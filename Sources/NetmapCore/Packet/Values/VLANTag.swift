/// The contents of a VLAN tag (IEEE 802.1Q).
@frozen
public struct VLANTag: RawRepresentable, Hashable, Sendable {
  /// The 16 bits behind the tag's EtherType.
  public let rawValue: UInt16

  /// The tag with these 16 bits.
  @inlinable @inline(__always)
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// The tag of a VLAN.
  ///
  /// - Parameters:
  ///   - id: 0 to 4095; the upper 4 bits are ignored.
  ///   - priority: 0 to 7; the upper 5 bits are ignored.
  ///   - isDropEligible: Whether switches drop the frame first under congestion.
  @inlinable
  public init(id: UInt16, priority: UInt8 = 0, isDropEligible: Bool = false) {
    rawValue = UInt16(priority & 7) << 13 | (isDropEligible ? 0x1000 : 0) | id & 0xfff
  }

  /// The number of the VLAN, 0 to 4095; 0 for a frame that belongs to no VLAN and has only a
  /// priority.
  @inlinable
  public var id: UInt16 { rawValue & 0xfff }

  /// The priority, 0 to 7.
  @inlinable
  public var priority: UInt8 { UInt8(truncatingIfNeeded: rawValue >> 13) }

  /// Whether switches drop the frame first under congestion.
  @inlinable
  public var isDropEligible: Bool { rawValue & 0x1000 != 0 }
}
