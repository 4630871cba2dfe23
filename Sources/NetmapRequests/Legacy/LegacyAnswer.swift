extension LegacyRequest {
  /// Stores the answer to a request in the fields that netmap writes back, cut to the width of the field.
  ///
  /// netmap never writes back `nr_version`, `nr_ringid` and `nr_flags`.
  mutating func store(answer: TranslatedRequest) {
    switch answer.type {
    case .register, .attach: storeBinding(of: answer.body)
    case .portInfo: storeInfo(of: answer.body)
    case .list:
      block.store(answer.header.name, at: Layout.name, limit: Layout.nameByteCount)
      let portIndex: UInt32 = answer.body.load(RequestLayout.List.portIndex)
      block.store(
        answer.body.load(RequestLayout.List.switchIndex, as: UInt16.self), at: Layout.argument1)
      block.store(UInt16(truncatingIfNeeded: portIndex), at: Layout.argument2)
    case .setHeaderLength, .headerLength:
      let length: UInt32 = answer.body.load(RequestLayout.PortHeader.length)
      block.store(UInt16(truncatingIfNeeded: length), at: Layout.argument1)
    case .createInterface:
      block.store(RingCounts(answer.body, RequestLayout.NewInterface.counts), Layout.counts)
      let id: UInt16 = answer.body.load(RequestLayout.NewInterface.memoryID)
      block.store(id, at: Layout.argument2)
    default: break
    }
  }

  private mutating func storeBinding(of body: RequestBody) {
    typealias Source = RequestLayout.Register
    let (offset, size): (UInt64, UInt64) = (body.load(Source.offset), body.load(Source.memorySize))
    block.store(UInt32(truncatingIfNeeded: offset), at: Layout.offset)
    block.store(UInt32(truncatingIfNeeded: size), at: Layout.memorySize)
    block.store(RingCounts(body, Source.counts), Layout.counts)
    block.store(body.load(Source.memoryID, as: UInt16.self), at: Layout.argument2)
    block.store(body.load(Source.extraBuffers, as: UInt32.self), at: Layout.argument3)
  }

  private mutating func storeInfo(of body: RequestBody) {
    typealias Source = RequestLayout.PortInfo
    let size: UInt64 = body.load(Source.memorySize)
    block.store(UInt32(truncatingIfNeeded: size), at: Layout.memorySize)
    block.store(RingCounts(body, Source.counts), Layout.counts)
    block.store(body.load(Source.memoryID, as: UInt16.self), at: Layout.argument2)
  }
}
