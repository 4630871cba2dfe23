internal import NetmapCore

/// The extra buffers of a port that hold no packet.
///
/// It keeps the port's memory mapped. Only the thread that uses the port uses it.
@safe @usableFromInline
final class ExtraBufferPool {
  private let mapped: MappedPort
  private let list: ExtraBufferList
  /// Number of buffers in the list, as far as this process knows.
  private(set) var count: Int
  let origin: RingOrigin

  /// - Parameters:
  ///   - mapped: The port, with at least one ring.
  ///   - ring: One of its rings.
  ///   - count: The number of buffers that the engine gave.
  init(_ mapped: MappedPort, _ ring: Ring, count: Int) {
    self.mapped = mapped
    unsafe list = ExtraBufferList(interface: mapped.interface, ring: ring)
    self.count = count
    unsafe origin = RingOrigin(ring, mapped.region, mapped.exchangeOwner, note: nil)
  }

  func take() -> UInt32? {
    guard count > 0, let index = unsafe list.take() else { return nil }
    count -= 1
    return index
  }

  func give(_ index: UInt32) {
    unsafe list.give(index)
    count += 1
  }
}
