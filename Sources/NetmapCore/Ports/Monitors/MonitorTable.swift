internal import Synchronization

/// The monitors of one port as mapped in this process, by index.
///
/// A sync of a monitored ring finds the monitors' memory here. After the table has removed a monitor, it keeps the memory
/// until no sync of this process uses the table.
@safe
package final class MonitorTable: Sendable {
  /// For syncs: plain data.
  @unsafe
  package struct View {
    /// ``MonitorLimits/perPort`` pointers to ``Destination``, 0 where there is no monitor; then the number of syncs that use
    /// the table.
    private let cells: UnsafeMutableRawPointer
    private let resolver: DestinationResolver?

    init(_ cells: UnsafeMutableRawPointer, _ resolver: DestinationResolver?) {
      unsafe self.cells = cells
      unsafe self.resolver = resolver
    }

    /// Begins a use of the table.
    ///
    /// Sequentially consistent, as are all accesses of cells and of the number: either ``MonitorTable/sweep()`` sees the use,
    /// or the use does not see what has been removed.
    func enter() {
      _ = unsafe userCell(cells).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
    }

    /// Ends a use of the table.
    func leave() {
      _ = unsafe userCell(cells).pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    }

    /// The memory of a monitor; nil when this process cannot map it.
    func find(_ entry: MonitorEntry) -> UnsafePointer<Destination>? {
      unsafe findDestination(cells, entry.index, entry.generation, resolver)
    }
  }

  nonisolated(unsafe) private let cells: UnsafeMutableRawPointer
  private let places = Mutex(Places())

  private struct Places {
    var present: [Int: DestinationTable.Place] = [:]
    /// Removed ones, which syncs may still use.
    var removed: [DestinationTable.Place] = []
  }

  package init() {
    let byteCount = (MonitorLimits.perPort + 1) * MemoryLayout<UInt>.size
    unsafe cells = .allocate(byteCount: byteCount, alignment: 64)
    unsafe cells.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
  }

  deinit { unsafe cells.deallocate() }

  /// - Parameter resolver: Fetches the memory of monitors that were announced, but are not mapped yet.
  /// - Returns: Valid as long as the table lives.
  func view(_ resolver: DestinationResolver?) -> View { unsafe View(cells, resolver) }

  /// Makes a monitor reachable.
  ///
  /// - Parameters:
  ///   - index: The monitor's index; one that is out of range has no effect.
  ///   - region: The region with its rings and buffers.
  ///   - segment: Its sync segment.
  ///   - generation: The incarnation of the monitor.
  /// - Throws: ``NetmapError`` `EINVAL` when the segment does not describe a monitor.
  package func install(
    _ index: Int, region: SharedMemory, segment: SyncSegment, generation: UInt32
  ) throws(NetmapError) {
    guard index >= 0, index < MonitorLimits.perPort else { return }
    let place = try DestinationTable.Place(
      region: region, segment: segment, generation: generation)
    places.withLock { places in
      unsafe destinationCell(cells, index).pointee.store(
        UInt(bitPattern: place.destination), ordering: .sequentiallyConsistent)
      if let former = places.present.updateValue(place, forKey: index) {
        places.removed.append(former)
      }
    }
    sweep()
  }

  /// Makes a monitor unreachable for syncs that begin from now on.
  package func retire(_ index: Int) {
    guard index >= 0, index < MonitorLimits.perPort else { return }
    places.withLock { places in
      unsafe destinationCell(cells, index).pointee.store(0, ordering: .sequentiallyConsistent)
      if let former = places.present.removeValue(forKey: index) { places.removed.append(former) }
    }
    sweep()
  }

  /// Releases removed monitors if no sync uses the table.
  ///
  /// - Returns: Whether removed ones are left.
  @discardableResult
  package func sweep() -> Bool {
    // Collected here, so that they are unmapped without the lock.
    var over: [DestinationTable.Place] = []
    let isLeft = places.withLock { places in
      guard !places.removed.isEmpty else { return false }
      guard unsafe userCell(cells).pointee.load(ordering: .sequentiallyConsistent) == 0 else {
        return true
      }
      swap(&over, &places.removed)
      return false
    }
    withExtendedLifetime(over) {}
    return isLeft
  }
}

/// The number of syncs that use a table; a free function, because the data path may not touch a class.
private func userCell(_ cells: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt>> {
  unsafe (cells + MonitorLimits.perPort &* MemoryLayout<UInt>.size)
    .assumingMemoryBound(to: Atomic<UInt>.self)
}
