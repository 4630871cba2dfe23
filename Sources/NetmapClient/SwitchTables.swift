internal import NetmapCore
internal import Synchronization

/// The switches on which this process has ports, and what it has mapped of the others' ports.
///
/// The daemon posts every port of a switch to the mailbox of every process on it; the tables say what has
/// been read. All of it is ordered by the mailbox.
final class SwitchTables: Sendable {
  private let tables = Mutex<[UInt64: Entry]>([:])

  private struct Entry {
    let destinations = DestinationTable()
    /// Ports of this process on the switch.
    var ports = 0
    /// Ports of the switch that are mapped: generations by index.
    var places: [Int: UInt32] = [:]
  }

  /// Takes note of a port of this process.
  func join(_ place: SwitchPlace) -> BridgeAttachment {
    let destinations = tables.withLock { tables in
      tables[place.serial, default: Entry()].ports += 1
      return tables[place.serial]?.destinations ?? DestinationTable()
    }
    return BridgeAttachment(
      segment: place.segment, destinations: destinations, index: place.index,
      generation: place.generation)
  }

  /// Nobody in this process syncs the port any more.
  func leave(_ place: SwitchPlace) {
    tables.withLock { tables in
      tables[place.serial]?.ports -= 1
      Self.dropIfUnused(place.serial, &tables)
    }
  }

  /// Reads one message that a port has come or gone.
  ///
  /// - Throws: ``NetmapError`` when the port cannot be mapped: packets for it are dropped and counted.
  func take(_ message: Message, _ files: [OwnedFile]) throws(NetmapError) {
    var body = message.body
    let (serial, index) = (try body.take(UInt64.self), Int(try body.take(UInt8.self)))
    let generation = try body.take(UInt32.self)
    guard files.count >= 2 else {
      return tables.withLock { tables in
        guard tables[serial]?.places[index] == generation else { return }
        tables[serial]?.places[index] = nil
        tables[serial]?.destinations.retire(index)
        Self.dropIfUnused(serial, &tables)
      }
    }
    let region = try SharedMemory(attaching: files[0].descriptor, keepsDescriptor: false)
    let segment = try SyncSegment(
      attaching: SharedMemory(attaching: files[1].descriptor, keepsDescriptor: false))
    let destinations = tables.withLock { tables in
      tables[serial, default: Entry()].places[index] = generation
      return tables[serial]?.destinations ?? DestinationTable()
    }
    try destinations.install(index, region: region, segment: segment, generation: generation)
  }

  /// Unmaps ports that have gone, and that no sync can be using any more.
  ///
  /// - Returns: Whether something is left.
  func sweep() -> Bool {
    let all = tables.withLock { $0.values.map(\.destinations) }
    return all.reduce(false) { $1.sweep() || $0 }
  }

  private static func dropIfUnused(_ serial: UInt64, _ tables: inout sending [UInt64: Entry]) {
    guard let entry = tables[serial], entry.ports == 0, entry.places.isEmpty else { return }
    tables[serial] = nil
  }
}
