internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// The two rings of one direction of an XDP socket, mapped into this process.
///
/// Any process that holds the socket can map them. The mapping keeps the socket open, as a descriptor does.
@safe
package final class XDPRingMapping {
  private let produced: UnsafeMutableRawBufferPointer
  private let consumed: UnsafeMutableRawBufferPointer
  private let direction: Direction
  private let size: UInt32
  private var offsets = xdp_mmap_offsets()

  /// - Parameters:
  ///   - direction: Transmit: the transmit and the completion ring. Receive: the fill and the receive
  ///     ring.
  ///   - socket: The socket. It stays the caller's.
  ///   - size: Entries of each ring; a power of two.
  ///   - subject: The name of the interface, for messages.
  /// - Throws: ``NetmapError`` with the `errno` of getsockopt(2) or mmap(2).
  package init(
    _ direction: Direction, of socket: CInt, size: UInt32, subject: String
  ) throws(NetmapError) {
    var offsets = xdp_mmap_offsets()
    var length = socklen_t(MemoryLayout<xdp_mmap_offsets>.size)
    guard
      unsafe getsockopt(
        socket, CInt(CLINUX_SOL_XDP), CInt(XDP_MMAP_OFFSETS), &offsets, &length) == 0
    else { throw systemError("getsockopt", "\(subject) (XDP_MMAP_OFFSETS)") }
    let isTransmit = direction == .transmit
    let first = unsafe try Self.map(
      socket, isTransmit ? CLINUX_XDP_PGOFF_TX_RING : CLINUX_XDP_PGOFF_FILL_RING,
      isTransmit ? offsets.tx : offsets.fr, Int(size) * (isTransmit ? 16 : 8), subject)
    let second: UnsafeMutableRawBufferPointer
    do throws(NetmapError) {
      unsafe second = try Self.map(
        socket, isTransmit ? CLINUX_XDP_PGOFF_COMPLETION_RING : CLINUX_XDP_PGOFF_RX_RING,
        isTransmit ? offsets.cr : offsets.rx, Int(size) * (isTransmit ? 8 : 16), subject)
    } catch {
      unsafe munmap(first.baseAddress, first.count)
      throw error
    }
    unsafe produced = unsafe first
    unsafe consumed = unsafe second
    self.direction = direction
    self.size = size
    self.offsets = offsets
  }

  /// Rings in private memory of this process, which a test fills in place of the kernel.
  ///
  /// - Parameters:
  ///   - direction: The direction, as for the rings of a socket.
  ///   - size: Entries of each ring; a power of two.
  /// - Throws: ``NetmapError`` with the `errno` of mmap(2).
  package init(imitating direction: Direction, size: UInt32) throws(NetmapError) {
    func map() throws(NetmapError) -> UnsafeMutableRawBufferPointer {
      let length = pageRounded(Int(Self.imitated.desc) + Int(size) * 16)
      let memory = unsafe mmap(
        nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
        throw systemError("mmap", "\(length) bytes")
      }
      return unsafe UnsafeMutableRawBufferPointer(start: memory, count: length)
    }
    unsafe produced = try map()
    unsafe consumed = try map()
    self.direction = direction
    self.size = size
    offsets = xdp_mmap_offsets(
      rx: Self.imitated, tx: Self.imitated, fr: Self.imitated, cr: Self.imitated)
  }

  /// Where the words of imitated rings lie: those of each writer on a cache line of their own.
  private static var imitated: xdp_ring_offset {
    xdp_ring_offset(producer: 0, consumer: 64, desc: 192, flags: 128)
  }

  /// The bytes of both rings, for tests that write there. The ring that this side fills comes first.
  package var bytes: [UnsafeMutableRawBufferPointer] { unsafe [produced, consumed] }

  deinit {
    unsafe munmap(produced.baseAddress, produced.count)
    unsafe munmap(consumed.baseAddress, consumed.count)
  }

  private static func map(
    _ socket: CInt, _ place: Int, _ offsets: xdp_ring_offset, _ entries: Int, _ subject: String
  ) throws(NetmapError) -> UnsafeMutableRawBufferPointer {
    let length = Int(offsets.desc) + entries
    let memory = unsafe mmap(
      nil, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, socket, place)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
      throw systemError("mmap", "\(subject) (XDP ring, \(length) bytes)")
    }
    return unsafe UnsafeMutableRawBufferPointer(start: memory, count: length)
  }

  /// The ring that this side fills. The view must not outlive the mapping.
  func producer(seen: UnsafeMutablePointer<Atomic<UInt32>>) -> XDPProducer {
    unsafe XDPProducer(
      base: Self.base(produced), offsets: direction == .transmit ? offsets.tx : offsets.fr,
      size: size, seen: seen)
  }

  /// The ring that the kernel fills. The view must not outlive the mapping.
  func consumer() -> XDPConsumer {
    unsafe XDPConsumer(
      base: Self.base(consumed), offsets: direction == .transmit ? offsets.cr : offsets.rx,
      size: size)
  }

  private static func base(_ buffer: UnsafeMutableRawBufferPointer) -> UnsafeMutableRawPointer {
    guard let base = buffer.baseAddress else { preconditionFailure("the buffer has no address") }
    return unsafe base
  }
}
