internal import Glibc
package import NetmapCore
internal import Synchronization

/// The layout of a veth short cut: shared memory with a lane for each direction of each ring pair.
///
/// The memory begins like a sync segment, with the list of waiters for all wait words of the short cut.
package struct ShortCutLayout: Hashable, Sendable {
  /// Ring pairs of each end.
  package let pairs: Int
  /// Slots of each ring: a power of two. A lane has as many cells.
  package let slots: Int

  /// - Returns: Nil when the numbers are out of range.
  package init?(pairs: Int, slots: Int) {
    guard (1...4096).contains(pairs), (2...65_536).contains(slots), slots & (slots - 1) == 0 else {
      return nil
    }
    self.pairs = pairs
    self.slots = slots
  }

  /// Bytes of one lane.
  private var laneByteCount: Int { Self.laneHeader + 16 * slots }

  /// Bytes of a lane before its cells.
  fileprivate static var laneHeader: Int { 384 }

  /// Bytes of the short cut, whole pages.
  package var byteCount: Int {
    pageRounded(SyncSegmentLayout.krings + 2 * pairs * rounded(laneByteCount, to: 128))
  }

  /// The lane of a ring pair, in memory of ``byteCount`` bytes.
  ///
  /// - Parameters:
  ///   - pair: The ring pair, below ``pairs``.
  ///   - side: The end of the veth that sends on the lane, 0 or 1.
  ///   - base: The first byte of the memory.
  /// - Returns: The lane, a view of the memory.
  package func lane(_ pair: Int, from side: Int, _ base: UnsafeMutableRawPointer) -> ShortCutLane {
    precondition((0..<pairs).contains(pair) && (0...1).contains(side), "no such lane")
    let offset =
      SyncSegmentLayout.krings + (2 * pair + side) * rounded(laneByteCount, to: 128)
    return unsafe ShortCutLane(
      base: base + offset, waiters: base + SyncSegmentLayout.waiters, slotCount: UInt32(slots))
  }
}

/// One direction of one ring pair of a veth short cut: a queue of cells, each with a buffer that the sender fills and the
/// receiver exchanges with a slot of its ring.
///
/// Positions count cells since the short cut was made, modulo 2^32: `returned <= taken <= sent`, at most as far apart as
/// there are cells. The sender writes ``sent``, the receiver ``taken`` and ``returned``, each with the lock of its ring.
/// The engine writes ``mode``, the limits, and, while neither ring is bound, everything. Every process on one of the two
/// ports can write any word at any time: accessors load a word once, and indexes are masked.
@unsafe
package struct ShortCutLane {
  let base: UnsafeMutableRawPointer
  let waiters: UnsafeMutableRawPointer
  /// Slots of the receive ring, and cells: a power of two.
  package let slotCount: UInt32

  /// The way of the packets that a sender publishes.
  package enum Mode: UInt32, Sendable {
    /// To the kernel.
    case kernel = 0
    /// Into the lane, from which the receiver takes nothing yet: the kernel may still deliver frames that the sender
    /// gave it before. A hold ends only with a ``ShortCutLane/barrier`` behind these frames, or with the lane closed.
    case held = 1
    /// Into the lane.
    case joined = 2
    /// To the kernel. Receive syncs find nothing in the lane, whatever is in it: its receive ring has been closed, or
    /// nobody can tell any more which of the kernel's frames were sent first.
    case closed = 3
  }

  private enum Offset {
    static let mode = 0
    static let frameLimit = 4
    static let barrier = 8
    static let lastLook = 16
    static let sent = 128
    static let sentCommit = 136
    static let arrivalWait = 192
    static let returned = 256
    static let returnCommit = 264
    static let takeCommit = 272
    static let passedBarrier = 280
    static let roomWait = 320
  }

  private var cells: UnsafeMutableRawPointer { unsafe base + ShortCutLayout.laneHeader }
  private var origins: UnsafeMutableRawPointer {
    unsafe cells + 8 * Int(slotCount)
  }

  @inline(__always)
  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  @inline(__always)
  private func longWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  // MARK: - The engine's words

  /// The way of the sender's packets.
  ///
  /// Sequentially consistent, like the lock of a ring: when the engine has changed the mode and then finds the sender's
  /// ring unlocked, each later sync of the ring sees the new mode.
  @inline(__always)
  package var mode: Mode {
    get {
      let value = unsafe word(Offset.mode).pointee.load(ordering: .sequentiallyConsistent)
      return Mode(rawValue: value) ?? .kernel
    }
    nonmutating set {
      unsafe word(Offset.mode).pointee.store(newValue.rawValue, ordering: .sequentiallyConsistent)
    }
  }

  /// The most bytes of a packet.
  @inline(__always)
  package var frameLimit: UInt32 {
    get { unsafe word(Offset.frameLimit).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe word(Offset.frameLimit).pointee.store(newValue, ordering: .relaxed) }
  }

  /// The position in the kernel's receive ring up to which frames were sent before the lane's packets. Stored before the
  /// mode in which it counts.
  @inline(__always)
  package var barrier: UInt32 {
    get { unsafe word(Offset.barrier).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe word(Offset.barrier).pointee.store(newValue, ordering: .relaxed) }
  }

  /// The barrier that the receiver has passed last. Without it, a barrier would seem to lie ahead again after 2^32 frames
  /// of the kernel.
  @inline(__always)
  var passedBarrier: UInt32 {
    get { unsafe word(Offset.passedBarrier).pointee.load(ordering: .relaxed) }
    nonmutating set {
      unsafe word(Offset.passedBarrier).pointee.store(newValue, ordering: .relaxed)
    }
  }

  /// When the engine last looked whether a hold can end, nanoseconds of the coarse monotonic clock.
  package var lastLook: UInt64 {
    get { unsafe longWord(Offset.lastLook).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe longWord(Offset.lastLook).pointee.store(newValue, ordering: .relaxed) }
  }

  /// How old ``lastLook`` has to be for the receiver to take it that the engine has ended, nanoseconds.
  ///
  /// The engine looks every 20 milliseconds at least. A hold takes a few milliseconds, so the kernel has long delivered
  /// what it had.
  private static var longestHold: UInt64 { 1_000_000_000 }

  /// Whether the engine, which alone ends a hold, has ended: the receiver then takes what is in the lane.
  // The compiler cannot look into clock_gettime(2).
  @_semantics("no_performance_analysis")
  @inline(never)
  func isForsaken() -> Bool {
    let age = unsafe Int64(bitPattern: Self.coarseNanoseconds() &- lastLook)
    return unsafe age > Int64(Self.longestHold)
  }

  /// The time for ``lastLook``.
  package static func coarseNanoseconds() -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC_COARSE, &time)
    return UInt64(truncatingIfNeeded: time.tv_sec) &* 1_000_000_000
      &+ UInt64(truncatingIfNeeded: time.tv_nsec)
  }

  /// Says that a sleeper of the receiver must sleep briefly: nobody wakes it when a hold ends.
  package var briefSleep: BriefSleep {
    unsafe BriefSleep(word: base + Offset.mode, value: Mode.held.rawValue)
  }

  // MARK: - Positions

  /// Cells that the sender has published. A reader that sees a position also sees the packets before it.
  @inline(__always)
  package var sent: UInt32 { unsafe word(Offset.sent).pointee.load(ordering: .acquiring) }

  /// Cells whose buffers the receiver has given back. The sender may write into these.
  @inline(__always)
  package var returned: UInt32 { unsafe word(Offset.returned).pointee.load(ordering: .acquiring) }

  /// The number of cells from one position to another; nil when no honest process can have stored them.
  @inline(__always)
  func distance(from first: UInt32, to end: UInt32) -> UInt32? {
    let count = end &- first
    return unsafe count <= slotCount ? count : nil
  }

  /// Publishes the cells before `position`, after ``commitSent(_:_:_:)``.
  ///
  /// - Returns: Whether a sleeper waits for them.
  @inline(__always)
  func publish(sent position: UInt32) -> Bool {
    _ = unsafe word(Offset.sent).pointee.exchange(position, ordering: .sequentiallyConsistent)
    return unsafe word(Offset.arrivalWait).pointee.load(ordering: .sequentiallyConsistent) != 0
  }

  /// Gives the cells before `position` back, after ``commitReturned(_:_:)``.
  ///
  /// - Returns: Whether a sleeper waits for room.
  @inline(__always)
  func publish(returned position: UInt32) -> Bool {
    _ = unsafe word(Offset.returned).pointee.exchange(position, ordering: .sequentiallyConsistent)
    return unsafe word(Offset.roomWait).pointee.load(ordering: .sequentiallyConsistent) != 0
  }

  /// The wait word of the receiver's sleepers.
  package var arrivalWait: WaitWord {
    unsafe WaitWord(word: base + Offset.arrivalWait, list: waiters)
  }

  /// The wait word of the sender's sleepers.
  package var roomWait: WaitWord {
    unsafe WaitWord(word: base + Offset.roomWait, list: waiters)
  }

  // MARK: - Commits

  /// What a process writes down before it publishes a position: how far the netmap ring has got by then.
  struct Commit {
    let position: UInt32
    /// A slot of the netmap ring, as stored: it may be out of range.
    let slot: UInt32
    let flag: Bool

    @inline(__always)
    fileprivate init(_ value: UInt64) {
      position = UInt32(truncatingIfNeeded: value >> 32)
      slot = UInt32(value & 0xff_ffff)
      flag = value & (1 << 24) != 0
    }

    @inline(__always)
    fileprivate static func bits(_ position: UInt32, _ slot: UInt32, _ flag: Bool) -> UInt64 {
      UInt64(position) << 32 | (flag ? 1 << 24 : 0) | UInt64(slot & 0xff_ffff)
    }
  }

  @inline(__always)
  private func commit(_ offset: Int) -> Commit {
    unsafe Commit(longWord(offset).pointee.load(ordering: .relaxed))
  }

  @inline(__always)
  private func store(_ offset: Int, _ position: UInt32, _ slot: UInt32, _ flag: Bool = false) {
    unsafe longWord(offset).pointee.store(
      Commit.bits(position, slot, flag), ordering: .releasing)
  }

  /// The sender's last commit, with `hwcur` and whether the rest of a packet is to be dropped.
  var sentCommit: Commit { unsafe commit(Offset.sentCommit) }
  @inline(__always)
  func commitSent(_ position: UInt32, _ slot: UInt32, _ flag: Bool) {
    unsafe store(Offset.sentCommit, position, slot, flag)
  }

  /// The receiver's last commit before it gave cells back, with `hwcur`.
  var returnCommit: Commit { unsafe commit(Offset.returnCommit) }
  @inline(__always)
  func commitReturned(_ position: UInt32, _ slot: UInt32) {
    unsafe store(Offset.returnCommit, position, slot)
  }

  /// The cells that the receiver's ring has shown, with `hwtail` at that moment.
  @inline(__always)
  var takeCommit: Commit { unsafe commit(Offset.takeCommit) }
  @inline(__always)
  func commitTaken(_ position: UInt32, _ slot: UInt32) {
    unsafe store(Offset.takeCommit, position, slot)
  }

  /// Cells that the receiver's ring has shown.
  @inline(__always)
  package var taken: UInt32 { unsafe takeCommit.position }

  // MARK: - Cells

  /// The buffer of a cell, and the packet in it. The buffer is the one that the receiver has put there, and may be no
  /// valid buffer number.
  @inline(__always)
  package func cell(_ position: UInt32) -> SlotWord {
    unsafe SlotWord(
      rawValue: cellWord(position).pointee.load(ordering: .relaxed))
  }

  @inline(__always)
  package func store(_ cell: SlotWord, at position: UInt32) {
    unsafe cellWord(position).pointee.store(cell.rawValue, ordering: .relaxed)
  }

  /// The half of a cell in which to note a buffer before it is lent to the cell. (The low half, on the little-endian
  /// machines that this package supports.)
  @inline(__always)
  func note(_ position: UInt32) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (cells + 8 * Int(position & (slotCount &- 1)))
      .assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  @inline(__always)
  private func cellWord(_ position: UInt32) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (cells + 8 * Int(position & (slotCount &- 1)))
      .assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// The position of the cell that slot `index` of the receive ring shows, as stored; nil when the slot shows a frame of
  /// the kernel. A position means something only if it lies between ``returned`` and ``taken``.
  @inline(__always)
  package func origin(of index: UInt32) -> UInt32? {
    let value = unsafe originWord(index).pointee.load(ordering: .relaxed)
    return value & originMark != 0 ? UInt32(truncatingIfNeeded: value) : nil
  }

  @inline(__always)
  func setOrigin(of index: UInt32, _ position: UInt32) {
    unsafe originWord(index).pointee.store(UInt64(position) | originMark, ordering: .releasing)
  }

  /// Records that slot `index` shows a frame of the kernel.
  @inline(__always)
  func clearOrigin(of index: UInt32) {
    unsafe originWord(index).pointee.store(0, ordering: .releasing)
  }

  @inline(__always)
  private func originWord(_ index: UInt32) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (origins + 8 * Int(index & (slotCount &- 1)))
      .assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  // MARK: - For the engine

  /// Empties a lane that no process uses: no cell has a buffer. Sleepers stay announced.
  package func empty() {
    for offset in [Offset.sent, Offset.returned, Offset.barrier, Offset.passedBarrier] {
      unsafe word(offset).pointee.store(0, ordering: .relaxed)
    }
    for offset in [Offset.sentCommit, Offset.returnCommit, Offset.takeCommit] {
      unsafe longWord(offset).pointee.store(0, ordering: .relaxed)
    }
    unsafe cells.initializeMemory(as: UInt8.self, repeating: 0, count: 16 * Int(slotCount))
  }

  /// Makes a lane forget the packets that no receiver has taken or given back. No process may be syncing its receive ring.
  package func close() {
    unsafe mode = .closed
    unsafe commitTaken(returned, 0)
  }

  /// Puts buffers into the first cells of an empty lane, at most as many as there are cells.
  package func fill(_ buffers: [UInt32]) {
    for (position, buffer) in unsafe buffers.prefix(Int(slotCount)).enumerated() {
      unsafe store(SlotWord(bufferIndex: buffer, length: 0), at: UInt32(position))
    }
  }
}

/// Marks the origin of a slot as valid.
private var originMark: UInt64 { 1 << 32 }
