/// The plain data of one port (or of the two ends of one pipe) that every process syncing it maps:
/// krings, per-open state, and the list of waiters.
///
/// Everything is found by offset, so each process maps the segment where it likes. The two ends of a
/// pipe share one segment: whoever may sync one end must write the other end's words anyway.
///
/// Layout: header, endpoints, bindings, krings; ``SyncSegmentLayout`` has the numbers.
@safe
package struct SyncSegment: Sendable {
  package let memory: SharedMemory

  /// Makes the segment of a new port.
  ///
  /// - Parameters:
  ///   - name: A label for `/proc/self/maps`.
  ///   - ends: The geometry of each end: one, or the two of a pipe.
  ///   - region: Where the buffers lie, for processes that attach.
  /// - Throws: ``NetmapError`` when there is no memory or descriptor left.
  package init(
    creating name: String, ends: [PortGeometry], region: RegionLayout
  ) throws(NetmapError) {
    let krings = ends.reduce(0) { $0 + $1.rings(.transmit) + $1.rings(.receive) }
    memory = try SharedMemory(
      creating: name,
      byteCount: SyncSegmentLayout.krings + krings * KRingLayout.byteCount)
    store(SyncSegmentLayout.magic, SyncSegmentLayout.magicNumber)
    store(SyncSegmentLayout.version, SyncSegmentLayout.layoutVersion)
    store(SyncSegmentLayout.endCount, UInt32(ends.count))
    describeBuffers(region)
    var first: UInt32 = 0
    for (index, end) in ends.enumerated() {
      let record = SyncSegmentLayout.ends + index * SyncSegmentLayout.endByteCount
      store(record, first)
      store(record + 4, UInt32(end.rings(.transmit)))
      store(record + 8, UInt32(end.rings(.receive)))
      first += UInt32(end.rings(.transmit) + end.rings(.receive))
    }
  }

  /// Takes over a segment that the engine made, here or in another process.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the memory is not a segment of this layout.
  package init(attaching memory: SharedMemory) throws(NetmapError) {
    self.memory = memory
    let problem: String?
    if memory.byteCount < SyncSegmentLayout.krings {
      problem = "it is too short"
    } else if load(SyncSegmentLayout.magic, as: UInt64.self)
      != SyncSegmentLayout.magicNumber
    {
      problem = "it is something else"
    } else if load(SyncSegmentLayout.version, as: UInt32.self)
      != SyncSegmentLayout.layoutVersion
    {
      problem = "it was made by another version of netmap"
    } else {
      let ends = load(SyncSegmentLayout.endCount, as: UInt32.self)
      problem =
        (1...2).contains(ends)
          && (0..<Int(ends)).allSatisfy { endFits($0) } ? nil : "its header is damaged"
    }
    if let problem {
      throw NetmapError(
        .invalidArgument, "attach", "sync segment", reason: problem,
        remedy: "use one version of netmap for all processes")
    }
  }

  /// Says where the buffers lie, for processes that attach.
  package func describeBuffers(_ region: RegionLayout) {
    store(SyncSegmentLayout.bufferBase, UInt64(region.bufferBase))
    store(SyncSegmentLayout.bufferCount, UInt32(region.buffers.count))
    store(SyncSegmentLayout.bufferSize, UInt32(region.buffers.size))
  }

  private func endFits(_ end: Int) -> Bool {
    let record = SyncSegmentLayout.ends + end * SyncSegmentLayout.endByteCount
    let first = Int(load(record, as: UInt32.self))
    let rings = Int(load(record + 4, as: UInt32.self)) + Int(load(record + 8, as: UInt32.self))
    let needed = SyncSegmentLayout.krings + (first + rings) * KRingLayout.byteCount
    return needed <= memory.byteCount
  }

  /// Where buffer 0 begins in the region, how many buffers there are, and their size.
  package var buffers: (base: Int, count: UInt32, size: UInt32) {
    (
      Int(load(SyncSegmentLayout.bufferBase, as: UInt64.self)),
      load(SyncSegmentLayout.bufferCount, as: UInt32.self),
      load(SyncSegmentLayout.bufferSize, as: UInt32.self)
    )
  }

  /// Bytes in a buffer.
  package var bufferSize: Int { Int(buffers.size) }

  /// The number of rings of an end in one direction, host rings included.
  package func ringCount(end: Int, _ direction: Direction) -> Int {
    let record = SyncSegmentLayout.ends + end * SyncSegmentLayout.endByteCount
    return Int(load(record + (direction == .transmit ? 4 : 8), as: UInt32.self))
  }

  /// The kring of ring `index`, or nil when there is none.
  package func kring(end: Int, _ direction: Direction, _ index: Int) -> KRing? {
    guard index >= 0, index < ringCount(end: end, direction) else { return nil }
    let record = SyncSegmentLayout.ends + end * SyncSegmentLayout.endByteCount
    let first = Int(load(record, as: UInt32.self))
    let place = first + (direction == .transmit ? 0 : ringCount(end: end, .transmit)) + index
    return unsafe KRing(
      base: memory.base + SyncSegmentLayout.krings + place * KRingLayout.byteCount)
  }

  /// The list of sleepers for wait words that have more than one.
  package var waiters: UnsafeMutableRawPointer {
    unsafe memory.base + SyncSegmentLayout.waiters
  }

  /// A kring's offset in the segment, for references from one kring to another.
  package func offset(of kring: KRing) -> UInt64 {
    unsafe UInt64(kring.base - memory.base)
  }

  func load<T: BitwiseCopyable>(_ offset: Int, as type: T.Type) -> T {
    memory.load(at: offset, as: type)
  }

  func store<T: BitwiseCopyable>(_ offset: Int, _ value: T) {
    memory.store(value, at: offset)
  }
}

/// Offsets in a sync segment, bytes. A change of any number here is a new ``layoutVersion``.
package enum SyncSegmentLayout {
  package static let magicNumber: UInt64 = 0x676e_7973_706d_746e  // "ntmpsyng"
  package static let layoutVersion: UInt32 = 1

  static let magic = 0
  static let version = 8
  static let endCount = 12
  static let bufferBase = 16
  static let bufferCount = 24
  static let bufferSize = 28

  /// ``WaitWord/listCount`` words.
  static let waiters = 64

  /// For each end: index of its first kring, transmit rings, receive rings.
  static let ends = 384
  static let endByteCount = 64

  static let bindings = 512
  static let bindingByteCount = 64

  static let krings = bindings + EngineLimits.bindingsPerPort * bindingByteCount
}
