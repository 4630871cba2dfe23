internal import NetmapCore

/// Where a port's structures lie in its memory region, as netmap's C interface describes them.
///
/// For programs that pass the region to C code. Swift programs use ``NetmapPort/transmitRing(_:)`` and
/// ``NetmapPort/receiveRing(_:)``, which check every access.
@unsafe
public struct UnsafePortABI {
  private let mapped: MappedPort

  /// The start of the region in this process: netmap's `mem`.
  ///
  /// The memory stays mapped for as long as the port object or this structure exists.
  public let memory: UnsafeMutableRawPointer

  /// Bytes in the region (`nr_memsize`).
  public let memorySize: Int

  /// Offset of the binding's `netmap_if` in the region, in bytes (`nr_offset`).
  public let interfaceOffset: Int

  init(_ mapped: MappedPort, _ registration: Registration) {
    unsafe self.mapped = mapped
    unsafe memory = unsafe mapped.region.base
    unsafe memorySize = registration.memorySize
    unsafe interfaceOffset = registration.interfaceOffset
  }

  /// Distance from the binding's `netmap_if` to a ring, in bytes: netmap's `ring_ofs`.
  ///
  /// - Parameters:
  ///   - direction: Transmit or receive.
  ///   - index: Counted from the first ring of the direction that this binding holds. An index out of range traps.
  /// - Returns: The distance in bytes, which can be negative.
  public func ringOffset(_ direction: Direction, _ index: Int) -> Int {
    let ring = unsafe direction == .transmit ? mapped.transmit(index) : mapped.receive(index)
    return unsafe ring.ring.base - mapped.interface
  }
}

extension NetmapPort {
  /// The layout of the port's memory, for C code.
  ///
  /// The caller is responsible for every access: other processes can write to the memory at any time, and nothing
  /// ties a pointer to the lifetime of the port.
  @unsafe
  public var unsafeABI: UnsafePortABI { unsafe UnsafePortABI(mapped, registration) }
}
