extension Region {
  /// Allocates up to `count` buffers and chains them: the first 32-bit word of each names the next,
  /// 0 ends the list (netmap(4), `nr_extra_bufs`).
  ///
  /// - Returns: The head of the list, 0 when it is empty, and how many buffers it has.
  package func makeExtraBuffers(_ count: Int) -> (head: UInt32, count: Int) {
    var head: UInt32 = 0
    let list = allocateBuffers(upTo: count)
    for index in list {
      setNextBuffer(head, after: index)
      head = index
    }
    return (head, list.count)
  }

  /// Takes back whatever list the application left.
  ///
  /// The list may hold other buffers than were given: applications move them between rings and list.
  /// It ends at 0, at anything that is no buffer, and at a buffer that was given back already, which also
  /// ends a list that runs in a circle. Somebody may be rewriting it meanwhile: each step gives back one
  /// more buffer of the pool, so there are no more steps than buffers.
  ///
  /// - Parameters:
  ///   - head: Where the list begins.
  ///   - interface: The offset of the `netmap_if` that it belongs to.
  /// - Returns: How many buffers came back.
  @discardableResult
  package func releaseExtraBuffers(head: UInt32, ofInterfaceAt interface: Int? = nil) -> Int {
    var index = head
    var released = 0
    while index >= Self.reservedBuffers, index < layout.buffers.count {
      let next = nextBuffer(after: index)
      guard releaseBuffer(index, ofInterfaceAt: interface) else { break }
      released += 1
      index = next
    }
    return released
  }
}
