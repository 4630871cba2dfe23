internal import Synchronization

/// Where a sleeper announces itself, and where whoever makes progress finds it.
///
/// The word holds 0, the number of one sleeper's doorbell plus one, or a mark that there are several;
/// then their numbers are in the segment's list of waiters. A sleeper arms the word, issues a full
/// fence, looks again, and sleeps only if there still is nothing; the other side publishes with a
/// full fence and then looks at the word. So one of the two always sees the other. A sleeper that
/// died costs whoever comes next one write at most.
@unsafe
package struct WaitWord {
  /// The mark that there are several sleepers.
  static let several = UInt32.max

  /// How many sleepers the list of waiters of one port can hold.
  static let listCount = 64

  let word: UnsafeMutableRawPointer
  let list: UnsafeMutableRawPointer

  /// Announces the sleeper with doorbell `number`.
  ///
  /// - Returns: False when there are more sleepers than the list can hold: then sleep briefly only.
  package func arm(_ number: UInt32) -> Bool {
    let mine = number + 1
    let (armed, found) = unsafe cell(word).pointee.compareExchange(
      expected: 0, desired: mine, ordering: .sequentiallyConsistent)
    if armed || found == mine { return true }
    // From here on the word says "several", and everybody's number is in the list before it does.
    var listed = unsafe enlist(mine)
    while true {
      let previous = unsafe cell(word).pointee.exchange(
        Self.several, ordering: .sequentiallyConsistent)
      if unsafe previous == 0 || previous == Self.several { return listed }
      listed = unsafe enlist(previous) && listed
    }
  }

  /// Takes the announcement back, if it still is this sleeper's alone.
  package func disarm(_ number: UInt32) {
    _ = unsafe cell(word).pointee.compareExchange(
      expected: number + 1, desired: 0, ordering: .relaxed)
  }

  /// Whether somebody sleeps. Only meaningful after a full fence.
  @inline(__always)
  var isArmed: Bool {
    unsafe cell(word).pointee.load(ordering: .sequentiallyConsistent) != 0
  }

  /// Wakes every sleeper.
  @inline(never)
  package func wake(_ doorbells: DoorbellTable.View) {
    let who = unsafe cell(word).pointee.exchange(0, ordering: .sequentiallyConsistent)
    guard unsafe who == Self.several else {
      if who != 0 { unsafe doorbells.ring(who - 1) }
      return
    }
    for index in unsafe 0..<Self.listCount {
      let sleeper = unsafe cell(list + index * 4).pointee.exchange(
        0, ordering: .sequentiallyConsistent)
      if sleeper != 0 { unsafe doorbells.ring(sleeper - 1) }
    }
  }

  private func enlist(_ sleeper: UInt32) -> Bool {
    for index in unsafe 0..<Self.listCount {
      let (stored, found) = unsafe cell(list + index * 4).pointee.compareExchange(
        expected: 0, desired: sleeper, ordering: .sequentiallyConsistent)
      if stored || found == sleeper { return true }
    }
    return false
  }

  @inline(__always)
  private func cell(_ address: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe address.assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}
