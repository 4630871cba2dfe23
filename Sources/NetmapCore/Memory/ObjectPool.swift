/// The free objects of a pool: a bitmap, allocated lowest index first, as in netmap(4).
///
/// The bitmap is the engine's own memory. Whatever a client writes in a region, the pool hands out
/// an index once and takes it back once: it refuses a second release of the same index.
package struct ObjectPool: Sendable {
  private var free: [UInt64]
  /// Words before this one contain no free object.
  private var firstCandidate = 0
  package let count: Int
  package private(set) var freeCount: Int

  /// - Parameters:
  ///   - count: The number of objects.
  ///   - reserved: The number of objects, starting at index 0, that are never handed out.
  package init(count: Int, reserved: Int = 0) {
    self.count = count
    free = [UInt64](repeating: ~0, count: (count + 63) / 64)
    freeCount = count
    if count % 64 != 0 { free[free.count - 1] = (1 << UInt64(count % 64)) - 1 }
    for index in 0..<min(reserved, count) { _ = take(index) }
  }

  /// - Parameters:
  ///   - count: The number of objects.
  ///   - taken: The objects that are not free; others than those of the pool are ignored.
  init(count: Int, taken: some Sequence<UInt32>) {
    self.init(count: count)
    for index in taken where index < count { _ = take(Int(index)) }
  }

  /// Allocates the free object with the lowest index; nil if none is left.
  package mutating func allocate() -> Int? {
    while firstCandidate < free.count {
      let word = free[firstCandidate]
      if word != 0 {
        let index = firstCandidate * 64 + word.trailingZeroBitCount
        _ = take(index)
        return index
      }
      firstCandidate += 1
    }
    return nil
  }

  /// Returns `index` to the pool.
  ///
  /// - Returns: False, without effect, when `index` is out of range or already free.
  @discardableResult
  package mutating func release(_ index: Int) -> Bool {
    guard index >= 0, index < count, !isFree(index) else { return false }
    free[index / 64] |= 1 << UInt64(index % 64)
    freeCount += 1
    firstCandidate = min(firstCandidate, index / 64)
    return true
  }

  package func isFree(_ index: Int) -> Bool {
    free[index / 64] & (1 << UInt64(index % 64)) != 0
  }

  /// The objects that are not free, including the reserved ones; lowest first.
  package var taken: [Int] {
    var result: [Int] = []
    result.reserveCapacity(count - freeCount)
    for (word, bits) in free.enumerated() {
      var left = ~bits
      while left != 0 {
        let index = word * 64 + left.trailingZeroBitCount
        if index < count { result.append(index) }
        left &= left - 1
      }
    }
    return result
  }

  private mutating func take(_ index: Int) -> Bool {
    guard isFree(index) else { return false }
    free[index / 64] &= ~(1 << UInt64(index % 64))
    freeCount -= 1
    return true
  }
}

/// A set of a pool's objects: a bitmap in the engine's own memory.
package struct ObjectSet: Sendable {
  private var words: [UInt64]

  /// Creates an empty set for `count` objects.
  ///
  /// A set that stays empty allocates no memory.
  package init(count: Int) {
    self.count = count
    words = []
  }

  private let count: Int

  package func contains(_ index: Int) -> Bool {
    let word = index / 64
    return index >= 0 && word < words.count && words[word] & (1 << UInt64(index % 64)) != 0
  }

  /// Adds an object, which must be below the count; traps otherwise.
  package mutating func insert(_ index: Int) {
    precondition(index >= 0 && index < count, "no such object")
    if words.isEmpty { words = Array(repeating: 0, count: (count + 63) / 64) }
    words[index / 64] |= 1 << UInt64(index % 64)
  }

  package mutating func remove(_ index: Int) {
    guard contains(index) else { return }
    words[index / 64] &= ~(1 << UInt64(index % 64))
  }
}
