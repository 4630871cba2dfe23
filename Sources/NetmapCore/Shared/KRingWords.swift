internal import Synchronization

// Accessors for every word of a kring besides the cursors, each with the ordering that the word needs. Code that
// needs another word must add an accessor here.

/// The description of a ring in its kring, from which a process builds its own view of the ring: each word loaded
/// once and not validated.
package struct KRingDescription: Equatable, Sendable {
  package var slotCount: UInt32
  package var ringID: UInt32
  package var direction: UInt32
  package var kind: UInt32
  /// Offset of the ring in the region, in bytes.
  package var ringOffset: UInt64

  package init(
    slotCount: UInt32, ringID: UInt32, direction: UInt32, kind: UInt32, ringOffset: UInt64
  ) {
    self.slotCount = slotCount
    self.ringID = ringID
    self.direction = direction
    self.kind = kind
    self.ringOffset = ringOffset
  }
}

extension KRing {
  package var description: KRingDescription {
    unsafe KRingDescription(
      slotCount: rawWord(KRingLayout.slotCount), ringID: rawWord(KRingLayout.ringID),
      direction: rawWord(KRingLayout.direction), kind: rawWord(KRingLayout.kind),
      ringOffset: rawLongWord(KRingLayout.ringOffset))
  }

  func store(_ description: KRingDescription) {
    unsafe setRawWord(KRingLayout.slotCount, description.slotCount)
    unsafe setRawWord(KRingLayout.ringID, description.ringID)
    unsafe setRawWord(KRingLayout.direction, description.direction)
    unsafe setRawWord(KRingLayout.kind, description.kind)
    unsafe setRawLongWord(KRingLayout.ringOffset, description.ringOffset)
  }

  /// Fills the kring with zeros.
  func clear() {
    unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: KRingLayout.byteCount)
  }

  /// The ring's number within its direction, as stored.
  ///
  /// For a switch port, whose ring numbers are below 16, use ``switchRingID``.
  var ringID: UInt32 { unsafe rawWord(KRingLayout.ringID) }

  /// Offset of the other end's kring in the segment, and of its ring in the region: bytes, as stored.
  var peer: (kring: UInt64, ring: UInt64) {
    unsafe (rawLongWord(KRingLayout.peerKRing), rawLongWord(KRingLayout.peerRingOffset))
  }

  func store(peerKRing: UInt64, peerRing: UInt64) {
    unsafe setRawLongWord(KRingLayout.peerKRing, peerKRing)
    unsafe setRawLongWord(KRingLayout.peerRingOffset, peerRing)
  }
}

// MARK: - Positions and wait words

extension KRing {
  /// This side's position, as it last wrote it.
  ///
  /// This copy lies on a line that the other side does not read. A load of ``KRingLayout/position`` itself would
  /// fetch that line back from the other CPU.
  @inline(__always)
  package var published: UInt32 { unsafe rawWord(KRingLayout.published) }

  /// The other side's current position, with acquire ordering: everything the other side stored before is
  /// visible.
  @inline(__always)
  package func acquirePosition() -> UInt32 {
    unsafe rawAtomicWord(KRingLayout.position).pointee.load(ordering: .acquiring)
  }

  /// The other side's position like ``acquirePosition()``; nil when it is not below `count`, the ring's slot
  /// count.
  @inline(__always)
  func acquirePosition(below count: UInt32) -> UInt32? {
    let position = unsafe acquirePosition()
    return position < count ? position : nil
  }

  /// Publishes a position.
  ///
  /// Uses an exchange, which is the cheapest full fence: this side must not read the wait word before the
  /// position is visible.
  @inline(__always)
  func publish(position: UInt32) {
    _ = unsafe rawAtomicWord(KRingLayout.position).pointee.exchange(
      position, ordering: .sequentiallyConsistent)
    unsafe setRawWord(KRingLayout.published, position)
  }

  /// Publishes a position without a full fence, for a position that no sleeper waits for.
  @inline(__always)
  func release(position: UInt32) {
    unsafe rawAtomicWord(KRingLayout.position).pointee.store(position, ordering: .releasing)
    unsafe setRawWord(KRingLayout.published, position)
  }

  /// Whether a sleeper waits for progress on this side.
  ///
  /// Read it after ``publish(position:)``.
  @inline(__always)
  var outboxWaitWordIsSet: Bool {
    unsafe rawAtomicWord(KRingLayout.waitWord).pointee.load(ordering: .sequentiallyConsistent) != 0
  }

  /// The wait word in this side's outbox; the other end arms it.
  @inline(__always)
  func outboxWaitWord(_ list: UnsafeMutableRawPointer) -> WaitWord {
    unsafe WaitWord(word: base + KRingLayout.waitWord, list: list)
  }

  /// The contents of the wait word, for display.
  var announced: UInt32 { unsafe rawWord(KRingLayout.waitWord) }
}

// MARK: - Of a switch port

extension KRing {
  /// The ring's number, masked to 0...15: a switch port has no more rings.
  @inline(__always)
  var switchRingID: Int { unsafe Int(rawWord(KRingLayout.ringID) & 15) }

  /// The next lease that a receive ring takes over.
  @inline(__always)
  var arriving: Reservation {
    get { unsafe Reservation(rawLongWord(KRingLayout.arriving)) }
    nonmutating set { unsafe setRawLongWord(KRingLayout.arriving, newValue.rawValue) }
  }

  /// Whether senders keep packets that do not fit in a receive ring, and wait for room.
  @inline(__always)
  var holdsSenders: Bool {
    get { unsafe rawWord(KRingLayout.holdsSenders) != 0 }
    nonmutating set { unsafe setRawWord(KRingLayout.holdsSenders, newValue ? 1 : 0) }
  }

  /// The virtio-net header and the longest frame of the ring's port.
  @inline(__always)
  var frameShape: FrameShape {
    get { unsafe FrameShape(rawLongWord(KRingLayout.frameShape)) }
    nonmutating set { unsafe setRawLongWord(KRingLayout.frameShape, newValue.rawValue) }
  }

  /// Offset at which senders find a receive ring in its region, in bytes.
  ///
  /// - Parameter last: The last position at which a ring fits in the region, in units of 128 bytes; every ring
  ///   begins at a multiple of 128.
  /// - Returns: Nil when the stored offset is beyond that position or not a multiple of 128.
  @inline(__always)
  func openRingOffset(upTo last: UInt64) -> Int? {
    let offset = unsafe rawLongWord(KRingLayout.openRingOffset)
    // The rotation turns an offset that is not a multiple of 128 into a huge number.
    let unit = offset >> 7 | offset << 57
    return unit <= last ? Int(truncatingIfNeeded: offset) : nil
  }

  func store(openRingOffset: UInt64) {
    unsafe setRawLongWord(KRingLayout.openRingOffset, openRingOffset)
  }

  /// ``offsetMask`` of a receive ring, for its senders.
  @inline(__always)
  var openOffsetMask: UInt64 {
    get { unsafe rawLongWord(KRingLayout.openOffsetMask) }
    nonmutating set { unsafe setRawLongWord(KRingLayout.openOffsetMask, newValue) }
  }

  /// ``offsetMax`` of a receive ring, for its senders, as stored.
  @inline(__always)
  var openOffsetMax: UInt64 {
    get { unsafe rawLongWord(KRingLayout.openOffsetMax) }
    nonmutating set { unsafe setRawLongWord(KRingLayout.openOffsetMax, newValue) }
  }

  /// Removes and returns the ports whose senders sleep until a receive ring has room: the bits of ports `64 *
  /// part ..< 64 * (part + 1)`, with `part` below 4.
  ///
  /// Call it after a full fence.
  func takeHeldSenders(_ part: Int) -> UInt64 {
    let word = unsafe rawAtomicLongWord(KRingLayout.heldSenders &+ 8 &* (part & 3))
    guard unsafe word.pointee.load(ordering: .relaxed) != 0 else { return 0 }
    return unsafe word.pointee.exchange(0, ordering: .sequentiallyConsistent)
  }

  /// Records that the senders of a port, whose index is below 256, sleep until a receive ring has room.
  func addHeldSender(_ port: Int) {
    let word = unsafe rawAtomicLongWord(KRingLayout.heldSenders &+ 8 &* ((port >> 6) & 3))
    _ = unsafe word.pointee.bitwiseOr(
      1 << UInt64(port & 63), ordering: .sequentiallyConsistent)
  }

  /// Why a sender found no room in a receive ring.
  enum Refusal {
    /// The ring was full.
    case full
    /// The ring was full because another sender had stopped in the middle of filling it.
    case busy

    @inline(__always)
    fileprivate var offset: Int {
      switch self {
      case .full: KRingLayout.refusedFull
      case .busy: KRingLayout.refusedBusy
      }
    }
  }

  @inline(__always)
  func refused(_ refusal: Refusal) -> UInt64 { unsafe rawLongWord(refusal.offset) }

  /// Counts packets that a sender could not deliver.
  ///
  /// Any thread may call this.
  func countRefused(_ refusal: Refusal, _ packets: UInt64) {
    _ = unsafe rawAtomicLongWord(refusal.offset).pointee.wrappingAdd(packets, ordering: .relaxed)
  }

  /// The slot of the broadcast that some receivers already have, plus one; 0 when there is no such broadcast.
  @inline(__always)
  var deliveredSlot: UInt32 {
    get { unsafe rawWord(KRingLayout.deliveredSlot) }
    nonmutating set { unsafe setRawWord(KRingLayout.deliveredSlot, newValue) }
  }

  /// The ports that already have that broadcast: bits as in ``takeHeldSenders(_:)``.
  @inline(__always)
  func delivered(_ part: Int) -> UInt64 {
    unsafe rawLongWord(KRingLayout.delivered &+ 8 &* (part & 3))
  }

  @inline(__always)
  func setDelivered(_ part: Int, _ ports: UInt64) {
    unsafe setRawLongWord(KRingLayout.delivered &+ 8 &* (part & 3), ports)
  }
}

// MARK: - For people to read

extension KRing {
  /// The ports whose senders sleep until a receive ring has room: bits as in ``takeHeldSenders(_:)``.
  func heldSenders(_ part: Int) -> UInt64 {
    unsafe rawLongWord(KRingLayout.heldSenders &+ 8 &* (part & 3))
  }
}

extension SyncSegment {
  /// The cells of the list of waiters that hold an announcement.
  var listedWaiters: [UInt32] {
    unsafe (0..<WaitWord.listCount).map {
      load(SyncSegmentLayout.waiters + 4 * $0, as: UInt32.self)
    }.filter { $0 != 0 }
  }
}
