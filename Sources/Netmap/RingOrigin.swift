public import NetmapCore

/// The data that a view needs in addition to the ring: plain data that the port owns.
@unsafe @frozen @usableFromInline
struct RingOrigin {
  @usableFromInline let ring: Ring
  // Identity of the memory that holds the buffers.
  @usableFromInline let device: UInt64
  @usableFromInline let file: UInt64
  /// The owner of exchanges through this view.
  @usableFromInline let owner: ExchangeNote.Owner
  /// Records buffer exchanges with a transmit ring; nil for transmit rings.
  @usableFromInline let note: ExchangeNote?
  /// The port's extra buffers, which the port keeps alive; nil if it has none.
  @usableFromInline let pool: Unmanaged<ExtraBufferPool>?
  /// The last packet of several slots that a view of the ring has handed over: its first slot, the number of its
  /// slots, and whether the last of them ends it.
  @usableFromInline var packet: (first: UInt32, count: Int, isComplete: Bool) = (0, 1, true)

  init(
    _ ring: Ring, _ memory: SharedMemory, _ owner: ExchangeNote.Owner, note: ExchangeNote?,
    pool: ExtraBufferPool? = nil
  ) {
    unsafe self.ring = unsafe ring
    unsafe self.pool = unsafe pool.map { unsafe Unmanaged.passUnretained($0) }
    unsafe device = memory.identity.device
    unsafe file = memory.identity.file
    unsafe self.owner = owner
    unsafe self.note = unsafe note
  }

  /// Whether a buffer index means the same buffer in both rings.
  ///
  /// Region numbers say so within one engine only.
  @inlinable @inline(__always)
  func isSameMemory(as other: UnsafePointer<RingOrigin>) -> Bool {
    unsafe file == other.pointee.file && device == other.pointee.device
  }
}
