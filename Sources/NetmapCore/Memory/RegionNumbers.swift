/// The numbers (`nr_mem_id`) that an engine gives to its private regions: 2 and up.
///
/// Programs, libnetmap among them, take two regions of one number for the same memory. So the engines that follow each
/// other at one address must not use a number twice while a process may still have an older region mapped. They share
/// the numbers in blocks: an engine takes a block, uses up its numbers, and takes the next one.
package struct RegionNumbers: Sendable {
  /// The numbers in a block.
  package static let blockSize: UInt16 = 16
  /// The number of blocks: 65535, the highest number, is in none.
  package static let blockCount: UInt16 = (.max - 2) / blockSize

  /// Takes the next block: `0..<blockCount`; nil when it is not known.
  package typealias Source = @Sendable () -> UInt16?

  private let source: Source?
  private var last: UInt16 = 1
  /// The numbers of the block that are left.
  private var left: UInt16 = 0

  /// - Parameter source: Takes blocks; nil for an engine whose regions no other engine's clients can see.
  package init(_ source: Source? = nil) { self.source = source }

  /// The next number; never 0 or 1.
  package mutating func next() -> UInt16 {
    if left == 0, let source {
      left = Self.blockSize
      // Without a block the engine counts on: its numbers may be another's, but not its own.
      if let block = source() { last = 1 + block % Self.blockCount * Self.blockSize }
    }
    last = last == .max ? 2 : last + 1
    left = left == 0 ? 0 : left - 1
    return last
  }
}
