/// Where a packet goes.
@frozen
public struct SwitchVerdict: RawRepresentable, Hashable, Sendable {
  /// netmap's encoding in the low 16 bits: 0 to 253 a port, 254 all others, more than that none. Above it 0,
  /// or 1 more than the receive ring.
  public let rawValue: UInt32

  @inlinable
  public init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// Every port but the one it comes from, always receive ring 0.
  @inlinable
  public static var broadcast: SwitchVerdict { SwitchVerdict(rawValue: 254) }

  /// Nobody.
  @inlinable
  public static var drop: SwitchVerdict { SwitchVerdict(rawValue: 255) }

  /// One port, and there the receive ring of the number that the sender's transmit ring has.
  ///
  /// - Parameter index: The port's, 0 to 253; others drop the packet.
  /// - Returns: The verdict.
  @inlinable
  public static func port(_ index: Int) -> SwitchVerdict {
    SwitchVerdict(rawValue: UInt32(clamping: min(index, 0xffff)) | (index < 0 ? 255 : 0))
  }

  /// One receive ring of a port.
  ///
  /// - Parameters:
  ///   - index: The port's, 0 to 253; others drop the packet.
  ///   - ring: Its receive ring, modulo as many as it has; at most 15.
  /// - Returns: The verdict.
  @inlinable
  public static func port(_ index: Int, ring: Int) -> SwitchVerdict {
    SwitchVerdict(rawValue: port(index).rawValue | UInt32(ring & 15 &+ 1) << 16)
  }
}
