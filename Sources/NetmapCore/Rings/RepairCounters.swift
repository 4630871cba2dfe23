/// What was completed in the frames that an interface received.
///
/// A sender on the same host leaves work to its interface: checksums, VLAN tags, and cutting long packets into
/// segments. A virtual interface may leave that work to the receiver, and an interface that joins segments (GRO) makes
/// some of it. The backend does the work, so that the application sees the packets as a wire would have carried them.
public struct RepairCounters: Hashable, Sendable {
  /// Packets whose unfinished checksum was completed.
  public var checksums: UInt64 = 0
  /// Packets that were cut into segments, which count as ``RingCounters/packets`` one by one.
  public var superPackets: UInt64 = 0
  /// Packets whose VLAN tag was put back into the frame.
  public var tags: UInt64 = 0

  public init() {}

  /// All repairs together. A packet can need several.
  public var total: UInt64 { checksums &+ superPackets &+ tags }

  /// Adds the counters of another ring.
  public static func += (sum: inout RepairCounters, other: RepairCounters) {
    sum.checksums &+= other.checksums
    sum.superPackets &+= other.superPackets
    sum.tags &+= other.tags
  }
}

extension RepairCounters: CustomStringConvertible {
  /// The repairs, such as `checksums 3, vlan_tags 1`; `none` when there were none.
  public var description: String {
    let repairs = fields.filter { $0.value > 0 }
    return repairs.isEmpty
      ? "none" : repairs.map { "\($0.name) \($0.value)" }.joined(separator: ", ")
  }

  /// Each counter with the word used in reports.
  package var fields: [(name: String, value: UInt64)] {
    [("checksums", checksums), ("super_packets", superPackets), ("vlan_tags", tags)]
  }
}
