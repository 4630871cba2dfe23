internal import NetmapCore
internal import Synchronization

/// The monitors of the ports that this process syncs, as far as the process has mapped them.
///
/// The daemon posts the monitors of a port to the mailbox of each process that has the port. The mailbox serializes all
/// changes that its messages cause.
final class MonitorTables: Sendable {
  private let tables = Mutex<[UInt64: Entry]>([:])

  private struct Entry {
    let table = MonitorTable()
    /// The number of uses of the port in this process.
    var ports = 0
    /// The mapped monitors: generations by index.
    var places: [Int: UInt32] = [:]
  }

  /// Whether a number is that of a set of monitors, and not of a switch.
  static func owns(_ serial: UInt64) -> Bool { serial >> 63 != 0 }

  /// Records one use of the port with a set of monitors.
  func join(_ serial: UInt64) -> MonitorTable {
    tables.withLock { tables in
      var entry = tables[serial] ?? Entry()
      entry.ports += 1
      tables[serial] = entry
      return entry.table
    }
  }

  /// Records that one use of the port has ended.
  func leave(_ serial: UInt64) {
    tables.withLock { tables in
      tables[serial]?.ports -= 1
      Self.dropIfUnused(serial, &tables)
    }
  }

  /// Installs or removes a monitor that the daemon has posted.
  ///
  /// - Parameters:
  ///   - serial: The number of the set of monitors.
  ///   - index: The monitor's index there.
  ///   - generation: The incarnation of the monitor.
  ///   - files: The memory of the monitor: its region and its sync segment. None when the monitor has gone.
  /// - Throws: ``NetmapError`` when the monitor cannot be mapped. It then gets no packets from this process.
  func take(
    _ serial: UInt64, _ index: Int, _ generation: UInt32, _ files: [OwnedFile]
  ) throws(NetmapError) {
    guard files.count >= 2 else {
      return tables.withLock { tables in
        guard tables[serial]?.places[index] == generation else { return }
        tables[serial]?.places[index] = nil
        tables[serial]?.table.retire(index)
        Self.dropIfUnused(serial, &tables)
      }
    }
    let region = try SharedMemory(mapping: files[0].descriptor, keepsDescriptor: false)
    let segment = try SyncSegment(
      mapping: SharedMemory(mapping: files[1].descriptor, keepsDescriptor: false))
    let table = tables.withLock { tables in
      var entry = tables[serial] ?? Entry()
      entry.places[index] = generation
      tables[serial] = entry
      return entry.table
    }
    try table.install(index, region: region, segment: segment, generation: generation)
  }

  /// Unmaps monitors that have gone and that no sync can still be using.
  ///
  /// - Returns: Whether a monitor is left to unmap.
  func sweep() -> Bool {
    let all = tables.withLock { $0.values.map(\.table) }
    return all.reduce(false) { $1.sweep() || $0 }
  }

  private static func dropIfUnused(_ serial: UInt64, _ tables: inout sending [UInt64: Entry]) {
    guard let entry = tables[serial], entry.ports == 0, entry.places.isEmpty else { return }
    tables[serial] = nil
  }
}
