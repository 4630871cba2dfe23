/// What a ring of a switch port needs beyond what every ring has. Plain data, built once from mappings.
@unsafe
struct SwitchPath {
  let bridge: BridgeView
  /// The process's ``DestinationTable``.
  let cells: UnsafeMutableRawPointer
  /// The port's own index on the switch.
  let port: UInt32
  /// Of a transmit ring.
  let scratch: ForwardScratch?
  /// Of a receive ring.
  let leases: LeaseTable?
  let resolver: DestinationResolver?
  /// Which sync of the ring this process is in.
  let epoch: SyncEpoch
  /// What packets may be sent from besides the ring's buffers.
  var indirect = IndirectMemory.none

  /// - Parameters:
  ///   - bridge: The port's place on the switch.
  ///   - ring: The ring.
  ///   - segment: The port's sync segment.
  ///   - resolver: What fetches the memory of other processes' ports.
  ///   - epochs: Of the port's rings, in this process.
  init(
    _ bridge: BridgeAttachment, _ ring: RingParts, _ segment: SyncSegment,
    _ resolver: DestinationResolver?, _ epochs: SyncEpochs
  ) {
    unsafe epoch = epochs.epoch(ring.direction, ring.kring.switchRingID)
    unsafe self.bridge = bridge.segment.view
    unsafe cells = bridge.destinations.cells
    unsafe port = UInt32(bridge.index)
    unsafe self.resolver = resolver
    switch unsafe ring.direction {
    case .transmit:
      unsafe scratch = .allocate()
      unsafe leases = nil
    case .receive:
      unsafe scratch = nil
      let index = unsafe ring.kring.switchRingID
      // The leases of a ring with other slots than the segment says could be overrun.
      let fits = unsafe segment.leaseSlots == Int(ring.ring.slotCount)
      unsafe leases = (fits ? segment.leases(index) : nil).map { unsafe LeaseTable(base: $0) }
    }
  }
}

/// Which memory of its own process a transmit ring of a switch port takes packets from where a slot says
/// `NS_INDIRECT`.
///
/// Every process on a switch can write to the slots of all its ports, between an application's store and its
/// sync too. So an address in a slot is a wish of any of them, and followed only where that is harmless.
package struct IndirectMemory: Hashable, Sendable {
  private let first: UInt
  private let last: UInt

  /// None of it: what a port has that nobody has said anything else about.
  package static let none = IndirectMemory(first: 1, last: 0)
  /// All of it: for the ports of an application whose engine is in its own process, where no other process has
  /// the switch mapped.
  package static let all = IndirectMemory(first: 0, last: .max)

  private init(first: UInt, last: UInt) {
    self.first = first
    self.last = last
  }

  /// Bytes that everybody on the switch may read.
  package init(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress, bytes.count > 0 else {
      self = .none
      return
    }
    first = UInt(bitPattern: base)
    last = first &+ UInt(bytes.count) &- 1
  }

  var isNone: Bool { first > last }

  /// Whether all bytes of a packet lie in it.
  func contains(_ address: UInt64, _ length: UInt64) -> Bool {
    guard !isNone, let start = UInt(exactly: address), start >= first, start <= last else {
      return false
    }
    return length == 0 || length &- 1 <= UInt64(last &- start)
  }
}

/// Fetches the memory of ports of other processes that has been announced but not yet looked at. Called
/// when a packet is for a port that the process's ``DestinationTable`` does not have.
@unsafe
package struct DestinationResolver: @unchecked Sendable {
  let context: UnsafeMutableRawPointer
  let fetch: @convention(c) (UnsafeMutableRawPointer) -> Void

  /// - Parameters:
  ///   - context: Must outlive every port that uses the resolver.
  ///   - fetch: Installs what has been announced; must not block.
  package init(
    context: UnsafeMutableRawPointer,
    fetch: @escaping @convention(c) (UnsafeMutableRawPointer) -> Void
  ) {
    unsafe self.context = context
    unsafe self.fetch = fetch
  }
}

/// A slot on its way from a transmit ring to receive rings, as it was when it was checked.
@unsafe
struct Frame {
  var bytes: UnsafeRawPointer
  /// Bytes that may be read from `bytes` on.
  var room: UInt32
  var length: UInt16
  /// The next packet for the same receivers.
  var next: UInt16 = 0
  /// Of a packet's first frame: how many it has.
  var fragments: UInt8 = 0
  /// Whether the packet goes on in the next frame.
  var continues: Bool
  /// Of a packet's first frame: why it goes to nobody, where it does not (``DropReason``, plus one).
  var fault: UInt8 = 0
  /// Of a packet's first frame, during the lookup: how it was changed (``HeaderSkip``).
  var skip = HeaderSkip.none
  /// The list that the packet is on, where batches are delivered in order (``FramePlace``).
  var place: UInt16 = 0
}

extension UnsafeMutablePointer<Frame> {
  /// Stores a frame in three words, where member by member it would be nine stores. The places of the members
  /// are checked by a test.
  @inline(__always)
  func store(
    _ bytes: UnsafeMutableRawPointer, room: UInt32, _ length: UInt16, fragments: UInt8,
    continues: Bool
  ) {
    let words = unsafe UnsafeMutableRawPointer(self).assumingMemoryBound(to: UInt64.self)
    unsafe words[0] = UInt64(UInt(bitPattern: bytes))
    unsafe words[1] = UInt64(room) | UInt64(length) << 32
    unsafe words[2] = UInt64(fragments) | (continues ? 1 << 8 : 0)
  }
}

/// Packets for the same receivers, linked by ``Frame/next``.
struct FrameQueue {
  var head: UInt16 = 0
  var last: UInt16 = 0
  var packets: UInt16 = 0
  var slots: UInt16 = 0
}

/// The memory that forwarding works in: one for each transmit ring, used by whoever holds its lock.
@unsafe
struct ForwardScratch {
  /// A batch ends with the packet that fills it.
  static let frameCount = Int(SwitchLimits.batch) + SwitchLimits.fragments
  /// A list for each port and ring.
  static let queueCount = SwitchLimits.indexes * SwitchLimits.rings.upperBound

  /// Bytes of headers of a packet that is cut into segments, at most.
  static let headerBytes = 256

  let frames: UnsafeMutablePointer<Frame>
  let queues: UnsafeMutablePointer<FrameQueue>
  let headers: UnsafeMutableRawPointer
  /// Lists that are not empty, in the order in which they got their first packet.
  let touched: UnsafeMutablePointer<UInt16>
  /// What a module says of each packet, at the place of its first frame.
  let verdicts: UnsafeMutablePointer<UInt32>

  private init(at base: UnsafeMutableRawPointer) {
    let queues = unsafe base + Self.frameCount * MemoryLayout<Frame>.stride
    let touched = unsafe queues + Self.queueCount * MemoryLayout<FrameQueue>.stride
    unsafe frames = base.assumingMemoryBound(to: Frame.self)
    unsafe self.queues = queues.assumingMemoryBound(to: FrameQueue.self)
    unsafe self.touched = touched.assumingMemoryBound(to: UInt16.self)
    let verdicts = unsafe touched + Self.queueCount * MemoryLayout<UInt16>.stride
    unsafe self.verdicts = verdicts.assumingMemoryBound(to: UInt32.self)
    unsafe headers = verdicts + Self.frameCount * MemoryLayout<UInt32>.stride
  }

  static func allocate() -> ForwardScratch {
    let byteCount =
      unsafe frameCount * (MemoryLayout<Frame>.stride + MemoryLayout<UInt32>.stride) + queueCount
      * (MemoryLayout<FrameQueue>.stride + MemoryLayout<UInt16>.stride) + headerBytes
    let base = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 128)
    unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    return unsafe ForwardScratch(at: base)
  }

  func deallocate() {
    unsafe UnsafeMutableRawPointer(frames).deallocate()
  }
}
