/// The data that a ring of a switch port needs in addition to the data of every ring.
///
/// Plain data, built once from mappings.
@unsafe
struct SwitchPath {
  let vale: SwitchView
  /// The cells of the process's ``DestinationTable``.
  let cells: UnsafeMutableRawPointer
  /// The port's own index on the switch.
  let port: UInt32
  /// The working memory of a transmit ring; nil for a receive ring.
  let scratch: ForwardScratch?
  /// The leases of a receive ring; nil for a transmit ring.
  let leases: LeaseTable?
  let resolver: DestinationResolver?
  /// Tells which sync of the ring this process is in.
  let epoch: SyncEpoch
  /// Memory besides the ring's buffers from which packets may be sent.
  var indirect = IndirectMemory.none
  /// Memory for the indirect packets of a batch, if the kernel copies them
  /// (``IndirectMemory/allCopied``): a buffer's size for each frame.
  var copies: UnsafeMutableRawPointer?

  /// - Parameters:
  ///   - vale: The port's place on the switch.
  ///   - ring: The ring.
  ///   - segment: The port's sync segment.
  ///   - resolver: Fetches the memory of other processes' ports.
  ///   - epochs: The epochs of the port's rings in this process.
  init(
    _ vale: SwitchMapping, _ ring: RingParts, _ segment: SyncSegment,
    _ resolver: DestinationResolver?, _ epochs: SyncEpochs
  ) {
    unsafe epoch = epochs.epoch(ring.direction, ring.kring.switchRingID)
    unsafe self.vale = vale.segment.view
    unsafe cells = vale.destinations.cells
    unsafe port = UInt32(vale.index)
    unsafe self.resolver = resolver
    switch unsafe ring.direction {
    case .transmit:
      unsafe scratch = .allocate()
      unsafe leases = nil
    case .receive:
      unsafe scratch = nil
      let index = unsafe ring.kring.switchRingID
      // If the ring has another number of slots than the segment says, its leases could be overrun.
      let fits = unsafe segment.leaseSlots == Int(ring.ring.slotCount)
      unsafe leases = (fits ? segment.leases(index) : nil).map { unsafe LeaseTable(base: $0) }
    }
  }
}

/// The memory of its own process from which a transmit ring of a switch port sends indirect packets
/// (`NS_INDIRECT`).
///
/// Every process on the switch can write to the slots of all its ports, even between an
/// application's store and its sync. The address in a slot may therefore come from any of these
/// processes. The sync follows it only into memory where this is harmless.
package struct IndirectMemory: Hashable, Sendable {
  private let first: UInt
  private let last: UInt
  /// Whether the kernel copies packets before the sync looks at them.
  let isCopied: Bool

  /// No memory: the default.
  package static let none = IndirectMemory(first: 1, last: 0)
  /// All memory: for the ports of an application whose engine is in its own process, where no other
  /// process has the switch mapped.
  package static let all = IndirectMemory(first: 0, last: .max)
  /// All memory, also where other processes have the switch mapped: for a program whose user has
  /// accepted that these processes can have any bytes of the program sent.
  ///
  /// The kernel copies each packet, because an address may be wild, and another thread of the
  /// program may unmap the memory at any time.
  package static let allCopied = IndirectMemory(first: 0, last: .max, isCopied: true)

  private init(first: UInt, last: UInt, isCopied: Bool = false) {
    self.first = first
    self.last = last
    self.isCopied = isCopied
  }

  /// Memory that every process on the switch may read.
  package init(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress, bytes.count > 0 else {
      self = .none
      return
    }
    first = UInt(bitPattern: base)
    last = first &+ UInt(bytes.count) &- 1
    isCopied = false
  }

  var isNone: Bool { first > last }

  /// Whether all bytes of a packet lie in this memory.
  func contains(_ address: UInt64, _ length: UInt64) -> Bool {
    guard !isNone, let start = UInt(exactly: address), start >= first, start <= last else {
      return false
    }
    return length == 0 || length &- 1 <= UInt64(last &- start)
  }
}

/// Fetches the memory of other processes' ports that were announced to this process, but not mapped
/// yet.
///
/// A sync calls it when a packet is for a port that the process's ``DestinationTable`` does not
/// have.
@unsafe
package struct DestinationResolver: @unchecked Sendable {
  let context: UnsafeMutableRawPointer
  let fetch: @convention(c) (UnsafeMutableRawPointer) -> Void

  /// - Parameters:
  ///   - context: Must outlive every port that uses the resolver.
  ///   - fetch: Installs the announced ports; must not block.
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
  /// The index of the next packet on the same list.
  var next: UInt16 = 0
  /// In the first frame of a packet: the number of its frames.
  var fragments: UInt8 = 0
  /// Whether the packet goes on in the next frame.
  var continues: Bool
  /// In the first frame of a packet: why the packet is dropped (``DropReason``, plus one), or 0.
  var fault: UInt8 = 0
  /// In the first frame of a packet, during the lookup: how the frame was changed (``HeaderSkip``).
  var skip = HeaderSkip.none
  /// The list that the packet is on, if the batch is delivered in ring order (``ListID``).
  var place: UInt16 = 0

  /// Whether the bytes are too few for a packet's Ethernet addresses; also true for an invalid slot.
  @inline(__always)
  var isTooShort: Bool { unsafe UInt64(length) < SlotRule.shortestFrame }
}

extension UnsafeMutablePointer<Frame> {
  /// Stores a frame in three words instead of nine stores, one for each member.
  ///
  /// A test checks the places of the members.
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

/// A list of packets for the same receivers, linked by ``Frame/next``.
struct FrameQueue {
  var head: UInt16 = 0
  var last: UInt16 = 0
  var packets: UInt16 = 0
  var slots: UInt16 = 0
}

/// The working memory of forwarding, one for each transmit ring, used by the holder of the ring's
/// lock.
@unsafe
struct ForwardScratch {
  /// A batch ends with the packet that reaches the limit, and may exceed the limit by that packet.
  static let frameCount = Int(SwitchLimits.batch) + SwitchLimits.fragments
  /// One list for each port and ring.
  static let queueCount = SwitchLimits.indexes * SwitchLimits.rings.upperBound

  /// The most header bytes of a packet that is segmented.
  static let headerBytes = 256

  let frames: UnsafeMutablePointer<Frame>
  let queues: UnsafeMutablePointer<FrameQueue>
  let headers: UnsafeMutableRawPointer
  /// The lists that are not empty, in the order in which they got their first packets.
  let touched: UnsafeMutablePointer<UInt16>
  /// A module's verdict on each packet, at the index of the packet's first frame.
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
