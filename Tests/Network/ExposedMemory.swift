import Synchronization

/// Memory that a peer can write.
@safe
struct ExposedMemory: @unchecked Sendable {
  private let base: UnsafeMutableRawPointer
  private let count: Int

  init(_ base: UnsafeMutableRawPointer, _ count: Int) {
    unsafe self.base = base
    self.count = count
  }

  /// Writes one word of the memory.
  func scribble(_ value: UInt32, at place: UInt64) {
    let words = UInt64(count / 4)
    unsafe (base + Int(place % words) * 4).assumingMemoryBound(to: Atomic<UInt32>.self)
      .pointee.store(value, ordering: .relaxed)
  }
}
