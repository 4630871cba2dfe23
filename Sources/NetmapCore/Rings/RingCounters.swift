/// The events on a ring since its port was created.
///
/// Every process that syncs the ring counts in shared memory, so a reader in any process sees the counts.
public struct RingCounters: Hashable, Sendable {
  /// Complete packets that passed through the ring.
  public var packets: UInt64 = 0
  /// Bytes of those packets, without CRC.
  public var bytes: UInt64 = 0
  /// Completed syncs.
  ///
  /// A transmit sync that reset the ring is not included.
  public var syncs: UInt64 = 0
  /// Syncs skipped because another thread was syncing the same ring.
  public var busySyncs: UInt64 = 0
  /// System calls of syncs: wake-ups of a sleeper, and system calls of the backend.
  public var systemCalls: UInt64 = 0
  /// Sleeps of threads that waited for this ring.
  public var sleeps: UInt64 = 0
  /// Times the ring was reset because `head` or `cur` was out of place.
  public var resets: UInt64 = 0

  /// Slots whose bytes a sync moved within the buffer, because the kernel had put them at another offset than the
  /// slot's, or, in a ring without offsets, than the one that netmap applications use.
  public var moves: UInt64 = 0

  /// Refusals of a packet by an interface, after which the packet is not dropped but sent again later.
  ///
  /// The interface may count each refusal as a drop of its own. For a switch port: syncs that left packets in the
  /// ring because a receiver with back-pressure had no room.
  public var retries: UInt64 = 0

  /// Broadcast packets on a switch; included in ``packets``.
  public var broadcasts: UInt64 = 0

  /// Copies of broadcasts for their receivers, plus further pieces into which senders segmented packets for ports
  /// without virtio-net headers.
  ///
  /// Each copy is delivered or counted as a drop. So over all ports of a switch: packets sent, minus broadcasts,
  /// plus copies equals packets received plus drops of transmit and receive rings. The equation does not hold
  /// while packets are in flight, because the receiver's sync counts them.
  public var copies: UInt64 = 0

  /// Packets that passed between the two ends of a veth in shared memory, not through the kernel; included in ``packets``.
  public var shortCutPackets: UInt64 = 0

  /// What a backend completed in received frames.
  public var repairs = RepairCounters()

  /// Packets, or slots of packets, that were dropped, by reason.
  public var drops = DropCounters()

  public init() {}

  /// Adds the counters of another ring.
  public static func += (sum: inout RingCounters, other: RingCounters) {
    sum.packets &+= other.packets
    sum.bytes &+= other.bytes
    sum.syncs &+= other.syncs
    sum.busySyncs &+= other.busySyncs
    sum.systemCalls &+= other.systemCalls
    sum.sleeps &+= other.sleeps
    sum.resets &+= other.resets
    sum.moves &+= other.moves
    sum.retries &+= other.retries
    sum.broadcasts &+= other.broadcasts
    sum.copies &+= other.copies
    sum.shortCutPackets &+= other.shortCutPackets
    sum.repairs += other.repairs
    for reason in DropReason.allCases { sum.drops[reason] &+= other.drops[reason] }
  }
}

/// The reason for dropping a packet.
///
/// The list is closed; the raw values are positions in shared memory.
public enum DropReason: Int, Hashable, Sendable, CaseIterable {
  /// The receiver had no free slot.
  case ringFull = 0
  /// The slot names an invalid buffer, or a buffer that the application does not hold.
  case badBufferIndex = 1
  /// The slot's length does not fit the buffer.
  case badLength = 2
  /// The port is attached to nothing and has no receiver.
  case notAttached = 3
  /// The kernel refused or lost the frame.
  case kernel = 4
  /// The receiver's ring was full because another sender had stopped while filling it.
  case busy = 5
  /// The sender's process had not mapped the receiver's memory yet.
  case unknownRegion = 6
  /// The packet is shorter than an Ethernet header: less than 14 bytes.
  case tooShort = 7
  /// The destination address was last seen on the port that sent the packet, or on a port that is gone.
  case noDestination = 8
  /// The module of the switch dropped the packet.
  case filtered = 9
  /// The packet has more slots than allowed.
  case tooManyFragments = 10
  /// No binding had the receive ring open.
  case noReceiver = 11
  /// The virtio-net header requests an unsupported operation, or the headers after it are damaged.
  case badHeader = 12
  /// The slot refers to a packet in the sender's own memory (`NS_INDIRECT`), but other processes could have
  /// written the address.
  case indirect = 13
  /// The sender left a checksum or the segmentation to the interface, and the backend cannot do that work for this
  /// kind of packet (SCTP, and tunnels whose inner packets would have to be segmented).
  case unfinished = 14

  /// The word used in reports, such as `ring_full`.
  public var name: String {
    switch self {
    case .ringFull: "ring_full"
    case .badBufferIndex: "bad_buffer_index"
    case .badLength: "bad_length"
    case .notAttached: "not_attached"
    case .kernel: "kernel"
    case .busy: "busy"
    case .unknownRegion: "unknown_region"
    case .tooShort: "too_short"
    case .noDestination: "no_destination"
    case .filtered: "filtered"
    case .tooManyFragments: "too_many_fragments"
    case .noReceiver: "no_receiver"
    case .badHeader: "bad_header"
    case .indirect: "indirect"
    case .unfinished: "unfinished"
    }
  }
}

/// Drops by ``DropReason``.
public struct DropCounters: Hashable, Sendable {
  private var counts = [UInt64](repeating: 0, count: DropReason.allCases.count)

  public init() {}

  public subscript(reason: DropReason) -> UInt64 {
    get { counts[reason.rawValue] }
    set { counts[reason.rawValue] = newValue }
  }

  /// All drops together.
  public var total: UInt64 { counts.reduce(0, &+) }
}

extension DropCounters: CustomStringConvertible {
  /// The reasons for which packets were dropped, such as `ring_full 3, bad_length 1`; `none` without drops.
  public var description: String {
    let reasons = DropReason.allCases.filter { self[$0] > 0 }
    return reasons.isEmpty
      ? "none" : reasons.map { "\($0.name) \(self[$0])" }.joined(separator: ", ")
  }
}

extension MappedRing {
  /// The current counters of the ring, not a consistent snapshot.
  package var counters: RingCounters {
    var result = unsafe kring.counters
    if unsafe (kind == .pipe || kind == .monitor) && direction == .receive {
      // The packets that the sender handed over have arrived here; counting them twice would cost time.
      let sent = unsafe peerKRing.counters
      result.packets = sent.packets
      result.bytes = sent.bytes
    }
    if unsafe kind == .vale && direction == .receive { unsafe addRefusals(to: &result.drops) }
    return result
  }
}
