internal import CNetmap
internal import Synchronization

/// The two control blocks of a ring in CSB mode: `struct nm_csb_atok`, which the application writes, and
/// `struct nm_csb_ktoa`, which the loop writes.
///
/// The application is another thread, another process or the guest of a virtual machine. It may write any value to any
/// word of both blocks at any time. Each function loads a word once, and no caller uses a value as an index or an address
/// before it is validated.
///
/// A view: it owns no memory. The blocks must stay mapped and writable while a loop uses them.
@unsafe
package struct ControlBlock {
  /// Bytes of each of the two blocks, and their alignment.
  package static var byteCount: Int { NM_CSB_ENTRY_SIZE }

  private let request: UnsafeMutableRawPointer
  private let answer: UnsafeMutableRawPointer

  /// - Parameters:
  ///   - request: The `struct nm_csb_atok`, aligned to 64 bytes.
  ///   - answer: The `struct nm_csb_ktoa`, aligned to 64 bytes.
  package init(request: UnsafeMutableRawPointer, answer: UnsafeMutableRawPointer) {
    unsafe self.request = request
    unsafe self.answer = answer
  }

  /// The cursors that the application asks for, not validated, and the flags of the sync.
  ///
  /// `head` is loaded first: the application stores it last, so `cur` is at least as new. What the application stored in
  /// slots before is visible afterwards.
  func loadRequest() -> (cursors: LoadedCursors, flags: SyncFlags) {
    let head = unsafe asked(NM_CSB_ATOK_HEAD_OFFSET).pointee.load(ordering: .acquiring)
    let cur = unsafe asked(NM_CSB_ATOK_CUR_OFFSET).pointee.load(ordering: .acquiring)
    let flags = unsafe asked(NM_CSB_ATOK_SYNC_FLAGS_OFFSET).pointee.load(ordering: .relaxed)
    return (
      LoadedCursors(head: head, cur: cur),
      SyncFlags(rawValue: flags).intersection([.forceRead, .forceReclaim])
    )
  }

  /// Shows the application how far the loop has come.
  ///
  /// Slots are visible before both cursors, and `hwcur` before `hwtail`: an application that loads `hwtail` first never
  /// sees it pass `hwcur`.
  func publish(hwcur: UInt32, hwtail: UInt32) {
    let (first, second) = unsafe (
      answered(NM_CSB_KTOA_HWCUR_OFFSET), answered(NM_CSB_KTOA_HWTAIL_OFFSET)
    )
    // A store of the same value would take the cache line from the application.
    if unsafe first.pointee.load(ordering: .relaxed) != hwcur {
      unsafe first.pointee.store(hwcur, ordering: .releasing)
    }
    if unsafe second.pointee.load(ordering: .relaxed) != hwtail {
      unsafe second.pointee.store(hwtail, ordering: .releasing)
    }
  }

  /// Tells the application that it need not wake the loop.
  func waiveKicks() {
    if unsafe needsKick.pointee.load(ordering: .relaxed) != 0 {
      unsafe needsKick.pointee.store(0, ordering: .relaxed)
    }
  }

  /// Asks the application to wake the loop when it changes its cursors. The caller must load the request again before it
  /// sleeps.
  func askForKicks() {
    unsafe needsKick.pointee.store(1, ordering: .relaxed)
    // The application stores its cursors, and then looks whether a kick is wanted.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }

  /// Whether the application wants to be woken for what ``publish(hwcur:hwtail:)`` has shown.
  func wantsSignal() -> Bool {
    // The application asks for the signal, and then looks at the cursors again.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return unsafe asked(NM_CSB_ATOK_APPL_NEED_KICK_OFFSET).pointee.load(ordering: .relaxed) != 0
  }

  private var needsKick: UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe answered(NM_CSB_KTOA_KERN_NEED_KICK_OFFSET)
  }

  private func asked(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (request + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  private func answered(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (answer + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}

/// The control blocks of a binding: two arrays with an entry for each ring, transmit rings first.
@unsafe
package struct ControlBlocks {
  /// `struct nm_csb_atok[]`
  package let requests: UnsafeMutableRawPointer
  /// `struct nm_csb_ktoa[]`
  package let answers: UnsafeMutableRawPointer

  /// Nil unless both arrays are aligned to 64 bytes.
  ///
  /// - Parameters:
  ///   - requests: The array that the application writes.
  ///   - answers: The array that the loop writes.
  package init?(requests: UnsafeMutableRawPointer, answers: UnsafeMutableRawPointer) {
    let mask = UInt(unsafe ControlBlock.byteCount - 1)
    guard UInt(bitPattern: requests) & mask == 0, UInt(bitPattern: answers) & mask == 0 else {
      return nil
    }
    unsafe self.requests = requests
    unsafe self.answers = answers
  }

  subscript(index: Int) -> ControlBlock {
    unsafe ControlBlock(
      request: requests + index * ControlBlock.byteCount,
      answer: answers + index * ControlBlock.byteCount)
  }
}

extension ControlBlock {
  /// Fills both blocks with the state of a ring when CSB mode begins: the loop wants kicks, and the application wants to be
  /// woken.
  func fill(_ start: RingStart) {
    unsafe request.initializeMemory(as: UInt8.self, repeating: 0, count: Self.byteCount)
    unsafe answer.initializeMemory(as: UInt8.self, repeating: 0, count: Self.byteCount)
    unsafe asked(NM_CSB_ATOK_CUR_OFFSET).pointee.store(start.cur, ordering: .relaxed)
    unsafe asked(NM_CSB_ATOK_APPL_NEED_KICK_OFFSET).pointee.store(1, ordering: .relaxed)
    unsafe asked(NM_CSB_ATOK_SYNC_FLAGS_OFFSET).pointee.store(1, ordering: .relaxed)
    unsafe asked(NM_CSB_ATOK_HEAD_OFFSET).pointee.store(start.head, ordering: .releasing)
    unsafe needsKick.pointee.store(1, ordering: .relaxed)
    unsafe publish(hwcur: start.hwcur, hwtail: start.hwtail)
  }
}

extension MappedPort {
  /// Fills the control blocks of all rings, in memory of this process, and notes in the record that the binding is in CSB
  /// mode.
  package func fill(_ blocks: ControlBlocks) {
    describeRings { unsafe blocks[$0].fill($1) }
    unsafe control?.setMode(.csb)
  }
}
