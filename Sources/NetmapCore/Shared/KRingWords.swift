internal import Synchronization

// Every word of a kring besides the cursors, by name, each with the ordering that it needs. Whoever wants
// another one adds an accessor here.

/// What a kring says about itself, so that a process can build its own view of the ring: each word loaded once,
/// none of them compared with anything.
package struct KRingDescription: Equatable, Sendable {
  package var slotCount: UInt32
  package var ringID: UInt32
  package var direction: UInt32
  package var kind: UInt32
  /// Where the ring lies in the region, bytes.
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

  /// The ring's number among those of its direction, as stored. A switch port's are below 16: see
  /// ``switchRingID``.
  var ringID: UInt32 { unsafe rawWord(KRingLayout.ringID) }

  /// Where the other end's kring is in the segment, and its ring in the region: bytes, as stored.
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
  /// This side's position, as it wrote it last. On a line that the other side does not read: a look at
  /// ``KRingLayout/position`` itself would fetch that line back from the other CPU.
  @inline(__always)
  package var published: UInt32 { unsafe rawWord(KRingLayout.published) }

  /// The other side's position as it stands, and with it everything that it wrote before.
  @inline(__always)
  package func acquirePosition() -> UInt32 {
    unsafe rawAtomicWord(KRingLayout.position).pointee.load(ordering: .acquiring)
  }

  /// The same, nil when it is not below `count`, the ring's slots.
  @inline(__always)
  func acquirePosition(below count: UInt32) -> UInt32? {
    let position = unsafe acquirePosition()
    return position < count ? position : nil
  }

  /// Publishes a position. An exchange, because it is the cheapest full fence: the wait word must not
  /// be read before the position is visible.
  @inline(__always)
  func publish(position: UInt32) {
    _ = unsafe rawAtomicWord(KRingLayout.position).pointee.exchange(
      position, ordering: .sequentiallyConsistent)
    unsafe setRawWord(KRingLayout.published, position)
  }

  /// The same without a fence: for a position that no sleeper waits for.
  @inline(__always)
  func release(position: UInt32) {
    unsafe rawAtomicWord(KRingLayout.position).pointee.store(position, ordering: .releasing)
    unsafe setRawWord(KRingLayout.published, position)
  }

  /// Whether somebody sleeps until this side makes progress. After ``publish(position:)``.
  @inline(__always)
  var outboxWaitWordIsSet: Bool {
    unsafe rawAtomicWord(KRingLayout.waitWord).pointee.load(ordering: .sequentiallyConsistent) != 0
  }

  /// The wait word in this side's outbox, which the other end arms.
  @inline(__always)
  func outboxWaitWord(_ list: UnsafeMutableRawPointer) -> WaitWord {
    unsafe WaitWord(word: base + KRingLayout.waitWord, list: list)
  }

  /// What the wait word holds: to be shown.
  var announced: UInt32 { unsafe rawWord(KRingLayout.waitWord) }
}

// MARK: - Of a switch port

extension KRing {
  /// The ring's number, 0 to 15: a switch port has no more.
  @inline(__always)
  var switchRingID: Int { unsafe Int(rawWord(KRingLayout.ringID) & 15) }

  /// The lease that a receive ring waits for.
  @inline(__always)
  var arriving: Reservation {
    get { unsafe Reservation(rawLongWord(KRingLayout.arriving)) }
    nonmutating set { unsafe setRawLongWord(KRingLayout.arriving, newValue.rawValue) }
  }

  /// Whether senders keep what a receive ring has no room for, and wait.
  @inline(__always)
  var holdsSenders: Bool {
    get { unsafe rawWord(KRingLayout.holdsSenders) != 0 }
    nonmutating set { unsafe setRawWord(KRingLayout.holdsSenders, newValue ? 1 : 0) }
  }

  /// The virtio-net header and longest frame of either ring.
  @inline(__always)
  var frameShape: FrameShape {
    get { unsafe FrameShape(rawLongWord(KRingLayout.frameShape)) }
    nonmutating set { unsafe setRawLongWord(KRingLayout.frameShape, newValue.rawValue) }
  }

  /// Where senders find a receive ring in its region, bytes.
  ///
  /// - Parameter last: The last place at which a ring fits the region, in units of 128 bytes, at which rings begin.
  /// - Returns: Nil when what is stored is beyond that, or no multiple of 128.
  @inline(__always)
  func openRingOffset(upTo last: UInt64) -> Int? {
    let offset = unsafe rawLongWord(KRingLayout.openRingOffset)
    // What is no multiple becomes a huge number here.
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

  /// The largest offset of a receive ring, for its senders: never more than `limit`, bytes.
  @inline(__always)
  func openOffsetMax(atMost limit: UInt64) -> UInt64 {
    unsafe min(rawLongWord(KRingLayout.openOffsetMax), limit)
  }

  func store(openOffsetMax: UInt64) {
    unsafe setRawLongWord(KRingLayout.openOffsetMax, openOffsetMax)
  }

  /// Takes the ports whose senders sleep until a receive ring has room: bits of ports
  /// `64 * part ..< 64 * (part + 1)`, with `part` below 4. After a full fence.
  func takeHeldSenders(_ part: Int) -> UInt64 {
    let word = unsafe rawAtomicLongWord(KRingLayout.heldSenders &+ 8 &* (part & 3))
    guard unsafe word.pointee.load(ordering: .relaxed) != 0 else { return 0 }
    return unsafe word.pointee.exchange(0, ordering: .sequentiallyConsistent)
  }

  /// Says that the senders of a port, below 256, sleep until a receive ring has room.
  func addHeldSender(_ port: Int) {
    let word = unsafe rawAtomicLongWord(KRingLayout.heldSenders &+ 8 &* ((port >> 6) & 3))
    _ = unsafe word.pointee.bitwiseOr(
      1 << UInt64(port & 63), ordering: .sequentiallyConsistent)
  }

  /// What senders were refused for want of room.
  enum Refusal {
    /// The ring was full.
    case full
    /// It was full because another sender had stopped in the middle of filling it.
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

  /// Adds packets that a sender was refused; from any thread.
  func countRefused(_ refusal: Refusal, _ packets: UInt64) {
    _ = unsafe rawAtomicLongWord(refusal.offset).pointee.wrappingAdd(packets, ordering: .relaxed)
  }

  /// The slot of the broadcast that some of its receivers have got, plus one; 0 when there is none.
  @inline(__always)
  var deliveredSlot: UInt32 {
    get { unsafe rawWord(KRingLayout.deliveredSlot) }
    nonmutating set { unsafe setRawWord(KRingLayout.deliveredSlot, newValue) }
  }

  /// Ports that have got that broadcast: bits as in ``takeHeldSenders(_:)``.
  @inline(__always)
  func delivered(_ part: Int) -> UInt64 {
    unsafe rawLongWord(KRingLayout.delivered &+ 8 &* (part & 3))
  }

  @inline(__always)
  func setDelivered(_ part: Int, _ ports: UInt64) {
    unsafe setRawLongWord(KRingLayout.delivered &+ 8 &* (part & 3), ports)
  }
}
