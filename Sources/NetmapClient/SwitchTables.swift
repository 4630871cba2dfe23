internal import NetmapCore
internal import Synchronization

/// The switches on which this process has ports, and the ports of other processes that it has
/// mapped.
///
/// The daemon posts every port of a switch to the mailbox of every process on that switch. The
/// tables record what this process has read. The mailbox serializes all changes that its messages
/// cause.
final class SwitchTables: Sendable {
  private let tables = Mutex<[UInt64: Entry]>([:])

  private struct Entry {
    let destinations = DestinationTable()
    /// The number of uses of this process's ports on the switch.
    var ports = 0
    /// The mapped ports of the switch: generations by index.
    var places: [Int: UInt32] = [:]
  }

  /// A port index of a switch.
  struct Port: Hashable {
    let serial: UInt64
    let index: Int

    init(serial: UInt64, index: Int) {
      self.serial = serial
      self.index = index
    }

    /// Nil for a message that names none.
    init?(_ message: Message) {
      var body = message.body
      guard let serial = try? body.take(UInt64.self), let index = try? body.take(UInt8.self) else {
        return nil
      }
      self.init(serial: serial, index: Int(index))
    }
  }

  /// Records one use of a port of this process.
  func join(_ place: SwitchAddress) -> SwitchMapping {
    let destinations = tables.withLock { tables in
      tables[place.serial, default: Entry()].ports += 1
      return tables[place.serial]?.destinations ?? DestinationTable()
    }
    return SwitchMapping(
      segment: place.segment, destinations: destinations, index: place.index,
      generation: place.generation)
  }

  /// Records that one use of a port has ended.
  func leave(_ place: SwitchAddress) {
    tables.withLock { tables in
      tables[place.serial]?.ports -= 1
      Self.dropIfUnused(place.serial, &tables)
    }
  }

  /// Reads one message about a port that has joined or left a switch.
  ///
  /// - Throws: ``NetmapError`` when the port cannot be mapped. Syncs then drop packets for it and
  ///   count the drops.
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
    let region = try SharedMemory(mapping: files[0].descriptor, keepsDescriptor: false)
    let segment = try SyncSegment(
      mapping: SharedMemory(mapping: files[1].descriptor, keepsDescriptor: false))
    let destinations = tables.withLock { tables in
      tables[serial, default: Entry()].places[index] = generation
      return tables[serial]?.destinations ?? DestinationTable()
    }
    try destinations.install(index, region: region, segment: segment, generation: generation)
  }

  /// Unmaps ports that have left and that no sync can still be using.
  ///
  /// - Returns: Whether a port is left to unmap.
  func sweep() -> Bool {
    let all = tables.withLock { $0.values.map(\.destinations) }
    return all.reduce(false) { $1.sweep() || $0 }
  }

  private static func dropIfUnused(_ serial: UInt64, _ tables: inout sending [UInt64: Entry]) {
    guard let entry = tables[serial], entry.ports == 0, entry.places.isEmpty else { return }
    tables[serial] = nil
  }
}
