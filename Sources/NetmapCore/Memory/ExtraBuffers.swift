extension Region {
  /// Allocates up to `count` buffers and chains them: the first 32-bit word of each names the next,
  /// 0 ends the list (netmap(4), `nr_extra_bufs`).
  ///
  /// - Returns: The head of the list, 0 when it is empty, and how many buffers it has.
  package func makeExtraBuffers(_ count: Int) -> (head: UInt32, count: Int) {
    var head: UInt32 = 0
    let list = allocateBuffers(upTo: count)
    for index in list {
      memory.store(head, at: offset(ofBuffer: index))
      head = index
    }
    return (head, list.count)
  }

  /// Takes back whatever list the application left.
  ///
  /// The list may hold other buffers than were given: applications move them between rings and list.
  /// It ends at 0, at anything that is no buffer, and at a buffer that is free already, which also
  /// ends a list that runs in a circle.
  ///
  /// - Returns: How many buffers came back.
  @discardableResult
  package func releaseExtraBuffers(head: UInt32) -> Int {
    var index = head
    var released = 0
    while index >= Self.reservedBuffers, index < layout.buffers.count {
      let next = memory.load(at: offset(ofBuffer: index), as: UInt32.self)
      guard releaseBuffer(index) else { break }
      released += 1
      index = next
    }
    return released
  }
}
