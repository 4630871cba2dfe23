internal import Synchronization

/// The words that sleepers announce themselves in: cell 0 is a ring's wait word, cells 1 to ``listCount`` are the
/// list of waiters.
///
/// A protocol, so that a test can step several sleepers and wakers through every order of their accesses: all of
/// the rules are in its extension, and touch nothing else.
package protocol WaitCells {
  /// Cells of the list.
  var listCount: Int { get }

  /// Stores `desired` where the cell holds `expected`; one step, a full fence.
  func compareExchange(
    _ cell: Int, expected: UInt32, desired: UInt32
  ) -> (exchanged: Bool, original: UInt32)

  /// Stores a value and returns the former one; one step, a full fence.
  func exchange(_ cell: Int, _ value: UInt32) -> UInt32
}

/// The mark in a wait word that there are several sleepers.
private var several: UInt32 { .max }

extension WaitCells {
  /// Announces a sleeper.
  ///
  /// The word never says that there are several before each of them is in the list: whoever wakes them meanwhile
  /// finds every one of them in the word or in the list.
  ///
  /// - Parameter mine: How the sleeper is woken; neither 0 nor the mark for several.
  /// - Returns: False when the list is full, or others change the word all the time: then nobody is sure to wake
  ///   this sleeper, which must sleep briefly only. The announcement may stand all the same.
  package func arm(_ mine: UInt32) -> Bool {
    var (isArmed, found) = compareExchange(0, expected: 0, desired: mine)
    if isArmed || found == mine { return true }
    guard enlist(mine) else { return false }
    // Each attempt fails only where somebody else changed the word meanwhile. A peer could do that for ever.
    for _ in 0..<16 {
      guard found == 0 || found == several || enlist(found) else { return false }
      (isArmed, found) = compareExchange(0, expected: found, desired: several)
      if isArmed { return true }
    }
    return false
  }

  /// Takes an announcement back, if the word still has it and no other one.
  package func disarm(_ mine: UInt32) {
    _ = compareExchange(0, expected: mine, desired: 0)
  }

  /// Takes all announcements, and calls `wake` with each.
  ///
  /// The word is cleared first: who is listed after that sets it anew.
  @inline(__always)
  package func takeAll(_ wake: (UInt32) -> Void) {
    let found = exchange(0, 0)
    guard found == several else {
      if found != 0 { wake(found) }
      return
    }
    for index in 0..<listCount {
      let sleeper = exchange(index &+ 1, 0)
      if sleeper != 0 { wake(sleeper) }
    }
  }

  private func enlist(_ sleeper: UInt32) -> Bool {
    for index in 0..<listCount {
      let (isStored, found) = compareExchange(index &+ 1, expected: 0, desired: sleeper)
      if isStored || found == sleeper { return true }
    }
    return false
  }
}

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
  static var several: UInt32 { NetmapCore.several }

  /// How many sleepers the list of waiters of one port can hold.
  static let listCount = 64

  let word: UnsafeMutableRawPointer
  let list: UnsafeMutableRawPointer

  /// Announces a sleeper.
  ///
  /// - Returns: False when nobody is sure to wake it: then sleep briefly only.
  package func arm(_ sleeper: Announcement) -> Bool { unsafe arm(sleeper.bits) }

  /// Takes the announcement back, if it still is this sleeper's alone.
  package func disarm(_ sleeper: Announcement) { unsafe disarm(sleeper.bits) }

  /// Wakes every sleeper.
  @inline(never)
  package func wake(_ doorbells: DoorbellTable.View) {
    unsafe takeAll { bits in
      let sleeper = Announcement(bits: bits)
      if let binding = sleeper.binding {
        unsafe bell(ofBinding: binding)?.ring(atMost: doorbells.threadLimit)
      } else {
        unsafe doorbells.ring(bits &- 1)
      }
    }
  }
}

extension WaitWord: @unsafe WaitCells {
  package var listCount: Int { unsafe Self.listCount }

  @inline(__always)
  package func compareExchange(
    _ cell: Int, expected: UInt32, desired: UInt32
  ) -> (exchanged: Bool, original: UInt32) {
    unsafe self.cell(cell).pointee.compareExchange(
      expected: expected, desired: desired, ordering: .sequentiallyConsistent)
  }

  @inline(__always)
  package func exchange(_ cell: Int, _ value: UInt32) -> UInt32 {
    unsafe self.cell(cell).pointee.exchange(value, ordering: .sequentiallyConsistent)
  }

  @inline(__always)
  private func cell(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    let address = unsafe index == 0 ? word : list + (index &- 1) &* 4
    return unsafe address.assumingMemoryBound(to: Atomic<UInt32>.self)
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
  var binding: Int? { bits >= Self.firstBell ? Int(bits &- Self.firstBell) : nil }
}
