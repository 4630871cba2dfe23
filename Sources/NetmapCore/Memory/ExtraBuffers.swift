extension Region {
  /// Allocates up to `count` buffers and links them: the first 32-bit word of each names the next,
  /// 0 ends the list (netmap(4), `nr_extra_bufs`).
  ///
  /// - Returns: The head of the list, 0 if it is empty, and the number of buffers in it.
  package func makeExtraBuffers(_ count: Int) -> (head: UInt32, count: Int) {
    var head: UInt32 = 0
    let list = allocateBuffers(upTo: count)
    for index in list {
      setNextBuffer(head, after: index)
      head = index
    }
    return (head, list.count)
  }

  /// Takes back the buffers that an application kept, with the pages of its table.
  ///
  /// After an unfinished exchange, the slot keeps its buffer.
  ///
  /// - Parameter interface: The offset of the `netmap_if` that the table belongs to.
  package func releaseKeptBuffers(ofInterfaceAt interface: Int) {
    let unfinished = unfinishedKeep(ofInterfaceAt: interface)
    forEachKept(ofInterfaceAt: interface) { index in
      if index != unfinished?.inSlot { releaseBuffer(index, ofInterfaceAt: interface) }
    }
    // After the walk: the buffer may be in the table as well, and a second release does nothing.
    if let unfinished { releaseBuffer(unfinished.free, ofInterfaceAt: interface) }
  }

  /// Takes back the buffers in a list that an application left.
  ///
  /// The list may hold other buffers than the engine allocated for it, because applications move buffers between
  /// rings and list. The walk ends at 0, at an invalid index, and at a buffer that was returned already, which
  /// also ends a circular list. A client may rewrite the list meanwhile: each step returns one more buffer of the
  /// pool, so there are no more steps than buffers.
  ///
  /// - Parameters:
  ///   - head: The first buffer of the list.
  ///   - interface: The offset of the `netmap_if` that the list belongs to.
  /// - Returns: The number of buffers returned.
  @discardableResult
  package func releaseExtraBuffers(head: UInt32, ofInterfaceAt interface: Int? = nil) -> Int {
    var index = head
    var released = 0
    while layout.slotRule.mayGive(index) {
      let next = nextBuffer(after: index)
      guard releaseBuffer(index, ofInterfaceAt: interface) else { break }
      released += 1
      index = next
    }
    return released
  }
}
