import CNetmap

@testable import NetmapCore

/// Checks that the structures that a module sees match `net/netmap_module.h`.
enum ModuleLayout {
  /// The fields that are not at their place.
  static var faults: [String] {
    let pairs: [(String, Int?, Int)] = unsafe [
      (
        "frame.length", MemoryLayout<ModuleFrame>.offset(of: \.length),
        NETMAP_MODULE_FRAME_LENGTH_OFFSET
      ),
      (
        "frame.fragments", MemoryLayout<ModuleFrame>.offset(of: \.fragments),
        NETMAP_MODULE_FRAME_FRAGMENTS_OFFSET
      ),
      ("frame", MemoryLayout<ModuleFrame>.stride, NETMAP_MODULE_FRAME_SIZE),
      ("own frame.bytes", MemoryLayout<Frame>.offset(of: \.bytes), 0),
      (
        "own frame.length", MemoryLayout<Frame>.offset(of: \.length),
        NETMAP_MODULE_FRAME_LENGTH_OFFSET
      ),
      (
        "own frame.fragments", MemoryLayout<Frame>.offset(of: \.fragments),
        NETMAP_MODULE_FRAME_FRAGMENTS_OFFSET
      ),
      (
        "batch.verdicts", MemoryLayout<ModuleBatch>.offset(of: \.verdicts),
        NETMAP_MODULE_BATCH_VERDICTS_OFFSET
      ),
      (
        "batch.addresses", MemoryLayout<ModuleBatch>.offset(of: \.addresses),
        NETMAP_MODULE_BATCH_ADDRESSES_OFFSET
      ),
      (
        "batch.count", MemoryLayout<ModuleBatch>.offset(of: \.count),
        NETMAP_MODULE_BATCH_COUNT_OFFSET
      ),
      (
        "batch.frameStride", MemoryLayout<ModuleBatch>.offset(of: \.frameStride),
        NETMAP_MODULE_BATCH_STRIDE_OFFSET
      ),
      ("batch.port", MemoryLayout<ModuleBatch>.offset(of: \.port), NETMAP_MODULE_BATCH_PORT_OFFSET),
      ("batch.ring", MemoryLayout<ModuleBatch>.offset(of: \.ring), NETMAP_MODULE_BATCH_RING_OFFSET),
      (
        "batch.header", MemoryLayout<ModuleBatch>.offset(of: \.header),
        NETMAP_MODULE_BATCH_HEADER_OFFSET
      ),
      (
        "batch.decided", MemoryLayout<ModuleBatch>.offset(of: \.decided),
        NETMAP_MODULE_BATCH_DECIDED_OFFSET
      ),
      (
        "batch.slots", MemoryLayout<ModuleBatch>.offset(of: \.slots),
        NETMAP_MODULE_BATCH_SLOTS_OFFSET
      ),
      (
        "batch.buffers", MemoryLayout<ModuleBatch>.offset(of: \.buffers),
        NETMAP_MODULE_BATCH_BUFFERS_OFFSET
      ),
      (
        "batch.bufferCount", MemoryLayout<ModuleBatch>.offset(of: \.bufferCount),
        NETMAP_MODULE_BATCH_BUFFER_COUNT_OFFSET
      ),
      (
        "batch.bufferSize", MemoryLayout<ModuleBatch>.offset(of: \.bufferSize),
        NETMAP_MODULE_BATCH_BUFFER_SIZE_OFFSET
      ),
      ("batch", MemoryLayout<ModuleBatch>.stride, NETMAP_MODULE_BATCH_SIZE),
    ]
    return pairs.filter { $0.1 != $0.2 }.map { "\($0.0) is at \($0.1 ?? -1), not \($0.2)" }
  }
}
