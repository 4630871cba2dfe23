internal import Synchronization

/// The addresses at which the senders of one process reach a port's receive rings.
///
/// Plain data that never changes. Each incarnation of the port gets a new value.
@unsafe
struct Destination {
  /// The incarnation of the port; must match the generation in the switch's segment.
  let generation: UInt32
  let receiveRings: UInt32
  let slotCount: UInt32
  let bufferCount: UInt32
  let bufferSize: UInt32
  /// The largest offset at which a ring object still fits the port's region, in units of 128 bytes.
  let lastRingPlace: UInt64
  let region: UnsafeMutableRawPointer
  let buffers: UnsafeMutableRawPointer
  /// The kring of receive ring 0; the others follow.
  let krings: UnsafeMutableRawPointer
  /// The leases of receive ring 0; those of the other rings follow.
  let leases: UnsafeMutableRawPointer
  let waiters: UnsafeMutableRawPointer
  /// The kring of transmit ring 0; the others follow. A receiver uses them to wake a sender that
  /// waits for room. Of a monitor: the krings of those who fill its receive rings.
  let transmitKRings: UnsafeMutableRawPointer
  let transmitRings: UInt32

  /// - Parameters:
  ///   - region: The region with the port's rings and buffers.
  ///   - segment: The port's sync segment.
  ///   - generation: The port's generation on its switch.
  /// - Throws: ``NetmapError`` `EINVAL` when the segment does not describe a switch port that fits
  ///   the region.
  init(
    region: SharedMemory, segment: SyncSegment, generation: UInt32
  ) throws(NetmapError) {
    let buffers = segment.buffers
    let rings = segment.ringCount(end: 0, .receive)
    let slots = segment.leaseSlots
    let transmitRings = segment.ringCount(end: segment.endCount - 1, .transmit)
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
    let sender = unsafe segment.kring(end: segment.endCount - 1, .transmit, 0)
    unsafe transmitKRings = sender?.base ?? kring.base
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

/// The ports of one switch as mapped in this process, by index.
///
/// The data path loads one pointer per destination and batch. After the table has removed a
/// destination, it keeps the memory until every sync of this process that was under way at that
/// moment has ended (``SyncEpochs``). This depends on nothing that another process can write.
@safe
package final class DestinationTable: Sendable {
  /// 256 pointers to ``Destination``, 0 where no port is mapped, and one more cell for a module.
  nonisolated(unsafe) let cells: UnsafeMutableRawPointer
  private let places = Mutex<[Int: Place]>([:])
  private let state = Mutex(State())
  /// The number of removed places that syncs may still use.
  private let retiredCount = Atomic<Int>(0)

  private struct State {
    /// The ports that this process syncs on the switch.
    var ports: [PortKey: (epochs: SyncEpochs, users: Int)] = [:]
    /// Removed places, and the syncs that may still use each of them.
    var retired: [(place: Place, users: EpochWatch)] = []
  }

  /// An incarnation of a port that this process syncs.
  private struct PortKey: Hashable {
    let index: Int
    let generation: UInt32
  }

  package init() {
    // One more cell, for the module of this process.
    let byteCount = (SwitchLimits.indexes + 1) * MemoryLayout<UInt>.size
    unsafe cells = .allocate(byteCount: byteCount, alignment: 128)
    unsafe cells.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
  }

  deinit { unsafe cells.deallocate() }

  /// A destination together with the mappings that it points into.
  @safe
  final class Place: Sendable {
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

  // MARK: - Syncs

  /// Registers a user that is about to sync rings of port `index` in this process.
  ///
  /// - Returns: The port's epochs, which all its users in this process share.
  func join(_ index: Int, _ generation: UInt32) -> SyncEpochs {
    state.withLock { state in
      let key = PortKey(index: index, generation: generation)
      var port = state.ports[key] ?? (SyncEpochs(), 0)
      port.users += 1
      state.ports[key] = port
      return port.epochs
    }
  }

  /// Ends a registration by ``join(_:_:)``. The user has no sync under way.
  func leave(_ index: Int, _ generation: UInt32) {
    state.withLock { state in
      let key = PortKey(index: index, generation: generation)
      guard let port = state.ports[key] else { return }
      state.ports[key] = port.users > 1 ? (port.epochs, port.users - 1) : nil
    }
    sweep()
  }

  /// Notes the syncs of this process that are under way now.
  ///
  /// The caller must first unlink, by a sequentially consistent store, everything that later syncs
  /// must not find.
  func watch() -> EpochWatch {
    state.withLock { EpochWatch($0.ports.values.map(\.epochs)) }
  }

  // MARK: - Ports

  /// Makes port `index` reachable.
  ///
  /// A destination that this replaces is kept as described at ``retire(_:)``.
  ///
  /// - Parameters:
  ///   - index: The index of the port, below 256.
  ///   - region: The region with its rings and buffers.
  ///   - segment: Its sync segment.
  ///   - generation: The incarnation of the port.
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

  /// Makes port `index` unreachable for syncs that begin from now on.
  ///
  /// The table keeps the port's memory until every sync of this process that is under way now has
  /// ended. The next call of this method or of ``sweep()`` then releases the memory.
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

  /// Releases removed places that no sync can use any more.
  ///
  /// - Returns: Whether any removed places are left.
  @discardableResult
  package func sweep() -> Bool {
    guard retiredCount.load(ordering: .relaxed) > 0 else { return false }
    // Collected here, so that they are unmapped without the lock.
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

  /// The number of removed places that syncs may still use.
  package var keptCount: Int { retiredCount.load(ordering: .relaxed) }
}

/// A cell of a ``DestinationTable``; a free function, because the data path may not touch a class.
@inline(__always)
func destinationCell(
  _ cells: UnsafeMutableRawPointer, _ index: Int
) -> UnsafeMutablePointer<Atomic<UInt>> {
  unsafe (cells + (index & 255) &* MemoryLayout<UInt>.size)
    .assumingMemoryBound(to: Atomic<UInt>.self)
}

/// The mapping of one incarnation of a port in this process; nil when this process cannot map it.
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

// The resolver reads mail. The compiler's analysis cannot follow that call.
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

/// A port's place on a switch, for the process that syncs the port.
package struct SwitchMapping: Sendable {
  package let segment: SwitchSegment
  package let destinations: DestinationTable
  /// The port's index on the switch.
  package let index: Int
  package let generation: UInt32

  package init(
    segment: SwitchSegment, destinations: DestinationTable, index: Int, generation: UInt32
  ) {
    self.segment = segment
    self.destinations = destinations
    self.index = index
    self.generation = generation
  }
}
