internal import Synchronization

/// A port as the senders of one process reach it: this process's addresses of its receive rings.
///
/// Plain data that never changes; another incarnation of the port is another value.
@unsafe
struct Destination {
  /// Of which incarnation of the port: must agree with the bridge segment.
  let generation: UInt32
  let receiveRings: UInt32
  let slotCount: UInt32
  let bufferCount: UInt32
  let bufferSize: UInt32
  /// The largest offset at which a ring object of the port fits its region, in units of 128 bytes.
  let lastRingPlace: UInt64
  let region: UnsafeMutableRawPointer
  let buffers: UnsafeMutableRawPointer
  /// The kring of receive ring 0; the others follow.
  let krings: UnsafeMutableRawPointer
  /// The leases of receive ring 0; those of the others follow.
  let leases: UnsafeMutableRawPointer
  let waiters: UnsafeMutableRawPointer
  /// The kring of transmit ring 0; the others follow. For whoever wakes a sender that waits for room.
  let transmitKRings: UnsafeMutableRawPointer
  let transmitRings: UInt32

  /// - Parameters:
  ///   - region: Where the port's rings and buffers lie.
  ///   - segment: Its sync segment.
  ///   - generation: Of the port on its switch.
  /// - Throws: ``NetmapError`` `EINVAL` when the segment does not describe such a port.
  init(
    region: SharedMemory, segment: SyncSegment, generation: UInt32
  ) throws(NetmapError) {
    let buffers = segment.buffers
    let rings = segment.ringCount(end: 0, .receive)
    let slots = segment.leaseSlots
    let transmitRings = segment.ringCount(end: 0, .transmit)
    guard rings > 0, slots > 0, let kring = unsafe segment.kring(end: 0, .receive, 0),
      let leases = unsafe segment.leases(0),
      buffers.base >= 0, buffers.count >= 2,
      // Packets are copied in blocks of 64 bytes.
      buffers.size >= 64, buffers.size % 64 == 0,
      buffers.base + Int(buffers.count) * Int(buffers.size) <= region.byteCount,
      256 + 16 * slots <= region.byteCount
    else {
      throw NetmapError(
        .invalidArgument, "attach", "switch port",
        reason: "its description in shared memory is damaged", remedy: "open the port again")
    }
    unsafe self.generation = generation
    unsafe receiveRings = UInt32(rings)
    unsafe slotCount = UInt32(slots)
    unsafe bufferCount = buffers.count
    unsafe bufferSize = buffers.size
    unsafe lastRingPlace = UInt64(region.byteCount - 256 - 16 * slots) >> 7
    unsafe self.region = region.base
    unsafe self.buffers = region.base + buffers.base
    unsafe krings = kring.base
    unsafe self.leases = leases
    unsafe waiters = segment.waiters
    unsafe transmitKRings = segment.kring(end: 0, .transmit, 0)?.base ?? kring.base
    unsafe self.transmitRings = UInt32(transmitRings)
  }

  @inline(__always)
  func kring(_ index: Int) -> KRing {
    unsafe KRing(base: krings + index &* KRingLayout.byteCount)
  }

  @inline(__always)
  func leases(_ index: Int) -> LeaseTable {
    unsafe LeaseTable(base: leases + index &* Int(slotCount) &* LeaseTable.entryByteCount)
  }
}

/// The ports of one switch as one process has them mapped, by index.
///
/// The data path reads one pointer a destination and batch. What it points to stays as it is until every sync
/// of this process is over that was under way when it was taken out of the table (``SyncEpochs``). Nothing that
/// another process can write has a say in that.
@safe
package final class DestinationTable: Sendable {
  /// 256 pointers to ``Destination``, 0 for none.
  nonisolated(unsafe) let cells: UnsafeMutableRawPointer
  private let places = Mutex<[Int: Place]>([:])
  private let state = Mutex(State())
  /// How many places are kept for syncs that may still use them.
  private let retiredCount = Atomic<Int>(0)

  private struct State {
    /// What this process syncs on the switch.
    var ports: [PortKey: (epochs: SyncEpochs, users: Int)] = [:]
    /// What has been taken out, and which syncs may still use it.
    var retired: [(place: Place, users: EpochWatch)] = []
  }

  /// An incarnation of a port of this process.
  private struct PortKey: Hashable {
    let index: Int
    let generation: UInt32
  }

  package init() {
    // One more, for the process's module.
    let byteCount = (SwitchLimits.indexes + 1) * MemoryLayout<UInt>.size
    unsafe cells = .allocate(byteCount: byteCount, alignment: 128)
    unsafe cells.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
  }

  deinit { unsafe cells.deallocate() }

  /// A destination with the mappings it points into.
  @safe
  fileprivate final class Place: Sendable {
    nonisolated(unsafe) let destination: UnsafeMutablePointer<Destination>
    private let region: SharedMemory
    private let segment: SyncSegment

    init(
      region: SharedMemory, segment: SyncSegment, generation: UInt32
    ) throws(NetmapError) {
      let value = unsafe try Destination(region: region, segment: segment, generation: generation)
      unsafe destination = .allocate(capacity: 1)
      unsafe destination.initialize(to: value)
      self.region = region
      self.segment = segment
    }

    deinit { unsafe destination.deallocate() }
  }

  // MARK: - Who syncs

  /// Somebody in this process is about to sync rings of its port `index`.
  ///
  /// - Returns: The port's numbers, the same for everybody who does.
  func join(_ index: Int, _ generation: UInt32) -> SyncEpochs {
    state.withLock { state in
      let key = PortKey(index: index, generation: generation)
      var port = state.ports[key] ?? (SyncEpochs(), 0)
      port.users += 1
      state.ports[key] = port
      return port.epochs
    }
  }

  /// The same one does so no more; no sync of it is under way.
  func leave(_ index: Int, _ generation: UInt32) {
    state.withLock { state in
      let key = PortKey(index: index, generation: generation)
      guard let port = state.ports[key] else { return }
      state.ports[key] = port.users > 1 ? (port.epochs, port.users - 1) : nil
    }
    sweep()
  }

  /// The syncs of this process that are under way now. What they must not find any more has been unlinked by a
  /// sequentially consistent store.
  func watch() -> EpochWatch {
    state.withLock { EpochWatch($0.ports.values.map(\.epochs)) }
  }

  // MARK: - Who is there

  /// Makes port `index` reachable. What was in its place is kept as ``retire(_:)`` keeps it.
  ///
  /// - Parameters:
  ///   - index: Below 256.
  ///   - region: Where its rings and buffers lie.
  ///   - segment: Its sync segment.
  ///   - generation: Which incarnation of the port it is.
  /// - Throws: ``NetmapError`` `EINVAL` when the segment does not describe a switch port.
  package func install(
    _ index: Int, region: SharedMemory, segment: SyncSegment, generation: UInt32
  ) throws(NetmapError) {
    let place = try Place(region: region, segment: segment, generation: generation)
    let former = places.withLock { places in
      unsafe destinationCell(cells, index).pointee.store(
        UInt(bitPattern: place.destination), ordering: .sequentiallyConsistent)
      return places.updateValue(place, forKey: index)
    }
    keep(former)
  }

  /// Makes port `index` unreachable for syncs that begin now. Its memory is kept until every sync of this process
  /// that is under way now has ended, and then goes with the next call of this or of ``sweep()``.
  package func retire(_ index: Int) {
    let former = places.withLock { places in
      unsafe destinationCell(cells, index).pointee.store(0, ordering: .sequentiallyConsistent)
      return places.removeValue(forKey: index)
    }
    keep(former)
  }

  private func keep(_ former: Place?) {
    if let former {
      state.withLock { state in
        state.retired.append((former, EpochWatch(state.ports.values.map(\.epochs))))
        retiredCount.store(state.retired.count, ordering: .relaxed)
      }
    }
    sweep()
  }

  /// Lets go of what no sync can be using any more.
  ///
  /// - Returns: Whether something is left.
  @discardableResult
  package func sweep() -> Bool {
    guard retiredCount.load(ordering: .relaxed) > 0 else { return false }
    // Unmapped without the lock.
    var over: [Place] = []
    let isLeft = state.withLock { state in
      for index in state.retired.indices.reversed() where state.retired[index].users.isOver() {
        over.append(state.retired.remove(at: index).place)
      }
      retiredCount.store(state.retired.count, ordering: .relaxed)
      return !state.retired.isEmpty
    }
    withExtendedLifetime(over) {}
    return isLeft
  }

  /// How many places are kept for syncs that may still use them.
  package var keptCount: Int { retiredCount.load(ordering: .relaxed) }
}

/// A cell of a ``DestinationTable``, on its own because the data path may not touch a class.
@inline(__always)
func destinationCell(
  _ cells: UnsafeMutableRawPointer, _ index: Int
) -> UnsafeMutablePointer<Atomic<UInt>> {
  unsafe (cells + (index & 255) &* MemoryLayout<UInt>.size)
    .assumingMemoryBound(to: Atomic<UInt>.self)
}

/// The incarnation of a port that a generation names, as this process has it mapped; nil when it has not.
@inline(__always)
func findDestination(
  _ cells: UnsafeMutableRawPointer, _ index: Int, _ generation: UInt32,
  _ resolver: DestinationResolver?
) -> UnsafePointer<Destination>? {
  if let known = unsafe knownDestination(cells, index),
    unsafe known.pointee.generation == generation
  {
    return unsafe known
  }
  return unsafe fetchDestination(cells, index, generation, resolver)
}

// Reads mail, which the compiler cannot follow.
@_semantics("no_performance_analysis")
@inline(never)
private func fetchDestination(
  _ cells: UnsafeMutableRawPointer, _ index: Int, _ generation: UInt32,
  _ resolver: DestinationResolver?
) -> UnsafePointer<Destination>? {
  guard let resolver = unsafe resolver else { return nil }
  unsafe resolver.fetch(resolver.context)
  guard let known = unsafe knownDestination(cells, index),
    unsafe known.pointee.generation == generation
  else { return nil }
  return unsafe known
}

@inline(__always)
private func knownDestination(
  _ cells: UnsafeMutableRawPointer, _ index: Int
) -> UnsafePointer<Destination>? {
  unsafe UnsafePointer(
    bitPattern: destinationCell(cells, index).pointee.load(ordering: .sequentiallyConsistent))
}

/// A port's place on a switch, as the process that syncs the port holds it.
package struct BridgeAttachment: Sendable {
  package let segment: BridgeSegment
  package let destinations: DestinationTable
  /// The port's index on the switch.
  package let index: Int
  package let generation: UInt32

  package init(
    segment: BridgeSegment, destinations: DestinationTable, index: Int, generation: UInt32
  ) {
    self.segment = segment
    self.destinations = destinations
    self.index = index
    self.generation = generation
  }
}
