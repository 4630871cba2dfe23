package import NetmapCore

// The encoding of the recipes for ring drivers of interfaces, which clients follow. Descriptors
// travel beside the message. The message names each by its index among them, and each travels once.

/// The descriptors that go with a message, in order.
package struct FileTable {
  package private(set) var files: [CInt]
  private var places: [CInt: UInt16] = [:]

  /// - Parameter files: The first descriptors, to which the message refers in other ways.
  package init(after files: [CInt]) {
    self.files = files
  }

  /// The index of a descriptor.
  ///
  /// Adds the descriptor if the table does not contain it.
  fileprivate mutating func place(of file: CInt) -> UInt16 {
    if let known = places[file] { return known }
    let place = UInt16(truncatingIfNeeded: files.count)
    files.append(file)
    places[file] = place
    return place
  }
}

extension MessageWriter {
  /// - Throws: ``NetmapError`` `E2BIG` when one message cannot describe all rings.
  package mutating func put(
    _ recipe: InterfaceRecipe, named name: String, files: inout FileTable
  ) throws(NetmapError) {
    put(files.place(of: recipe.memory.ownerMemory.descriptor))
    put(recipe.memory.ownership.count)
    put(UInt16(truncatingIfNeeded: recipe.rings.count))
    for ring in recipe.rings {
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
        reason:
          "its \(recipe.rings.count) rings take \(files.files.count) descriptors, and a message"
          + " carries at most \(Message.descriptorCountMax)",
        remedy: "open it ring by ring (netmap:\(name)-0, ...), or in one process (--embedded)")
    }
  }
}

extension MessageReader {
  /// - Parameters:
  ///   - files: The descriptors that came with the message.
  ///   - region: The port's region.
  /// - Returns: The attachment. Its descriptors belong to `files`.
  /// - Throws: ``NetmapError`` `EINVAL` for a malformed message, or the error of mapping the
  ///   memory.
  package mutating func takeInterfaceRecipe(
    files: [OwnedFile], region: SharedMemory
  ) throws(NetmapError) -> InterfaceRecipe {
    let owners = try SharedMemory(mapping: try takeFile(files), keepsDescriptor: false)
    let bufferCount = Int(try take(UInt32.self))
    let memory = try PortMemory(region: region, owners: owners, bufferCount: bufferCount)
    var result = InterfaceRecipe(memory: memory, rings: [])
    for _ in 0..<(try take(UInt16.self)) {
      var ring = RingDriverRecipe(kind: try take(UInt32.self), numbers: [], files: [])
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
