/// A module's decision on where a packet goes.
@frozen
public struct SwitchVerdict: RawRepresentable, Hashable, Sendable {
  /// netmap's encoding in the low 16 bits: 0 to 253 is a port, 254 all other ports, and any larger
  /// value no port.
  ///
  /// Bits 16...23 select the receive ring: 0 is the number of the sender's ring, any other value
  /// one more than the receive ring's number.
  public let rawValue: UInt32

  @inlinable
  public init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// Every port but the one that sends the packet, always receive ring 0.
  @inlinable
  public static var broadcast: SwitchVerdict { SwitchVerdict(rawValue: 254) }

  /// No port.
  @inlinable
  public static var drop: SwitchVerdict { SwitchVerdict(rawValue: 255) }

  /// One port, and there the receive ring with the number of the sender's transmit ring.
  ///
  /// - Parameter index: The port's index, 0 to 253. Other values drop the packet.
  /// - Returns: The verdict.
  @inlinable
  public static func port(_ index: Int) -> SwitchVerdict {
    index >= 0 && index < 254 ? SwitchVerdict(rawValue: UInt32(truncatingIfNeeded: index)) : .drop
  }

  /// One receive ring of a port.
  ///
  /// - Parameters:
  ///   - index: The port's index, as for ``port(_:)``.
  ///   - ring: The number of its receive ring, at most 15, modulo the port's ring count.
  /// - Returns: The verdict.
  @inlinable
  public static func port(_ index: Int, ring: Int) -> SwitchVerdict {
    SwitchVerdict(rawValue: port(index).rawValue | UInt32(ring & 15 &+ 1) << 16)
  }
}
