/// Where the three pools lie in a region: `[netmap_if][rings][buffers]`, as netmap(4) has them.
///
/// The buffer pool is shaped so that AF_XDP can use it as its UMEM without a copy: it starts on a
/// page, its stride is a power of two, and one spare chunk follows the last buffer. Buffer *i* of
/// netmap begins ``headroom`` bytes into chunk *i*, where the kernel puts a received frame, and
/// runs on into the headroom of the next chunk, so that all `bufferSize` bytes of it are usable.
///
/// Regions have colors: buffers of two colors begin at different distances from the start of a page. Copying
/// between buffers at the same distance, a processor takes loads to depend on earlier stores (it compares
/// 12 bits of their addresses), and all buffers share few lines of its first cache.
package struct RegionLayout: Hashable, Sendable {
  /// One pool: `count` objects of `size` bytes from `offset` on.
  package struct Pool: Hashable, Sendable {
    package let offset: Int
    package let size: Int
    package let count: Int

    package var byteCount: Int { size * count }

    package func offset(of index: Int) -> Int { offset + index * size }
  }

  /// `XDP_PACKET_HEADROOM`: the distance from a UMEM chunk to the frame the kernel writes there, at least.
  package static let kernelHeadroom = 256
  /// How many colors there are: with the last one, a chunk of 2048 bytes still holds an Ethernet frame.
  package static let colors = 5
  /// What ``headroom`` can be.
  package static var headrooms: [Int] { (0..<colors).map { kernelHeadroom + 64 * $0 } }

  package let interfaces: Pool
  package let rings: Pool
  /// Chunks; their payload starts ``headroom`` bytes in.
  package let buffers: Pool
  package let byteCount: Int
  /// Bytes from the start of a chunk to the buffer in it.
  package let headroom: Int

  /// - Parameters:
  ///   - parameters: Sizes and counts.
  ///   - color: Any number that is not negative; those that agree modulo ``colors`` mean the same one.
  package init(_ parameters: RegionParameters, color: Int = 0) {
    headroom = Self.headrooms[color % Self.colors]
    interfaces = Pool(
      offset: 0, size: rounded(parameters.interfaceSize, to: 64), count: parameters.interfaceCount)
    // Whole pages, so that equal slots of two rings agree in their low 12 address bits. Processors
    // compare those first: a load waits for an earlier store it agrees with. A copy from slot to slot
    // loads first, so this is the distance at which no load meets an earlier store of the copy.
    let ringSize = pageRounded(parameters.ringSize)
    rings = Pool(
      offset: pageRounded(interfaces.byteCount), size: ringSize, count: parameters.ringCount)
    buffers = Pool(
      offset: pageRounded(rings.offset + rings.byteCount), size: parameters.bufferSize,
      count: parameters.bufferCount)
    byteCount = pageRounded(
      buffers.offset + buffers.byteCount + max(parameters.bufferSize, headroom))
  }

  /// Where the bytes of buffer 0 begin, from the start of the region.
  package var bufferBase: Int { buffers.offset + headroom }

  /// What `buf_ofs` of a ring at `ringOffset` must hold: the distance from it to buffer 0.
  package func bufferOffset(fromRingAt ringOffset: Int) -> Int64 {
    Int64(bufferBase - ringOffset)
  }
}
