/// The pools of a region: `struct nmreq_pools_info`.
package struct PoolsDescription: Hashable, Sendable {
  /// Objects of one kind, which lie one after the other.
  package struct Pool: Hashable, Sendable {
    /// From the start of the region, bytes.
    package var offset: UInt64 = 0
    /// How many objects the pool has.
    package var objectCount: UInt32 = 0
    /// The size of an object, bytes.
    package var objectSize: UInt32 = 0

    /// Creates a pool without objects.
    package init(offset: UInt64 = 0, objectCount: UInt32 = 0, objectSize: UInt32 = 0) {
      self.offset = offset
      self.objectCount = objectCount
      self.objectSize = objectSize
    }
  }

  /// `nr_memsize`, bytes.
  package var memorySize: UInt64 = 0
  /// `nr_mem_id`
  package var memoryID: UInt16 = 0
  /// `nr_if_pool_*`: the `struct netmap_if` of bindings.
  package var interfaces = Pool()
  /// `nr_ring_pool_*`
  package var rings = Pool()
  /// `nr_buf_pool_*`
  package var buffers = Pool()

  /// Creates a description of an empty region.
  package init() {}
}

extension PoolsDescription {
  private typealias Layout = RequestLayout.Pools

  init<let size: Int>(_ block: ByteBlock<size>, at start: Int) {
    memorySize = block.load(start + Layout.memorySize)
    memoryID = block.load(start + Layout.memoryID)
    interfaces = Pool(block, at: start + Layout.interfaces)
    rings = Pool(block, at: start + Layout.rings)
    buffers = Pool(block, at: start + Layout.buffers)
  }
}

extension PoolsDescription.Pool {
  init<let size: Int>(_ block: ByteBlock<size>, at start: Int) {
    offset = block.load(start + RequestLayout.Pools.poolOffset)
    objectCount = block.load(start + RequestLayout.Pools.poolObjectCount)
    objectSize = block.load(start + RequestLayout.Pools.poolObjectSize)
  }
}

extension ByteBlock {
  mutating func store(_ pools: PoolsDescription, at start: Int) {
    typealias Layout = RequestLayout.Pools
    store(pools.memorySize, at: start + Layout.memorySize)
    store(pools.memoryID, at: start + Layout.memoryID)
    for (pool, offset) in [
      (pools.interfaces, Layout.interfaces), (pools.rings, Layout.rings),
      (pools.buffers, Layout.buffers),
    ] {
      store(pool.offset, at: start + offset + Layout.poolOffset)
      store(pool.objectCount, at: start + offset + Layout.poolObjectCount)
      store(pool.objectSize, at: start + offset + Layout.poolObjectSize)
    }
  }
}
