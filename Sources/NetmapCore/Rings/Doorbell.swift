internal import CLinux
internal import Glibc
internal import Synchronization

/// The doorbells this process can ring: an eventfd for each doorbell number.
///
/// A doorbell is written to and never read: each sleeper watches it edge-triggered, so one write
/// wakes every one of them, and none can steal the wake-up of another. A descriptor is never closed
/// while the table lives, only handed to the next user: somebody may be about to write to it, and
/// a closed number could by then be another file.
///
/// In an embedded engine numbers are given here, one to each sleeper. Processes that are attached to a
/// daemon have one each (``ClientTag/doorbell``), the same number in every process's table.
@safe
package final class DoorbellTable: Sendable {
  /// The table as the data path uses it: a pointer, no ownership.
  @unsafe
  package struct View: @unchecked Sendable {
    let cells: UnsafeMutableRawPointer
    let mask: UInt32
    let resolver: Resolver?

    /// Wakes whoever watches doorbell `number`; nothing happens if there is no such doorbell.
    // Ends in a system call, which the compiler cannot follow.
    @_semantics("no_performance_analysis")
    @inline(never)
    func ring(_ number: UInt32) {
      var cell = unsafe Cell(cell(number).pointee.load(ordering: .acquiring))
      if cell.number != number || cell.file < 0, let resolver = unsafe resolver {
        unsafe resolver.fetch(resolver.context)
        cell = unsafe Cell(self.cell(number).pointee.load(ordering: .acquiring))
      }
      guard cell.number == number, cell.file >= 0 else {
        // It was announced when there was no descriptor left to take it with, or has not arrived yet.
        if let resolver = unsafe resolver { unsafe resolver.ring(resolver.context, number) }
        return
      }
      ringDoorbell(cell.file)
    }

    @inline(__always)
    fileprivate func cell(_ number: UInt32) -> UnsafeMutablePointer<Atomic<UInt64>> {
      unsafe (cells + Int(number & mask) * MemoryLayout<UInt64>.size)
        .assumingMemoryBound(to: Atomic<UInt64>.self)
    }
  }

  /// A place in the table: whose doorbell, and its descriptor. Untouched memory means "none".
  private struct Cell {
    let number: UInt32
    /// -1 for none.
    let file: CInt

    init(number: UInt32, file: CInt) {
      self.number = number
      self.file = file
    }

    init(_ bits: UInt64) {
      number = UInt32(truncatingIfNeeded: bits >> 32)
      file = CInt(truncatingIfNeeded: bits) - 1
    }

    var bits: UInt64 { UInt64(number) << 32 | UInt64(UInt32(bitPattern: file + 1)) }
  }

  /// Fetches doorbells of other processes that have been announced but not yet looked at. Called when a
  /// number is rung that the table does not have.
  @unsafe
  package struct Resolver: @unchecked Sendable {
    let context: UnsafeMutableRawPointer
    let fetch: @convention(c) (UnsafeMutableRawPointer) -> Void
    let ring: @convention(c) (UnsafeMutableRawPointer, UInt32) -> Void

    /// - Parameters:
    ///   - context: Must outlive every port that uses the table.
    ///   - fetch: Installs what has been announced; must not block.
    ///   - ring: Has somebody else ring a doorbell that could not be fetched; must not block.
    package init(
      context: UnsafeMutableRawPointer,
      fetch: @escaping @convention(c) (UnsafeMutableRawPointer) -> Void,
      ring: @escaping @convention(c) (UnsafeMutableRawPointer, UInt32) -> Void
    ) {
      unsafe self.context = context
      unsafe self.fetch = fetch
      unsafe self.ring = ring
    }
  }

  package let view: View
  /// The doorbell that all sleepers of this process share, when there are other processes.
  private let own: UInt32?
  /// Numbers that sleepers of an embedded engine had and have given back, and the next new one.
  private let idle = Mutex<(next: UInt32, free: [UInt32])>((0, []))

  /// The table of an embedded engine: each sleeper gets a doorbell of its own.
  package convenience init() throws(NetmapError) {
    unsafe try self.init(own: nil, cellCount: 65_536, resolver: nil)
  }

  /// The table of a process that is attached to a daemon: one doorbell for all its sleepers.
  ///
  /// - Parameters:
  ///   - tag: The process, as the daemon knows it.
  ///   - file: Its eventfd, which belongs to the table from now on.
  ///   - resolver: What fetches the doorbells of others.
  /// - Throws: ``NetmapError`` when there is no memory left; the descriptor is closed then.
  package convenience init(
    of tag: ClientTag, descriptor file: CInt, resolver: Resolver
  ) throws(NetmapError) {
    do throws(NetmapError) {
      unsafe try self.init(
        own: tag.doorbell, cellCount: ClientTag.slotCount, resolver: resolver)
    } catch {
      close(file)
      throw error
    }
    install(file, as: tag.doorbell)
  }

  private init(own: UInt32?, cellCount: UInt32, resolver: Resolver?) throws(NetmapError) {
    let size = Int(cellCount) * MemoryLayout<UInt64>.size
    let memory = unsafe mmap(
      nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
      throw systemError("mmap", "doorbell table (\(size) bytes)")
    }
    self.own = own
    unsafe view = View(cells: memory, mask: cellCount - 1, resolver: resolver)
  }

  deinit {
    for index in 0..<(own == nil ? idle.withLock { $0.next } : capacity) {
      let cell = unsafe Cell(view.cell(index).pointee.load(ordering: .relaxed))
      if cell.file >= 0 { close(cell.file) }
    }
    unsafe munmap(view.cells, Int(capacity) * MemoryLayout<UInt64>.size)
  }

  private var capacity: UInt32 { unsafe view.mask + 1 }

  /// Whether several sleepers announce themselves by the same number. Then none may take an
  /// announcement back: it may be another's.
  package var isShared: Bool { own != nil }

  /// A doorbell for a new sleeper: one that is idle, or a new eventfd.
  ///
  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE` when there are no descriptors left.
  package func acquire() throws(NetmapError) -> UInt32 {
    if let own { return own }
    let number: UInt32? = idle.withLock { state in
      if let reused = state.free.popLast() { return reused }
      guard state.next < capacity else { return nil }
      state.next += 1
      return state.next - 1
    }
    guard let number else {
      throw NetmapError(
        .tooManyFiles, "wait", "port", reason: "all \(capacity) doorbells are in use",
        remedy: "close ports that are waited for")
    }
    if descriptor(of: number) < 0 {
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
    if own != nil { return }
    idle.withLock { $0.free.append(number) }
  }

  /// Makes `file`, an eventfd that now belongs to the table, doorbell `number`.
  ///
  /// For doorbells of other processes, which arrive by descriptor passing, one at a time. Where an
  /// earlier process had its place, the descriptor stays the same and becomes the new file, because
  /// somebody may be about to write to it.
  package func install(_ file: CInt, as number: UInt32) {
    let place = unsafe view.cell(number)
    let known = unsafe Cell(place.pointee.load(ordering: .relaxed))
    var file = file
    if known.file >= 0 {
      dup3(file, known.file, O_CLOEXEC)
      close(file)
      file = known.file
    }
    unsafe place.pointee.store(Cell(number: number, file: file).bits, ordering: .releasing)
  }

  /// The eventfd behind a doorbell; -1 when there is none.
  package func descriptor(of number: UInt32) -> CInt {
    let cell = unsafe Cell(view.cell(number).pointee.load(ordering: .relaxed))
    return cell.number == number ? cell.file : -1
  }
}

/// Wakes whoever watches a doorbell, by its descriptor: an eventfd, or for those who are not trusted a pipe.
///
/// A pipe that nobody reads fills up, and then a write wakes nobody: it is emptied, and the next one does.
package func ringDoorbell(_ file: CInt) {
  var one: UInt64 = 1
  guard unsafe write(file, &one, 8) < 0, errno == EAGAIN else { return }
  unsafe withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 8) { room in
    _ = unsafe read(file, room.baseAddress, room.count)
  }
  _ = unsafe write(file, &one, 8)
}
