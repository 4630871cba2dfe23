extension OptionList {
  /// Copies the options of a request.
  ///
  /// After success each option has the status ``OptionStatus/unrecognized``. After a failure the list has the options
  /// that have been read, for ``writeBack(_:failure:)``; their status is 0, but `EINVAL` for the options that are at
  /// fault. If the list has no room for all options it is empty, because the options may be linked in a circle.
  ///
  /// - Parameters:
  ///   - first: The address of the first option; 0 if there is none.
  ///   - requestBody: The size of the request's body in bytes.
  ///   - memory: The program's memory.
  /// - Throws: ``RequestErrno``: `EFAULT`, `EMSGSIZE`; `EINVAL` for an option of type 0 and for the second option of
  ///   a type that netmap knows.
  mutating func read(
    from first: UInt64, requestBody: Int, _ memory: some UserMemory
  ) throws(RequestErrno) {
    let room = Self.byteCountMax - requestBody
    // The request's length as netmap counts it.
    var total = requestBody
    var address = first
    while address != 0 {
      guard used + Entry.byteCount <= room else {
        used = 0
        throw .messageTooLong
      }
      let entry = Entry(start: used)
      guard buffer.copyIn(from: address, memory, to: entry.header..<entry.body) else {
        throw .badAddress
      }
      buffer.store(address, at: entry.start)
      used = entry.body
      total += RequestLayout.Option.byteCount
      store(.accepted, entry)
      guard rawType(entry) != 0 else {
        store(.refused(.invalidArgument), entry)
        throw .invalidArgument
      }
      if let type = type(entry) {
        try note(entry, as: type)
        try readBody(entry, type, total: &total, room: room, memory)
      }
      address = next(entry)
    }
    storeForAll(.unrecognized)
  }

  private mutating func note(_ entry: Entry, as type: OptionType) throws(RequestErrno) {
    if let other = self[type] {
      store(.refused(.invalidArgument), entry)
      store(.refused(.invalidArgument), other)
      throw .invalidArgument
    }
    self[type] = entry
  }

  private mutating func readBody(
    _ entry: Entry, _ type: OptionType, total: inout Int, room: Int, _ memory: some UserMemory
  ) throws(RequestErrno) {
    let (size, length) = (size(entry), type.bodyByteCount(size: size(entry)))
    // netmap limits the size that an option states even if the option has a fixed size.
    guard size <= UInt64(Self.requestByteCountMax) else { throw .messageTooLong }
    // Not above the size, or fixed.
    let count = Int(length)
    guard total + count <= Self.requestByteCountMax, used + count <= room else {
      throw .messageTooLong
    }
    // The program's bytes may lie at the end of the address space.
    let address = address(entry) &+ UInt64(RequestLayout.Option.byteCount)
    guard buffer.copyIn(from: address, memory, to: used..<used + count) else { throw .badAddress }
    used += count
    total += count
  }
}
