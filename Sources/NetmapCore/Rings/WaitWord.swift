internal import Synchronization

/// Where a sleeper announces itself, and where whoever makes progress finds it.
///
/// The word holds 0, how one sleeper is woken (``Announcement``), or a mark that there are several;
/// then they are in the segment's list of waiters. A sleeper arms the word, issues a full
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

  /// Announces a sleeper.
  ///
  /// - Returns: False when there are more sleepers than the list can hold: then sleep briefly only.
  package func arm(_ sleeper: Announcement) -> Bool {
    let mine = sleeper.bits
    let (armed, found) = unsafe cell(word).pointee.compareExchange(
      expected: 0, desired: mine, ordering: .sequentiallyConsistent)
    if armed || found == mine { return true }
    // From here on the word says "several", and everybody is in the list before it does.
    var listed = unsafe enlist(mine)
    while true {
      let previous = unsafe cell(word).pointee.exchange(
        Self.several, ordering: .sequentiallyConsistent)
      if unsafe previous == 0 || previous == Self.several { return listed }
      listed = unsafe enlist(previous) && listed
    }
  }

  /// Takes the announcement back, if it still is this sleeper's alone.
  package func disarm(_ sleeper: Announcement) {
    _ = unsafe cell(word).pointee.compareExchange(
      expected: sleeper.bits, desired: 0, ordering: .relaxed)
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
      return unsafe wake(Announcement(bits: who), doorbells)
    }
    for index in unsafe 0..<Self.listCount {
      let sleeper = unsafe cell(list + index * 4).pointee.exchange(
        0, ordering: .sequentiallyConsistent)
      unsafe wake(Announcement(bits: sleeper), doorbells)
    }
  }

  @inline(__always)
  private func wake(_ sleeper: Announcement, _ doorbells: DoorbellTable.View) {
    if let binding = sleeper.binding {
      unsafe bell(ofBinding: binding)?.ring()
    } else if sleeper.bits != 0 {
      unsafe doorbells.ring(sleeper.bits - 1)
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

/// How a sleeper is woken: by its doorbell, or by the ``Bell`` of a binding of the segment that the wait word
/// lies in.
package struct Announcement: Hashable, Sendable {
  let bits: UInt32

  init(bits: UInt32) {
    self.bits = bits
  }

  /// Doorbells have numbers below 2^31 (``ClientTag/doorbell``).
  private static let firstBell: UInt32 = 0xc000_0000

  package static func doorbell(_ number: UInt32) -> Announcement { Announcement(bits: number + 1) }

  package static func bell(ofBinding index: Int) -> Announcement {
    Announcement(bits: firstBell + UInt32(index))
  }

  /// The binding whose bell is meant, not checked in any way; nil for a doorbell.
  var binding: Int? { bits >= Self.firstBell ? Int(bits - Self.firstBell) : nil }
}
