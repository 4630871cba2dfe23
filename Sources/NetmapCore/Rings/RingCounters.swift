/// What happened on a ring since its port was created.
///
/// Counted in shared memory by whoever syncs the ring, so a reader in any process sees them.
public struct RingCounters: Hashable, Sendable {
  /// Complete packets that went through the ring.
  public var packets: UInt64 = 0
  /// Bytes of those packets, without CRC.
  public var bytes: UInt64 = 0
  /// Syncs that did their work.
  public var syncs: UInt64 = 0
  /// Syncs skipped because another thread was syncing the same ring.
  public var busySyncs: UInt64 = 0
  /// System calls made by syncs: wake-ups of a sleeper, and whatever the backend needed.
  public var systemCalls: UInt64 = 0
  /// Times somebody slept waiting for this ring.
  public var sleeps: UInt64 = 0
  /// Times the ring was reset because `head` or `cur` was out of place.
  public var resets: UInt64 = 0

  /// Slots whose bytes had to be moved within their buffer, because the kernel had put them
  /// somewhere else than netmap's applications look.
  public var moves: UInt64 = 0

  /// Times an interface refused a packet that is not given up but sent again later. The interface may
  /// count each of them as a drop of its own. Of a switch port: syncs that left packets in the ring,
  /// because a receiver who does not let them be dropped had no room.
  public var retries: UInt64 = 0

  /// Packets for everybody on a switch; among ``packets``.
  public var broadcasts: UInt64 = 0

  /// How many ports those were for, and into how many pieces beyond the first packets were cut for ports
  /// without virtio-net headers. Each copy is delivered or counted as a drop, so over all ports of a switch
  /// packets sent, minus broadcasts, plus copies is packets received plus drops, those of transmit and
  /// receive rings. Not while packets are on their way: those are counted as received by a receiver's sync.
  public var copies: UInt64 = 0

  /// Packets, or slots of packets, that were not passed on, by reason.
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
    for reason in DropReason.allCases { sum.drops[reason] &+= other.drops[reason] }
  }
}

/// Why a packet was dropped. The list is closed; its numbers are a place in shared memory.
public enum DropReason: Int, Hashable, Sendable, CaseIterable {
  /// The receiver had no free slot.
  case ringFull = 0
  /// The slot names no buffer of the region, or one that is not the application's.
  case badBufferIndex = 1
  /// The length does not fit the buffer.
  case badLength = 2
  /// The port is attached to nothing, so there was nobody to send to.
  case notAttached = 3
  /// The kernel refused or lost the frame.
  case kernel = 4
  /// The receiver's ring was full because another sender had stopped in the middle of filling it.
  case busy = 5
  /// The sender's process had not mapped the receiver's memory yet.
  case unknownRegion = 6
  /// Too short to have addresses: less than 14 bytes.
  case tooShort = 7
  /// The address was last seen on the port it was sent from, or on one that has gone.
  case noDestination = 8
  /// The module of the switch said so.
  case filtered = 9
  /// More slots than a packet may have.
  case tooManyFragments = 10
  /// Nobody had the receive ring open.
  case noReceiver = 11
  /// The virtio-net header asks for what cannot be done, or the headers behind it are damaged.
  case badHeader = 12
  /// The slot asked for a packet from the sender's own memory (`NS_INDIRECT`), where other processes could have
  /// written the address.
  case indirect = 13

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

extension AttachedRing {
  /// The counters of the ring; not one instant for all of them.
  package var counters: RingCounters {
    var result = unsafe kring.counters
    if unsafe kind == .pipe && direction == .receive {
      // What the sender has handed over is what has arrived here; counting it twice would cost time.
      let sent = unsafe peerKRing.counters
      result.packets = sent.packets
      result.bytes = sent.bytes
    }
    if unsafe kind == .bridge && direction == .receive { unsafe addRefusals(to: &result.drops) }
    return result
  }
}
