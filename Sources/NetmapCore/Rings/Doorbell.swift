internal import CLinux
internal import Glibc
internal import Synchronization

/// Doorbell numbers are below this.
private let doorbellCapacity: UInt32 = 65_536

/// The doorbells this process can ring: an eventfd for each doorbell number.
///
/// A doorbell is written to and never read: each sleeper watches it edge-triggered, so one write
/// wakes every one of them, and none can steal the wake-up of another. A descriptor is never closed
/// while the table lives, only handed to the next user: somebody may be about to write to it, and
/// a closed number could by then be another file.
@safe
package final class DoorbellTable: Sendable {
  /// The table as the data path uses it: a pointer, no ownership.
  @unsafe
  package struct View: @unchecked Sendable {
    let cells: UnsafeMutableRawPointer

    /// Wakes whoever watches doorbell `number`; nothing happens if there is no such doorbell.
    // Ends in a system call, which the compiler cannot follow.
    @_semantics("no_performance_analysis")
    @inline(never)
    func ring(_ number: UInt32) {
      guard number < doorbellCapacity else { return }
      let file = unsafe Self.cell(cells, number).pointee.load(ordering: .relaxed)
      guard file > 0 else { return }
      var one: UInt64 = 1
      // A full counter (EAGAIN) means that a wake-up is pending already.
      _ = unsafe write(file - 1, &one, 8)
    }

    /// Descriptor plus one, so that untouched memory means "none".
    @inline(__always)
    fileprivate static func cell(
      _ cells: UnsafeMutableRawPointer, _ number: UInt32
    ) -> UnsafeMutablePointer<Atomic<Int32>> {
      unsafe (cells + Int(number) * MemoryLayout<Int32>.size)
        .assumingMemoryBound(to: Atomic<Int32>.self)
    }
  }

  private nonisolated(unsafe) let cells: UnsafeMutableRawPointer
  private let idle = Mutex<(next: UInt32, free: [UInt32])>((0, []))

  package var view: View { unsafe View(cells: cells) }

  package init() throws(NetmapError) {
    let size = Int(doorbellCapacity) * MemoryLayout<UInt32>.size
    let memory = unsafe mmap(
      nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
      throw systemError("mmap", "doorbell table (\(size) bytes)")
    }
    unsafe cells = memory
  }

  deinit {
    for number in 0..<idle.withLock({ $0.next }) {
      let file = unsafe View.cell(cells, number).pointee.load(ordering: .relaxed)
      if file > 0 { close(file - 1) }
    }
    unsafe munmap(cells, Int(doorbellCapacity) * MemoryLayout<UInt32>.size)
  }

  /// A doorbell for a new sleeper: one that is idle, or a new eventfd.
  ///
  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE` when there are no descriptors left.
  package func acquire() throws(NetmapError) -> UInt32 {
    let number: UInt32? = idle.withLock { state in
      if let reused = state.free.popLast() { return reused }
      guard state.next < doorbellCapacity else { return nil }
      state.next += 1
      return state.next - 1
    }
    guard let number else {
      throw NetmapError(
        .tooManyFiles, "wait", "port", reason: "all \(doorbellCapacity) doorbells are in use",
        remedy: "close ports that are waited for")
    }
    if unsafe View.cell(cells, number).pointee.load(ordering: .relaxed) == 0 {
      let file = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
      guard file >= 0 else {
        let error = systemError(
          "eventfd", "doorbell", remedy: "raise the limit of open files (ulimit -n)")
        release(number)
        throw error
      }
      install(file, as: number)
    }
    return number
  }

  /// Hands a doorbell back. Late rings of it wake its next user for nothing, which is harmless.
  package func release(_ number: UInt32) {
    idle.withLock { $0.free.append(number) }
  }

  /// Makes `file`, an eventfd that now belongs to the table, doorbell `number`.
  ///
  /// For doorbells of other processes, which arrive by descriptor passing.
  package func install(_ file: CInt, as number: UInt32) {
    precondition(number < doorbellCapacity, "doorbell number out of range")
    idle.withLock { $0.next = max($0.next, number + 1) }
    unsafe View.cell(cells, number).pointee.store(file + 1, ordering: .releasing)
  }

  /// The eventfd behind a doorbell.
  package func descriptor(of number: UInt32) -> CInt {
    unsafe View.cell(cells, number).pointee.load(ordering: .relaxed) - 1
  }
}
