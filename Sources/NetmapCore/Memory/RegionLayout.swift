/// The layout of a region's three pools: `[netmap_if][rings][buffers]`, in the order of netmap(4).
///
/// AF_XDP can use the buffer pool as its UMEM without a copy: the pool starts on a page, its stride is a power of
/// two, and one spare chunk follows the last buffer. Buffer *i* of netmap begins ``headroom`` bytes into chunk
/// *i*, where the kernel puts a received frame. It extends into the headroom of the next chunk, so all
/// `bufferSize` bytes of it are usable.
///
/// Regions have cache colors: buffers of regions with different colors begin at different distances from a page
/// boundary. When both buffers of a copy begin at the same distance, a processor, which compares 12 bits of the
/// addresses, takes loads to depend on earlier stores, and all buffers share few lines of its first-level cache.
package struct RegionLayout: Hashable, Sendable {
  /// One pool: `count` objects of `size` bytes, starting at `offset`.
  package struct Pool: Hashable, Sendable {
    package let offset: Int
    package let size: Int
    package let count: Int

    package init(offset: Int, size: Int, count: Int) {
      self.offset = offset
      self.size = size
      self.count = count
    }

    package var byteCount: Int { size * count }

    package func offset(of index: Int) -> Int { offset + index * size }
  }

  /// `XDP_PACKET_HEADROOM`: the minimum distance from the start of a UMEM chunk to the frame that the kernel
  /// writes there.
  package static let kernelHeadroom = 256
  /// The number of cache colors.
  ///
  /// With the last one, a chunk of 2048 bytes still holds an Ethernet frame.
  package static let cacheColors = 5
  /// The possible values of ``headroom``.
  package static var headrooms: [Int] { (0..<cacheColors).map { kernelHeadroom + 64 * $0 } }

  package let interfaces: Pool
  package let rings: Pool
  /// The chunks of the buffer pool; a buffer starts ``headroom`` bytes into its chunk.
  package let buffers: Pool
  package let byteCount: Int
  /// Bytes from the start of a chunk to the buffer in it; 0 in a program's memory, which cannot be a UMEM.
  package let headroom: Int

  /// Whether the region is in a program's memory, with exactly the sizes that the program asked for.
  package var isExact: Bool { headroom == 0 }

  /// The bytes that programs see: all but the spare page after a program's memory.
  package var shownByteCount: Int { isExact ? byteCount - pageSize : byteCount }

  init(interfaces: Pool, rings: Pool, buffers: Pool, byteCount: Int, headroom: Int) {
    self.interfaces = interfaces
    self.rings = rings
    self.buffers = buffers
    self.byteCount = byteCount
    self.headroom = headroom
  }

  /// - Parameters:
  ///   - parameters: Sizes and counts.
  ///   - cacheColor: The cache color: any non-negative number, taken modulo ``cacheColors``.
  package init(_ parameters: RegionParameters, cacheColor: Int = 0) {
    headroom = Self.headrooms[cacheColor % Self.cacheColors]
    interfaces = Pool(
      offset: 0, size: rounded(parameters.interfaceSize, to: 64), count: parameters.interfaceCount)
    // Rounded to whole pages, so that the same slot of two rings has the same low 12 address bits. Processors
    // compare those bits first, and a load waits for an earlier store with the same bits. A copy from slot to
    // slot loads before it stores, so at this distance no load meets an earlier store of the copy.
    let ringSize = pageRounded(parameters.ringSize)
    rings = Pool(
      offset: pageRounded(interfaces.byteCount), size: ringSize, count: parameters.ringCount)
    buffers = Pool(
      offset: pageRounded(rings.offset + rings.byteCount), size: parameters.bufferSize,
      count: parameters.bufferCount)
    byteCount = pageRounded(
      buffers.offset + buffers.byteCount + max(parameters.bufferSize, headroom))
  }

  /// The rule for the slots of all rings in the region.
  package var slotRule: SlotRule {
    SlotRule(bufferCount: UInt32(buffers.count), bufferSize: UInt32(buffers.size))
  }

  /// Offset of buffer 0 from the start of the region.
  package var bufferBase: Int { buffers.offset + headroom }

  /// The value of `buf_ofs` for a ring at `ringOffset`: the distance from the ring to buffer 0.
  package func bufferOffset(fromRingAt ringOffset: Int) -> Int64 {
    Int64(bufferBase - ringOffset)
  }
}

extension Region {
  /// Offset of a buffer in the region.
  package func offset(ofBuffer index: UInt32) -> Int {
    layout.bufferBase + Int(index) * layout.buffers.size
  }
}
