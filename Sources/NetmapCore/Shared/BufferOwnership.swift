public import Synchronization

/// Who holds each buffer of a region: one byte a buffer, beside the region, not in it.
///
/// Backends that hand buffers to somebody else (the kernel's XDP rings, an isolated peer, a virtual
/// machine) move a buffer from ``State/user`` to ``State/lent`` and back, and believe these bytes
/// rather than the slots, which a client may fill with anything. An index that is out of range, free
/// or already lent is refused, so a duplicate in two slots can never reach two owners.
///
/// A view: two pointers' worth, no ownership. The region must outlive it. Any process and thread
/// that maps the bytes may call it; each transition is one atomic step.
@safe @frozen
public struct BufferOwnership: Sendable {
  /// The holder of one buffer.
  @frozen public enum State: UInt8, Sendable {
    /// In the pool; in no slot and no list.
    case free = 0
    /// In a slot of a ring or in an extra-buffer list: the application may write it.
    case user = 1
    /// Handed to the kernel or to a peer that is not trusted.
    case lent = 2
    /// Buffers 0 and 1, which netmap never hands out.
    case reserved = 3
  }

  @usableFromInline nonisolated(unsafe) let bytes: UnsafeMutableRawPointer

  /// How many buffers there are; valid indexes are `2..<count`.
  public let count: UInt32

  package init(bytes: UnsafeMutableRawPointer, count: UInt32) {
    unsafe self.bytes = bytes
    self.count = count
  }

  /// Lends a buffer that a slot names.
  ///
  /// - Returns: False when the slot may not name it: not a buffer, not the user's, or lent already.
  @inlinable
  public func lend(_ index: UInt32) -> Bool {
    move(index, from: .user, to: .lent)
  }

  /// Takes back a buffer that was lent. Only whoever lent it may, one thread at a time.
  ///
  /// - Returns: False when it is not a buffer, or not lent.
  @inlinable
  public func takeBack(_ index: UInt32) -> Bool {
    guard index < count else { return false }
    // Nobody else moves a buffer that is lent, so this needs no exchange, whose price is that of a
    // good part of a sync.
    guard unsafe byte(index).pointee.load(ordering: .relaxed) == State.lent.rawValue else {
      return false
    }
    unsafe byte(index).pointee.store(State.user.rawValue, ordering: .releasing)
    return true
  }

  /// The holder of `index`; ``State/reserved`` for what is not a buffer.
  public func state(_ index: UInt32) -> State {
    guard index < count else { return .reserved }
    return State(rawValue: unsafe byte(index).pointee.load(ordering: .relaxed)) ?? .reserved
  }

  /// Whether the application may write the buffer: it is one, and in its hands.
  @inlinable
  public func isUsers(_ index: UInt32) -> Bool {
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
