internal import Synchronization

/// The words in which sleepers announce themselves: cell 0 is the wait word of a ring, cells 1 to ``listCount``
/// are the list of waiters.
///
/// This is a protocol so that a test can step several sleepers and wakers through every order of their accesses.
/// All rules of the algorithm are in the extension of the protocol and access nothing but these cells.
package protocol WaitCells {
  /// Number of cells in the list.
  var listCount: Int { get }

  /// Stores `desired` if the cell holds `expected`; a single atomic step and a full fence.
  func compareExchange(
    _ cell: Int, expected: UInt32, desired: UInt32
  ) -> (exchanged: Bool, original: UInt32)

  /// Stores a value and returns the previous one; a single atomic step and a full fence.
  func exchange(_ cell: Int, _ value: UInt32) -> UInt32
}

/// The value of a wait word that stands for several sleepers.
private var several: UInt32 { .max }

extension WaitCells {
  /// Announces a sleeper.
  ///
  /// The word holds the mark for several sleepers only after each of them is in the list. So a waker always finds
  /// every sleeper either in the word or in the list.
  ///
  /// - Parameter mine: How to wake the sleeper; neither 0 nor the mark for several sleepers.
  /// - Returns: False when the list is full or other processes keep changing the word. Then no waker is
  ///   guaranteed to wake this sleeper, so it must sleep only briefly. The announcement may stand even so.
  package func arm(_ mine: UInt32) -> Bool {
    var (isArmed, found) = compareExchange(0, expected: 0, desired: mine)
    if isArmed || found == mine { return true }
    guard enlist(mine) else { return false }
    // An attempt fails only if another process changed the word meanwhile. A peer could do that without end, so
    // the number of attempts is limited.
    for _ in 0..<16 {
      guard found == 0 || found == several || enlist(found) else { return false }
      (isArmed, found) = compareExchange(0, expected: found, desired: several)
      if isArmed { return true }
    }
    return false
  }

  /// Withdraws an announcement if the word holds this announcement and no other.
  package func disarm(_ mine: UInt32) {
    _ = compareExchange(0, expected: mine, desired: 0)
  }

  /// Removes all announcements and calls `wake` with each.
  ///
  /// Clears the word first, so a sleeper that enters the list afterwards sets the word again.
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

/// A wait word and its list of waiters, where sleepers announce themselves and wakers find them.
///
/// The word holds 0, the ``Announcement`` of one sleeper, or a mark for several sleepers, which are then in the
/// segment's list of waiters. A sleeper arms the word, issues a full fence, checks the rings again, and sleeps
/// only if there still is nothing to do. The other side publishes with a full fence and then reads the word. So
/// one of the two always sees the other. The announcement of a dead sleeper costs the next waker at most one
/// write.
@unsafe
package struct WaitWord {
  /// The mark that stands for several sleepers.
  static var several: UInt32 { NetmapCore.several }

  /// Capacity of the list of waiters of one port, in sleepers.
  static let listCount = 64

  let word: UnsafeMutableRawPointer
  let list: UnsafeMutableRawPointer

  /// - Parameters:
  ///   - word: The wait word.
  ///   - list: The list of waiters of the word's segment, at ``SyncSegmentLayout/waiters``.
  package init(word: UnsafeMutableRawPointer, list: UnsafeMutableRawPointer) {
    unsafe self.word = unsafe word
    unsafe self.list = unsafe list
  }

  /// Announces a sleeper.
  ///
  /// - Returns: False when no waker is guaranteed to wake the sleeper, which must then sleep only briefly.
  package func arm(_ sleeper: Announcement) -> Bool { unsafe arm(sleeper.bits) }

  /// Withdraws the announcement if the word holds it and no other.
  package func disarm(_ sleeper: Announcement) { unsafe disarm(sleeper.bits) }

  /// Wakes every sleeper.
  @inline(never)
  package func wake(_ doorbells: DoorbellTable.View) {
    unsafe takeAll { bits in
      let sleeper = Announcement(bits: bits)
      if let binding = sleeper.binding {
        unsafe bell(ofBinding: binding)?.ring(atMost: doorbells.threadLimit)
      } else {
        unsafe doorbells.ring(bits &- 1, name)
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

/// How to wake a sleeper: by its doorbell, or by the ``Bell`` of a binding in the segment that contains the wait
/// word.
package struct Announcement: Hashable, Sendable {
  let bits: UInt32

  init(bits: UInt32) {
    self.bits = bits
  }

  /// Values from here on name bells; doorbell numbers are below 2^31 (``ClientTag/doorbell``).
  private static let firstBell: UInt32 = 0xc000_0000

  package static func doorbell(_ number: UInt32) -> Announcement { Announcement(bits: number + 1) }

  package static func bell(ofBinding index: Int) -> Announcement {
    Announcement(bits: firstBell + UInt32(index))
  }

  /// The binding whose bell to ring, not validated; nil for a doorbell.
  var binding: Int? { bits >= Self.firstBell ? Int(bits &- Self.firstBell) : nil }
}
