internal import NetmapCore
internal import Synchronization

/// The extra buffers of a port: a list of those that hold no packet, and a table of those that hold a kept one.
///
/// Both lie in shared memory, so that the engine gets every buffer back when the process is killed. The pool keeps the
/// port's memory mapped, and out of reach of other ports, for as long as a kept packet exists. Only the thread that
/// uses the port uses it.
@safe @usableFromInline
final class ExtraBufferPool {
  private let binding: PortBinding
  private let process = unsafe ForkGuard.Mark()
  private let list: ExtraBufferList
  private let table: KeptTable
  private let pages: [UInt32]
  private let entriesPerPage: Int
  private var freeEntries: [Int]
  /// Number of extra buffers, without the table's pages.
  let capacity: Int
  let origin: RingOrigin

  /// Number of buffers in the list, as far as this process knows.
  var count: Int { freeEntries.count }

  /// The number of buffers to ask for if a program wants `count` extra buffers: one more for each page of the table.
  static func request(for count: Int) -> Int {
    let entries = unsafe KeptTable.entryCount(bufferSize: 2048)
    guard count > 0, count < .max / 2 else { return count }
    return count + (count + entries - 1) / entries
  }

  /// - Parameters:
  ///   - binding: The port's binding, with at least one ring.
  ///   - ring: One of its rings.
  ///   - given: The number of buffers that the engine gave.
  init(_ binding: PortBinding, _ ring: Ring, given: Int) {
    self.binding = binding
    let list = unsafe ExtraBufferList(interface: binding.mapped.interface, ring: ring)
    let table = unsafe KeptTable(interface: binding.mapped.interface, ring: ring)
    let entries = unsafe KeptTable.entryCount(bufferSize: Int(ring.bufferSize))
    var pages: [UInt32] = []
    while given - pages.count > pages.count * entries, let page = unsafe table.addPage(from: list) {
      pages.append(page)
    }
    unsafe self.list = list
    unsafe self.table = table
    self.pages = pages
    entriesPerPage = entries
    capacity = max(min(given - pages.count, pages.count * entries), 0)
    freeEntries = Array((0..<capacity).reversed())
    let mapped = binding.mapped
    unsafe origin = RingOrigin(ring, mapped.region, mapped.exchangeOwner, note: nil)
  }

  deinit {
    guard unsafe process.isThisProcess else { return }
    binding.finish()
  }

  /// Takes the buffer of a slot, and leaves an extra buffer there.
  ///
  /// - Returns: The table's entry for the buffer; nil when there is no extra buffer.
  func keep(_ buffer: UInt32, in slot: UInt32, of ring: Ring) -> Int? {
    guard let page = pages.last, let entry = freeEntries.last, let spare = unsafe list.first else {
      return nil
    }
    freeEntries.removeLast()
    unsafe table.begin(slot, of: ring, from: buffer, to: spare, page: page)
    setEntry(entry, to: buffer)
    _ = unsafe list.take()
    // A buffer must not be in the slot and in the list at once.
    atomicMemoryFence(ordering: .releasing)
    unsafe ring.place(slot).store(SlotWord(bufferIndex: spare, length: 0, flags: .bufferChanged))
    unsafe table.end(page: page)
    return entry
  }

  /// Puts a kept packet into a slot. The slot's former buffer becomes an extra buffer.
  func send(
    _ buffer: UInt32, _ entry: Int, length: Int, in slot: UInt32, of ring: Ring, for former: UInt32
  ) {
    guard let page = pages.last else { return }
    let word = SlotWord(
      bufferIndex: buffer, length: UInt16(truncatingIfNeeded: length), flags: .bufferChanged)
    unsafe table.begin(slot, of: ring, from: former, to: buffer, page: page)
    unsafe ring.place(slot).store(word)
    atomicMemoryFence(ordering: .releasing)
    give(former, entry)
    unsafe table.end(page: page)
  }

  /// Makes a buffer that is in no slot an extra buffer, and an entry of the table free.
  func give(_ buffer: UInt32, _ entry: Int) {
    unsafe list.give(buffer)
    setEntry(entry, to: 0)
    freeEntries.append(entry)
  }

  private func setEntry(_ entry: Int, to buffer: UInt32) {
    unsafe table.store(buffer, entry: entry % entriesPerPage, of: pages[entry / entriesPerPage])
  }
}
