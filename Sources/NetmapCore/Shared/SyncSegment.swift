internal import Synchronization

/// The number of the last segment that this process has created.
private let lastNumber = Atomic<UInt32>(0)

/// The shared data that every process syncing a port maps: krings, per-open state and the list of waiters.
///
/// References within the segment are offsets, so each process may map it at any address. The two ends of a pipe
/// share one segment because a process that syncs one end must write the other end's words anyway.
///
/// The layout is: header, ends, bindings, krings, leases; ``SyncSegmentLayout`` has the offsets.
@safe
package struct SyncSegment: Sendable {
  package let memory: SharedMemory

  /// The location of the krings of each end.
  ///
  /// Read from the header only once: every process on the port can write to the header, so a second read could
  /// differ from the checked values.
  private let ends: [End]

  /// Slots of each receive ring that senders fill by leases (``LeaseTable``); 0 where no ring uses leases.
  package let leaseSlots: Int

  /// The clients that have the segment mapped; nil in an attached segment, whose clients another process's engine
  /// tracks.
  package let users: SegmentUsers?

  private struct End {
    let first: Int
    let transmitRings: Int
    let receiveRings: Int
  }

  /// Creates the segment of a new port.
  ///
  /// - Parameters:
  ///   - name: A label for `/proc/self/maps`.
  ///   - ends: The geometry of each end: one geometry, or two for a pipe.
  ///   - region: The layout of the region with the port's buffers, for processes that attach.
  ///   - hasLeases: Whether several senders fill the receive rings of the first end.
  /// - Throws: ``NetmapError`` when no memory or descriptor is left.
  package init(
    creating name: String, ends: [PortGeometry], region: RegionLayout, hasLeases: Bool = false
  ) throws(NetmapError) {
    let krings = ends.reduce(0) { $0 + $1.rings(.transmit) + $1.rings(.receive) }
    leaseSlots = hasLeases ? ends[0].receiveSlots : 0
    users = SegmentUsers()
    memory = unsafe try SharedMemory(
      creating: name,
      byteCount: SyncSegmentLayout.krings + krings * KRingLayout.byteCount
        + ends[0].rings(.receive) * leaseSlots * LeaseTable.entryByteCount)
    var first = 0
    self.ends = ends.map { end in
      defer { first += end.rings(.transmit) + end.rings(.receive) }
      return End(
        first: first, transmitRings: end.rings(.transmit), receiveRings: end.rings(.receive))
    }
    store(SyncSegmentLayout.magic, SyncSegmentLayout.magicNumber)
    store(SyncSegmentLayout.version, SyncSegmentLayout.layoutVersion)
    store(SyncSegmentLayout.endCount, UInt32(ends.count))
    store(SyncSegmentLayout.leaseSlots, UInt32(leaseSlots))
    store(
      SyncSegmentLayout.number, lastNumber.wrappingAdd(1, ordering: .relaxed).newValue)
    describeBuffers(region)
    for (index, end) in self.ends.enumerated() {
      let record = SyncSegmentLayout.ends + index * SyncSegmentLayout.endByteCount
      store(record, UInt32(end.first))
      store(record + 4, UInt32(end.transmitRings))
      store(record + 8, UInt32(end.receiveRings))
    }
  }

  /// Attaches to a segment that the engine created, in this process or in another one.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the memory is not a segment of this layout.
  package init(mapping memory: SharedMemory) throws(NetmapError) {
    self.memory = memory
    users = nil
    let problem: String?
    var found: [End] = []
    if memory.byteCount < SyncSegmentLayout.krings {
      problem = "it is too short"
    } else if memory.load(at: SyncSegmentLayout.magic, as: UInt64.self)
      != SyncSegmentLayout.magicNumber
    {
      problem = "it is not a sync segment"
    } else if memory.load(at: SyncSegmentLayout.version, as: UInt32.self)
      != SyncSegmentLayout.layoutVersion
    {
      problem = "another version of netmap made it"
    } else {
      let count = memory.load(at: SyncSegmentLayout.endCount, as: UInt32.self)
      found = count <= 2 ? (0..<Int(count)).compactMap { Self.end($0, in: memory) } : []
      problem = found.isEmpty || found.count != count ? "its header is damaged" : nil
    }
    ends = found
    leaseSlots = found.isEmpty ? 0 : Self.leaseSlots(memory, found)
    if let problem {
      throw NetmapError(
        .invalidArgument, "attach", "sync segment", reason: problem,
        remedy: "use one version of netmap for all processes")
    }
  }

  /// Attaches to a copy of a segment, whose header may be damaged; nil when the numbers do not fit the memory.
  ///
  /// - Parameters:
  ///   - memory: The copy.
  ///   - numbers: The value of ``endNumbers`` of the segment that was copied.
  ///   - leaseSlots: The value of ``leaseSlots``.
  package init?(copy memory: SharedMemory, endNumbers numbers: [UInt32], leaseSlots: Int) {
    guard numbers.count == 3 || numbers.count == 6, memory.byteCount >= SyncSegmentLayout.krings
    else { return nil }
    ends = stride(from: 0, to: numbers.count, by: 3).map { place in
      End(
        first: Int(numbers[place]), transmitRings: Int(numbers[place + 1]),
        receiveRings: Int(numbers[place + 2]))
    }
    let room = (memory.byteCount - SyncSegmentLayout.krings) / KRingLayout.byteCount
    let krings = ends.reduce(0) { $0 + $1.transmitRings + $1.receiveRings }
    let end = SyncSegmentLayout.krings + krings * KRingLayout.byteCount
    guard krings <= room,
      ends.allSatisfy({ $0.first + $0.transmitRings + $0.receiveRings <= room }),
      leaseSlots < 65_536,
      unsafe end + ends[0].receiveRings * leaseSlots * LeaseTable.entryByteCount <= memory.byteCount
    else { return nil }
    self.memory = memory
    self.leaseSlots = leaseSlots
    users = nil
  }

  /// The version of the layout of segments.
  static var layoutVersion: UInt32 { SyncSegmentLayout.layoutVersion }

  /// For each end: its first kring, the number of transmit rings and that of receive rings.
  package var endNumbers: [UInt32] {
    ends.flatMap { [$0.first, $0.transmitRings, $0.receiveRings].map { UInt32(clamping: $0) } }
  }

  /// The end that the header describes; nil when it does not fit the memory.
  private static func end(_ index: Int, in memory: SharedMemory) -> End? {
    let record = SyncSegmentLayout.ends + index * SyncSegmentLayout.endByteCount
    let numbers = (0..<3).map { Int(memory.load(at: record + 4 * $0, as: UInt32.self)) }
    let krings = numbers[0] + numbers[1] + numbers[2]
    guard SyncSegmentLayout.krings + krings * KRingLayout.byteCount <= memory.byteCount else {
      return nil
    }
    return End(first: numbers[0], transmitRings: numbers[1], receiveRings: numbers[2])
  }

  /// The number of slots with leases from the header; 0 when the leases do not fit the memory.
  private static func leaseSlots(_ memory: SharedMemory, _ ends: [End]) -> Int {
    let slots = Int(memory.load(at: SyncSegmentLayout.leaseSlots, as: UInt32.self))
    let krings = ends.reduce(0) { $0 + $1.transmitRings + $1.receiveRings }
    let end = SyncSegmentLayout.krings + krings * KRingLayout.byteCount
    let fits =
      unsafe slots < 65_536
      && end + ends[0].receiveRings * slots * LeaseTable.entryByteCount <= memory.byteCount
    return fits ? slots : 0
  }

  /// The address of the leases of receive ring `index` of the first end; nil when the ring has none.
  func leases(_ index: Int) -> UnsafeMutableRawPointer? {
    guard leaseSlots > 0, index >= 0, index < ends[0].receiveRings else { return nil }
    let krings = ends.reduce(0) { $0 + $1.transmitRings + $1.receiveRings }
    let offset =
      unsafe SyncSegmentLayout.krings + krings * KRingLayout.byteCount
      + index * leaseSlots * LeaseTable.entryByteCount
    return unsafe memory.base + offset
  }

  /// Clears the leases of receive ring `index` of the first end.
  ///
  /// - Returns: Whether the ring uses leases.
  func clearLeases(_ index: Int) -> Bool {
    guard let leases = unsafe leases(index) else { return false }
    unsafe leases.initializeMemory(
      as: UInt8.self, repeating: 0, count: leaseSlots * LeaseTable.entryByteCount)
    return true
  }

  /// Stores the location of the buffers, for processes that attach.
  package func describeBuffers(_ region: RegionLayout) {
    store(SyncSegmentLayout.bufferBase, UInt64(region.bufferBase))
    store(SyncSegmentLayout.bufferCount, UInt32(region.buffers.count))
    store(SyncSegmentLayout.bufferSize, UInt32(region.buffers.size))
  }

  /// The offset of buffer 0 in the region, the number of buffers and their size.
  package var buffers: (base: Int, count: UInt32, size: UInt32) {
    // Other processes can write here. The limits guarantee that callers can add and multiply these numbers
    // without overflow.
    let base = load(SyncSegmentLayout.bufferBase, as: UInt64.self)
    let size = load(SyncSegmentLayout.bufferSize, as: UInt32.self)
    return (
      base < 1 << 46 ? Int(base) : -1, load(SyncSegmentLayout.bufferCount, as: UInt32.self),
      size <= 1 << 16 ? size : 0
    )
  }

  /// Bytes in a buffer.
  package var bufferSize: Int { Int(buffers.size) }

  /// The number of ends: 1, or 2 for a pipe.
  package var endCount: Int { ends.count }

  /// The number of rings of an end in one direction, host rings included.
  package func ringCount(end: Int, _ direction: Direction) -> Int {
    direction == .transmit ? ends[end].transmitRings : ends[end].receiveRings
  }

  /// The kring of ring `index`; nil when the end has no such ring.
  package func kring(end: Int, _ direction: Direction, _ index: Int) -> KRing? {
    guard index >= 0, index < ringCount(end: end, direction) else { return nil }
    let place =
      ends[end].first + (direction == .transmit ? 0 : ends[end].transmitRings) + index
    return unsafe KRing(
      base: memory.base + SyncSegmentLayout.krings + place * KRingLayout.byteCount)
  }

  /// The kring at an offset that another kring stores (``offset(of:)``); nil when no kring can begin there.
  func kring(at offset: UInt64) -> KRing? {
    let (first, size) = (UInt64(SyncSegmentLayout.krings), UInt64(KRingLayout.byteCount))
    guard offset >= first, (offset - first) % size == 0, offset <= UInt64(memory.byteCount) - size
    else { return nil }
    return unsafe KRing(base: memory.base + Int(offset))
  }

  /// The list of waiters, used by wait words with more than one sleeper.
  package var waiters: UnsafeMutableRawPointer {
    unsafe memory.base + SyncSegmentLayout.waiters
  }

  /// The offset of a kring in the segment, for references from one kring to another.
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

/// Offsets in a sync segment, in bytes.
///
/// Any change of a number here requires a new ``layoutVersion``.
package enum SyncSegmentLayout {
  package static let magicNumber: UInt64 = 0x676e_7973_706d_746e  // "ntmpsyng"
  package static let layoutVersion: UInt32 = 10

  static let magic = 0
  static let version = 8
  static let endCount = 12
  static let bufferBase = 16
  static let bufferCount = 24
  static let bufferSize = 28
  static let leaseSlots = 32
  /// The segment's number among those of its engine (``RingName``).
  static let number = 36

  /// `WaitWord.listCount` words.
  package static let waiters = 64

  /// For each end: the index of its first kring, the number of transmit rings and the number of receive rings.
  static let ends = 384
  static let endByteCount = 64

  package static let bindings = 512
  package static let bindingByteCount = 128

  package static let krings = bindings + EngineLimits.bindingsPerPort * bindingByteCount
}
