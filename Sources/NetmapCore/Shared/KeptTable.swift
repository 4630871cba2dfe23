internal import CNetmap
internal import Synchronization

/// The table of the buffers that an application keeps out of its rings, with the packets in them.
///
/// A kept buffer is in no slot and in no list. The table names it, so that the engine can free it when the binding
/// ends, also if the process was killed.
///
/// The table's pages are extra buffers of the binding. `ni_spare1[0]` of the `netmap_if` names the first page, and each
/// page names the next one; 0 ends the chain. `Word` lists the contents of a page.
///
/// To keep a packet or to send a kept one, the application exchanges the buffer in a slot for another one. That takes
/// a store to the slot, one to the table and one to the list of extra buffers. A note in the first page therefore
/// names the slot and both buffers meanwhile: the slot keeps the buffer that it has, and the other one is not in use.
///
/// Other processes of the region can write to the table, so each word is loaded once, and an index out of range ends
/// the chain.
///
/// A view: plain pointers, no ownership. Only one thread at a time may use a binding's table.
@unsafe
package struct KeptTable {
  /// The 32-bit words of a page.
  fileprivate enum Word {
    /// Word 0 is the link of a list of extra buffers, before the buffer becomes a page.
    static let next = 1
    /// The distance in bytes from the noted ring to buffer 0; 0 when no exchange is in progress.
    static let distance = 2
    static let slot = 3
    static let old = 4
    static let new = 5
    /// The first entry: a buffer, or 0.
    static let entries = 8
  }

  private let interface: UnsafeMutableRawPointer
  private let buffers: UnsafeMutableRawPointer
  private let bufferCount: UInt32
  private let bufferSize: UInt32

  /// - Parameters:
  ///   - interface: The binding's `netmap_if`.
  ///   - ring: A ring of the binding, which bounds the buffers.
  package init(interface: UnsafeMutableRawPointer, ring: Ring) {
    unsafe self.interface = unsafe interface
    unsafe buffers = ring.buffers
    unsafe bufferCount = ring.bufferCount
    unsafe bufferSize = ring.bufferSize
  }

  /// The number of buffers that one page names.
  package static func entryCount(bufferSize: Int) -> Int { bufferSize / 4 - Word.entries }

  /// Makes the first buffer of a list a page.
  ///
  /// - Returns: The page; nil when the list is empty.
  package func addPage(from list: ExtraBufferList) -> UInt32? {
    guard let page = unsafe list.first else { return nil }
    for index in unsafe 1..<Int(bufferSize / 4) { unsafe store(0, index, of: page) }
    unsafe store(firstPage.pointee.load(ordering: .relaxed), Word.next, of: page)
    // In the table before it leaves the list, so that it is never in neither.
    unsafe firstPage.pointee.store(page, ordering: .releasing)
    atomicMemoryFence(ordering: .releasing)
    return unsafe list.take()
  }

  /// Notes that a slot's buffer is about to be exchanged.
  ///
  /// - Parameters:
  ///   - slot: The slot's index.
  ///   - ring: Its ring, in the table's region.
  ///   - old: The buffer in the slot.
  ///   - new: The buffer that the slot gets.
  ///   - page: The table's first page.
  package func begin(
    _ slot: UInt32, of ring: Ring, from old: UInt32, to new: UInt32, page: UInt32
  ) {
    unsafe store(slot, Word.slot, of: page)
    unsafe store(old, Word.old, of: page)
    unsafe store(new, Word.new, of: page)
    // Never 0, because rings lie before the buffers. Stored last, because it makes the note valid.
    let distance = unsafe ring.buffers - ring.base
    unsafe store(UInt32(truncatingIfNeeded: distance), Word.distance, of: page)
    atomicMemoryFence(ordering: .releasing)
  }

  /// Clears the note.
  package func end(page: UInt32) {
    atomicMemoryFence(ordering: .releasing)
    unsafe store(0, Word.distance, of: page)
  }

  /// Stores a buffer in an entry of a page; 0 makes the entry free.
  package func store(_ buffer: UInt32, entry: Int, of page: UInt32) {
    unsafe store(buffer, Word.entries + entry, of: page)
  }

  private func store(_ value: UInt32, _ word: Int, of page: UInt32) {
    guard page >= 2, unsafe page < bufferCount, unsafe word < Int(bufferSize / 4)
    else { return }
    unsafe (buffers + Int(page) &* Int(bufferSize) + word &* 4)
      .assumingMemoryBound(to: Atomic<UInt32>.self).pointee.store(value, ordering: .releasing)
  }

  private var firstPage: UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (interface + NETMAP_IF_SPARE1_OFFSET).assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}

// The engine's side: it reads the table that an application has left.
extension Region {
  /// Visits the pages of a binding's table and the buffers that they name, each word loaded once.
  ///
  /// A client may rewrite the table meanwhile. There are no more pages than the buffers of the region need.
  ///
  /// - Parameters:
  ///   - interface: The offset of the binding's `netmap_if`.
  ///   - body: Called with each index in range.
  func forEachKept(ofInterfaceAt interface: Int, _ body: (UInt32) -> Void) {
    let entries = unsafe max(KeptTable.entryCount(bufferSize: layout.buffers.size), 1)
    forEachKeptPage(ofInterfaceAt: interface) { page in
      for entry in 0..<entries {
        let index = word(KeptTable.Word.entries + entry, of: page)
        if layout.slotRule.mayGive(index) { body(index) }
      }
      body(page)
    }
  }

  /// Visits the pages of a binding's table, as ``forEachKept(ofInterfaceAt:_:)`` does.
  func forEachKeptPage(ofInterfaceAt interface: Int, _ body: (UInt32) -> Void) {
    let entries = unsafe max(KeptTable.entryCount(bufferSize: layout.buffers.size), 1)
    var page = memory.load(at: interface + NETMAP_IF_SPARE1_OFFSET, as: UInt32.self)
    for _ in 0...layout.buffers.count / entries {
      guard layout.slotRule.mayGive(page) else { return }
      let next = word(KeptTable.Word.next, of: page)
      body(page)
      page = next
    }
  }

  /// The exchange that the application had not finished: the buffer that the slot has, and the other one.
  func unfinishedKeep(ofInterfaceAt interface: Int) -> (inSlot: UInt32, free: UInt32)? {
    let page = memory.load(at: interface + NETMAP_IF_SPARE1_OFFSET, as: UInt32.self)
    guard layout.slotRule.mayGive(page) else { return nil }
    let distance = word(KeptTable.Word.distance, of: page)
    let slot = word(KeptTable.Word.slot, of: page)
    let old = word(KeptTable.Word.old, of: page)
    let new = word(KeptTable.Word.new, of: page)
    guard distance != 0, let ring = unsafe namedRing(at: layout.bufferBase - Int(distance)),
      unsafe slot < ring.slotCount
    else { return nil }
    let current = unsafe ring.place(slot).loadBufferIndex()
    guard current == old || current == new else { return nil }
    return (inSlot: current, free: current == old ? new : old)
  }

  private func word(_ word: Int, of buffer: UInt32) -> UInt32 {
    memory.load(at: offset(ofBuffer: buffer) + word * 4, as: UInt32.self)
  }
}
