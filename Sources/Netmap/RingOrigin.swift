public import NetmapCore

/// What views of a ring need of it besides the ring: plain data that the port owns.
@unsafe @frozen @usableFromInline
struct RingOrigin {
  // Which memory the buffers lie in.
  @usableFromInline let device: UInt64
  @usableFromInline let file: UInt64
  /// Whose the view is.
  @usableFromInline let owner: ExchangeNote.Owner
  /// Where to note what is exchanged with a transmit ring; nil for transmit rings.
  @usableFromInline let note: ExchangeNote?

  init(_ memory: SharedMemory, _ owner: ExchangeNote.Owner, note: ExchangeNote?) {
    unsafe device = memory.identity.device
    unsafe file = memory.identity.file
    unsafe self.owner = owner
    unsafe self.note = unsafe note
  }

  /// Whether buffer indexes mean the same in both rings: numbers of regions say so within one engine only.
  @inlinable @inline(__always)
  func isSameMemory(as other: UnsafePointer<RingOrigin>) -> Bool {
    unsafe file == other.pointee.file && device == other.pointee.device
  }
}
