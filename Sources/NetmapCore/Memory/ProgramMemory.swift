/// Memory of a C program that is to be a region: `NETMAP_REQ_OPT_EXTMEM` (upstream: `netmap_mem_ext_create`).
///
/// The engine makes the region as it makes every other one, in memory of its own. The program then has that memory in
/// place of its own pages, at the addresses that it named. So no process, the engine included, ever touches memory that
/// the program can shrink.
package struct ProgramMemory: Hashable, Sendable {
  /// `nr_memsize`: the size of the memory in bytes, which need not be whole pages.
  package var byteCount: Int
  /// The objects that the program wants, with their exact sizes.
  package var objects: RegionParameters
  /// What the pages of the memory were before; nil if no other process can name the same pages.
  package var origin: Origin?

  package init(byteCount: Int, objects: RegionParameters, origin: Origin? = nil) {
    self.byteCount = byteCount
    self.objects = objects
    self.origin = origin
  }

  /// A place in a file: processes that name the same one share a region, as processes with the same pages do in netmap.
  ///
  /// A process of the trust domain can name any place. That gives it a region which it could as well open by its number
  /// (`nr_mem_id`).
  package struct Origin: Hashable, Sendable {
    /// The device and the inode number, as `/proc/PID/maps` shows them.
    package var device: UInt64
    package var file: UInt64
    /// When the file was created, in nanoseconds since 1970, on file systems that reuse inode numbers; otherwise 0.
    package var birth: UInt64
    /// Where the memory begins in the file, bytes.
    package var offset: UInt64

    package init(device: UInt64, file: UInt64, birth: UInt64, offset: UInt64) {
      self.device = device
      self.file = file
      self.birth = birth
      self.offset = offset
    }
  }

  /// What identifies a region in a program's memory.
  struct Key: Hashable {
    let origin: Origin
    let pages: Int
  }

  /// The key of this memory at a place; the size must have been checked.
  func key(at origin: Origin) -> Key {
    Key(origin: origin, pages: pageRounded(byteCount) / pageSize)
  }

  /// The default sizes and numbers of objects: netmap's `priv_if_size`, `priv_if_num` and so on.
  package static let defaults = RegionParameters(
    interfaceSize: 1024, interfaceCount: 2, ringSize: 20_480, ringCount: 4, bufferSize: 2048,
    bufferCount: 4098)

  /// The most memory of one region, bytes.
  package static let byteLimit = 1 << 40

  /// - Throws: ``NetmapError`` `ENOMEM` for more memory than ``byteLimit``.
  func checkSize() throws(NetmapError) {
    guard byteCount <= Self.byteLimit else {
      throw refusal("it is larger than \(Self.byteLimit >> 30) GiB", "use less memory")
    }
  }

  /// The layout of the region: the wanted objects, and buffers in whatever memory is left.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` for sizes that no object can have, and `ENOMEM` when the objects do not fit.
  package var layout: RegionLayout {
    get throws(NetmapError) {
      try checkSize()
      try objects.validateExact()
      let wanted =
        objects.interfaceCount * objects.interfaceSize + objects.ringCount * objects.ringSize
        + objects.bufferCount * objects.bufferSize
      guard wanted <= byteCount else {
        throw refusal(
          "its objects take \(wanted) bytes, and it has \(max(byteCount, 0))",
          "give more memory, or ask for fewer or smaller objects")
      }
      // Each pool begins with a page, so the last buffers may not fit although the sum does.
      let available = pageRounded(byteCount)
      let first = RegionLayout.firstBuffer(after: objects)
      var result = objects
      result.bufferCount = min(
        objects.bufferCount + (byteCount - wanted) / objects.bufferSize,
        max(available - first, 0) / objects.bufferSize, RegionParameters.exactBufferLimit)
      guard result.bufferCount > Region.reservedBuffers else {
        throw refusal("no room is left for buffers", "give more memory, or ask for fewer rings")
      }
      return RegionLayout(exactly: result, in: available)
    }
  }

  private func refusal(_ reason: String, _ remedy: String) -> NetmapError {
    NetmapError(.outOfMemory, "use", "memory of the program", reason: reason, remedy: remedy)
  }
}

extension RegionParameters {
  /// The most buffers of a region with exact sizes.
  package static let exactBufferLimit = 1 << 22

  /// Rejects sizes and counts that a region with exact sizes cannot have.
  ///
  /// - Throws: ``NetmapError`` `EINVAL`, naming the value and the rule.
  package func validateExact() throws(NetmapError) {
    // Rings have atomic words and lie at multiples of their alignment in netmap.h. Packets are copied in blocks of 64
    // bytes, which must not reach into the next buffer.
    let checks: [(String, Int, ClosedRange<Int>, unit: Int)] = [
      ("netmap_if size", interfaceSize, 64...65_536, unit: 8),
      ("number of netmap_if objects", interfaceCount, 1...10_000, unit: 1),
      ("ring size", ringSize, 256...1 << 24, unit: 128),
      ("number of rings", ringCount, 1...10_000, unit: 1),
      ("buffer size", bufferSize, Self.bufferSizes, unit: 64),
      ("number of buffers", bufferCount, 1...Self.exactBufferLimit, unit: 1),
    ]
    for (what, value, range, unit) in checks where !range.contains(value) || value % unit != 0 {
      throw NetmapError(
        .invalidArgument, "use", "memory of the program",
        reason: "the \(what), \(value), is not in \(range.lowerBound)...\(range.upperBound)"
          + (unit > 1 ? ", or no multiple of \(unit)" : ""),
        remedy: unit > 1 ? "use a multiple of \(unit)" : "ask for another number")
    }
  }
}

extension RegionLayout {
  /// A layout with exactly the sizes that were asked for; each pool begins on a page.
  ///
  /// There is no room for a UMEM. Nothing that copies packets reads beyond the spare page at the end.
  ///
  /// - Parameters:
  ///   - objects: Sizes and counts that ``RegionParameters/validateExact()`` accepts.
  ///   - byteCount: The size of the program's memory in whole pages; nil for as many as the objects need.
  init(exactly objects: RegionParameters, in byteCount: Int? = nil) {
    let interfaces = Pool(offset: 0, size: objects.interfaceSize, count: objects.interfaceCount)
    let rings = Pool(
      offset: pageRounded(interfaces.byteCount), size: objects.ringSize, count: objects.ringCount)
    let buffers = Pool(
      offset: Self.firstBuffer(after: objects), size: objects.bufferSize, count: objects.bufferCount
    )
    let needed = pageRounded(buffers.offset + buffers.byteCount)
    self.init(
      interfaces: interfaces, rings: rings, buffers: buffers,
      byteCount: max(byteCount ?? 0, needed) + pageSize, headroom: 0)
  }

  /// Where the buffers of a layout with exact sizes begin.
  fileprivate static func firstBuffer(after objects: RegionParameters) -> Int {
    pageRounded(
      pageRounded(objects.interfaceSize * objects.interfaceCount)
        + objects.ringSize * objects.ringCount)
  }
}
