internal import CNetmap
internal import Synchronization

/// The list of a binding's extra buffers (`ni_bufs_head`), from the side of the application.
///
/// The first 32-bit word of each buffer in the list names the next buffer; 0 ends the list. Other processes of the
/// region can write to these words, so each is loaded once, and an index out of range ends the list.
///
/// Only one thread at a time may use a binding's list.
@unsafe
package struct ExtraBufferList {
  private let interface: UnsafeMutableRawPointer
  private let buffers: UnsafeMutableRawPointer
  private let bufferCount: UInt32
  private let bufferSize: UInt32

  /// - Parameters:
  ///   - interface: The binding's `netmap_if`.
  ///   - ring: A ring of the binding, which bounds the buffers.
  package init(interface: UnsafeMutableRawPointer, ring: Ring) {
    unsafe self.interface = unsafe interface
    unsafe buffers = ring.buffers
    unsafe bufferCount = ring.bufferCount
    unsafe bufferSize = ring.bufferSize
  }

  /// Removes the first buffer.
  ///
  /// - Returns: Its index; nil when the list is empty.
  package func take() -> UInt32? {
    let first = unsafe head.pointee.load(ordering: .relaxed)
    guard let next = unsafe next(first) else { return nil }
    unsafe head.pointee.store(next.pointee.load(ordering: .relaxed), ordering: .relaxed)
    return first
  }

  /// Adds a buffer that is in no slot; an index out of range is ignored.
  package func give(_ index: UInt32) {
    guard let next = unsafe next(index) else { return }
    unsafe next.pointee.store(head.pointee.load(ordering: .relaxed), ordering: .relaxed)
    unsafe head.pointee.store(index, ordering: .relaxed)
  }

  private var head: UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (interface + NETMAP_IF_BUFS_HEAD_OFFSET).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// The word of buffer `index` that names the next buffer; nil when there is no such buffer.
  private func next(_ index: UInt32) -> UnsafeMutablePointer<Atomic<UInt32>>? {
    guard index >= 2, unsafe index < bufferCount else { return nil }
    return unsafe (buffers + Int(index) &* Int(bufferSize))
      .assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}
