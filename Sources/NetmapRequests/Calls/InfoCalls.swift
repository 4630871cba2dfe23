/// `NETMAP_REQ_PORT_INFO_GET`: asks for a port's rings and memory.
package struct PortInfoCall: Hashable, Sendable {
  /// The port. An empty name asks about a region only.
  package let name: RequestName
  /// The shape of the port if the request creates it.
  package let hints: RingCounts
  /// `nr_mem_id`: the region; 0 leaves the choice to the engine, and stands for region 1 without a name.
  package let memoryID: UInt16
}

/// The answer to ``PortInfoCall``.
package struct PortInfoAnswer: Hashable, Sendable {
  /// `nr_memsize`, bytes.
  package var memorySize: UInt64
  /// `nr_mem_id`
  package var memoryID: UInt16
  /// The port's rings; nil for a request without a name, whose counts return to the program as they came.
  package var counts: RingCounts?

  /// Creates an answer.
  package init(memorySize: UInt64, memoryID: UInt16, counts: RingCounts?) {
    self.memorySize = memorySize
    self.memoryID = memoryID
    self.counts = counts
  }
}

/// `NETMAP_REQ_POOLS_INFO_GET`: asks for the pools of a port's region.
package struct PoolsInfoCall: Hashable, Sendable {
  /// The port. A server refuses an empty name.
  package let name: RequestName
  /// `nr_mem_id`: the region; 0 leaves the choice to the engine.
  package let memoryID: UInt16
}

extension RequestBody {
  mutating func store(_ answer: PortInfoAnswer) {
    typealias Layout = RequestLayout.PortInfo
    store(answer.memorySize, at: Layout.memorySize)
    store(answer.memoryID, at: Layout.memoryID)
    if let counts = answer.counts { store(counts, Layout.counts) }
  }
}
