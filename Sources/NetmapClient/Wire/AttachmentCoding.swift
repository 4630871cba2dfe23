package import NetmapCore

// How rings of interfaces are made in a client, as messages carry it. Descriptors travel beside the
// message; it names them by their place, and each travels once.

/// Descriptors that go with a message, in their order.
package struct FileTable {
  package private(set) var files: [CInt]
  private var places: [CInt: UInt16] = [:]

  /// - Parameter files: Those that are named in another way.
  package init(after files: [CInt]) {
    self.files = files
  }

  /// The place of a descriptor, which is added if it has none.
  fileprivate mutating func place(of file: CInt) -> UInt16 {
    if let known = places[file] { return known }
    let place = UInt16(truncatingIfNeeded: files.count)
    files.append(file)
    places[file] = place
    return place
  }
}

extension MessageWriter {
  /// - Throws: ``NetmapError`` `E2BIG` for more rings than one message can describe.
  package mutating func put(
    _ attachment: InterfaceAttachment, named name: String, files: inout FileTable
  ) throws(NetmapError) {
    put(files.place(of: attachment.memory.ownerMemory.descriptor))
    put(attachment.memory.ownership.count)
    put(UInt16(truncatingIfNeeded: attachment.rings.count))
    for ring in attachment.rings {
      put(ring.kind)
      put(UInt8(ring.numbers.count))
      for number in ring.numbers { put(number) }
      put(UInt8(ring.files.count))
      for file in ring.files { put(files.place(of: file)) }
      put(UInt8(ring.alarm >= 0 ? 1 : 0))
      put(ring.alarm >= 0 ? files.place(of: ring.alarm) : 0)
      put(UInt8(ring.held.count))
      for file in ring.held { put(files.place(of: file)) }
    }
    guard files.files.count <= Message.descriptorCountMax,
      bytes.count <= Message.byteCountMax - 1024
    else {
      throw NetmapError(
        .tooLarge, "open", name,
        reason: "its \(attachment.rings.count) rings take \(files.files.count) descriptors, and"
          + " \(Message.descriptorCountMax) can be passed on at a time",
        remedy: "open it ring by ring (netmap:\(name)-0, ...), or in one process (--embedded)")
    }
  }
}

extension MessageReader {
  /// - Parameters:
  ///   - files: What came with the message.
  ///   - region: The region of the port.
  /// - Returns: The attachment; its descriptors are those of `files`.
  /// - Throws: ``NetmapError`` `EINVAL` for a message that makes no sense, or what mapping left.
  package mutating func takeAttachment(
    files: [OwnedFile], region: SharedMemory
  ) throws(NetmapError) -> InterfaceAttachment {
    let owners = try SharedMemory(attaching: try takeFile(files))
    let bufferCount = Int(try take(UInt32.self))
    let memory = try PortMemory(region: region, owners: owners, bufferCount: bufferCount)
    var result = InterfaceAttachment(memory: memory, rings: [])
    for _ in 0..<(try take(UInt16.self)) {
      var ring = BackendAttachment(kind: try take(UInt32.self), numbers: [], files: [])
      for _ in 0..<(try take(UInt8.self)) { ring.numbers.append(try take(UInt64.self)) }
      for _ in 0..<(try take(UInt8.self)) { ring.files.append(try takeFile(files)) }
      let hasAlarm = try take(UInt8.self) != 0
      let alarm = try take(UInt16.self)
      if hasAlarm { ring.alarm = try file(alarm, files) }
      for _ in 0..<(try take(UInt8.self)) { ring.held.append(try takeFile(files)) }
      result.rings.append(ring)
    }
    return result
  }

  private mutating func takeFile(_ files: [OwnedFile]) throws(NetmapError) -> CInt {
    try file(try take(UInt16.self), files)
  }

  private func file(_ place: UInt16, _ files: [OwnedFile]) throws(NetmapError) -> CInt {
    guard Int(place) < files.count else { throw malformed("a descriptor is missing") }
    return files[Int(place)].descriptor
  }
}
