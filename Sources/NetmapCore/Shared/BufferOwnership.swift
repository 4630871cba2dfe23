public import Synchronization

/// The holder of each buffer of a region: one byte per buffer, in memory separate from the region.
///
/// Backends that hand buffers to the kernel's XDP rings, an isolated peer or a virtual machine move a buffer from
/// ``State/user`` to ``State/lent`` and back. They rely on these bytes and not on the slots, which a client may
/// fill with anything. An index that is out of range, free or already lent is refused, so a duplicate in two
/// slots can never reach two writers.
///
/// A buffer may be sent and received into at the same time, because a program may name it in two slots
/// (``State/sentAndLent``). At most one ring may write to it, and the pool gets it back when neither has it. Of several
/// transmit rings that send one buffer, the first one has moved the byte, and only that ring moves it back. The
/// others only read the buffer.
///
/// A view: a pointer and a count, no ownership. The region must outlive it. Any process and thread that maps the
/// bytes may call it; each transition is one atomic step.
@safe @frozen @usableFromInline
package struct BufferOwnership: Sendable {
  /// The holder of one buffer.
  @frozen @usableFromInline
  package enum State: UInt8, Sendable {
    /// In the pool; in no slot and in no list.
    case free = 0
    /// In a slot of a ring or in an extra-buffer list; the application may write to it.
    case user = 1
    /// Lent to the kernel or to an untrusted peer.
    case lent = 2
    /// Buffers 0 and 1, which netmap never hands out.
    case reserved = 3
    /// Lent to the kernel by a transmit ring, to be read.
    case sent = 4
    /// ``sent``, and also ``lent`` by another ring.
    case sentAndLent = 6

    /// Whether a backend has the buffer.
    @inlinable
    package var isLent: Bool { self == .lent || self == .sent || self == .sentAndLent }
  }

  @usableFromInline nonisolated(unsafe) let bytes: UnsafeMutableRawPointer

  /// The number of buffers; valid indexes are `2..<count`.
  @usableFromInline package let count: UInt32

  package init(bytes: UnsafeMutableRawPointer, count: UInt32) {
    unsafe self.bytes = bytes
    self.count = count
  }

  /// Lends the buffer that a slot names.
  ///
  /// - Returns: False when the index is out of range, or the application does not hold the buffer.
  @inlinable
  package func lend(_ index: UInt32) -> Bool {
    move(index, from: .user, to: .lent)
  }

  /// Takes back a lent buffer.
  ///
  /// Only the process that lent the buffer may call this, from one thread at a time.
  ///
  /// - Returns: False when the index is out of range, or the buffer is not lent.
  @inlinable
  package func takeBack(_ index: UInt32) -> Bool {
    guard index < count else { return false }
    // Only the lender moves a lent buffer, so no compare-and-exchange is needed. It would cost a considerable
    // part of a sync.
    guard unsafe byte(index).pointee.load(ordering: .relaxed) == State.lent.rawValue else {
      return move(index, from: .sentAndLent, to: .sent)
    }
    unsafe byte(index).pointee.store(State.user.rawValue, ordering: .releasing)
    return true
  }

  // MARK: - Buffers that are sent and received into

  /// Lends the buffer of a receive slot, which a transmit ring may be sending from another slot.
  ///
  /// - Returns: False when the index is out of range, free, or already lent to a writer.
  @inlinable
  package func lendToReceive(_ index: UInt32) -> Bool {
    move(index, from: .user, to: .lent) || move(index, from: .sent, to: .sentAndLent)
  }

  /// Whether no backend may write to the buffer: the application or a transmit ring has it.
  @inlinable
  package func hasNoWriter(_ index: UInt32) -> Bool {
    guard index < count else { return false }
    let state = unsafe byte(index).pointee.load(ordering: .relaxed)
    return state == State.user.rawValue || state == State.sent.rawValue
  }

  /// Whether a backend may write to the buffer.
  @inlinable
  package func hasWriter(_ index: UInt32) -> Bool {
    guard index < count else { return false }
    let state = unsafe byte(index).pointee.load(ordering: .relaxed)
    return state == State.lent.rawValue || state == State.sentAndLent.rawValue
  }

  /// Lends a buffer to the transmit ring that is the first to send it.
  ///
  /// - Returns: False when the index is out of range, or the application does not hold the buffer.
  @inlinable
  package func lendToSend(_ index: UInt32) -> Bool {
    move(index, from: .user, to: .sent)
  }

  /// Takes back a buffer from the transmit ring that ``lendToSend(_:)`` has lent it to.
  ///
  /// - Returns: False when the index is out of range, or no transmit ring has the buffer.
  @discardableResult @inlinable
  package func takeBackSent(_ index: UInt32) -> Bool {
    move(index, from: .sent, to: .user) || move(index, from: .sentAndLent, to: .lent)
  }

  /// Whether a backend has the buffer.
  @inlinable
  package func isLent(_ index: UInt32) -> Bool {
    mayRead(index) && !isUsers(index)
  }

  /// Whether a packet may be read from the buffer: it is neither free nor reserved.
  @inlinable
  package func mayRead(_ index: UInt32) -> Bool {
    guard index < count else { return false }
    let state = unsafe byte(index).pointee.load(ordering: .relaxed)
    return state != State.free.rawValue && state != State.reserved.rawValue
  }

  /// The holder of `index`; ``State/reserved`` for an index out of range.
  package func state(_ index: UInt32) -> State {
    guard index < count else { return .reserved }
    return State(rawValue: unsafe byte(index).pointee.load(ordering: .relaxed)) ?? .reserved
  }

  /// The owner bytes of all buffers, as they are now.
  package var states: [UInt8] {
    (0..<count).map { unsafe byte($0).pointee.load(ordering: .relaxed) }
  }

  /// Stores the owner bytes of a dump, as many as there are buffers.
  package func restore(_ states: [UInt8]) {
    for (index, state) in states.prefix(Int(count)).enumerated() {
      unsafe byte(UInt32(index)).pointee.store(state, ordering: .relaxed)
    }
  }

  /// Whether the application may write to the buffer: the index is in range and the state is ``State/user``.
  @inlinable
  package func isUsers(_ index: UInt32) -> Bool {
    guard index < count else { return false }
    return unsafe byte(index).pointee.load(ordering: .relaxed) == State.user.rawValue
  }

  package func set(_ index: UInt32, _ state: State) {
    precondition(index < count, "buffer index out of range")
    unsafe byte(index).pointee.store(state.rawValue, ordering: .relaxed)
  }

  @inlinable
  func move(_ index: UInt32, from old: State, to new: State) -> Bool {
    guard index < count else { return false }
    return unsafe byte(index).pointee.compareExchange(
      expected: old.rawValue, desired: new.rawValue, ordering: .acquiringAndReleasing
    ).exchanged
  }

  @inlinable @inline(always)
  func byte(_ index: UInt32) -> UnsafeMutablePointer<Atomic<UInt8>> {
    unsafe (bytes + Int(index)).assumingMemoryBound(to: Atomic<UInt8>.self)
  }
}
