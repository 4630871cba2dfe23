internal import CLinux
internal import Glibc
internal import Synchronization

/// The doorbells this process can ring, by number.
///
/// Each sleeper watches its doorbell edge-triggered, so one ring wakes every one of them, and none can steal
/// the wake-up of another. A descriptor is never closed while the table lives, only handed to the next user:
/// somebody may be about to ring it, and a closed number could by then be another file.
///
/// In an embedded engine numbers are given here, one to each sleeper, and a doorbell is an eventfd that is never
/// read: no other process has it. Processes that are attached to a daemon have one each
/// (``ClientTag/doorbell``), the same number in every process's table: a pair of sockets (``BellSocket``). An
/// isolated port has a table with the doorbells of the processes that have it open, and no others.
@safe
package final class DoorbellTable: Sendable {
  /// The table as the data path uses it: a pointer, no ownership.
  @unsafe
  package struct View: @unchecked Sendable {
    let cells: UnsafeMutableRawPointer
    let mask: UInt32
    let resolver: Resolver?
    /// Whether doorbells are sockets, and not eventfds of this process's own.
    let areSockets: Bool
    /// How many threads of a process one ring of a ``Bell`` wakes at most.
    let threadLimit: CInt

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
      if unsafe areSockets { BellSocket.ring(cell.file) } else { ringEventfd(cell.file) }
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
  /// The doorbell that all sleepers of this process share, when there are other processes, and where it is
  /// watched.
  private let own: (number: UInt32, watched: CInt)?
  /// Of an isolated port: whose doorbells are in the table, and whose were.
  private let members = Mutex<Members>(Members())
  private let memberChanges = Atomic<UInt64>(0)
  /// Held by the thread that takes rings.
  private let taking = Mutex<Void>(())
  private let hasBrokenDown = Atomic<Bool>(false)

  private struct Members {
    var present: [UInt32: PeerBell] = [:]
    var gone: [PeerBell] = []
  }

  /// Numbers that sleepers of an embedded engine had and have given back, and the next new one.
  private let idle = Mutex<(next: UInt32, free: [UInt32])>((0, []))

  /// The table of an embedded engine: each sleeper gets a doorbell of its own.
  package convenience init() throws(NetmapError) {
    unsafe try self.init(own: nil, cellCount: 65_536, resolver: nil, areSockets: false)
  }

  /// How many threads of a process outside the trust domain one ring wakes at most: it can have thousands, and
  /// whoever rings walks through all that it wakes.
  package static let threadsWoken: CInt = 64

  /// The table of an isolated port, for the worker: it rings whoever is admitted.
  ///
  /// - Throws: ``NetmapError`` when there is no memory left.
  package static func ofIsolatedPort() throws(NetmapError) -> DoorbellTable {
    unsafe try DoorbellTable(
      own: nil, cellCount: ClientTag.slotCount, resolver: nil, areSockets: true,
      threadLimit: threadsWoken)
  }

  /// The table of a process that is attached to a daemon: one doorbell for all its sleepers.
  ///
  /// - Parameters:
  ///   - tag: The process, as the daemon knows it.
  ///   - watched: The end of its doorbell on which it is rung, and no other process receives; the table's from
  ///     now on.
  ///   - rung: The other end, on which others ring it; the table's from now on. Nil for a process that rings
  ///     nobody but the daemon's worker.
  ///   - resolver: What fetches the doorbells of others.
  /// - Throws: ``NetmapError`` when there is no memory left; the descriptors are closed then.
  package convenience init(
    of tag: ClientTag, watched: CInt, rung: CInt?, resolver: Resolver?
  ) throws(NetmapError) {
    do throws(NetmapError) {
      unsafe try self.init(
        own: (tag.doorbell, watched), cellCount: ClientTag.slotCount, resolver: resolver,
        areSockets: true)
    } catch {
      close(watched)
      if let rung { close(rung) }
      throw error
    }
    if let rung { install(rung, as: tag.doorbell) }
  }

  private init(
    own: (number: UInt32, watched: CInt)?, cellCount: UInt32, resolver: Resolver?,
    areSockets: Bool, threadLimit: CInt = .max
  ) throws(NetmapError) {
    let size = Int(cellCount) * MemoryLayout<UInt64>.size
    let memory = unsafe mmap(
      nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
      throw systemError("mmap", "doorbell table (\(size) bytes)")
    }
    self.own = own
    unsafe view = View(
      cells: memory, mask: cellCount - 1, resolver: resolver, areSockets: areSockets,
      threadLimit: threadLimit)
  }

  deinit {
    // Those of an isolated port belong to its members.
    for index in 0..<(own == nil ? idle.withLock { $0.next } : capacity) {
      let cell = unsafe Cell(view.cell(index).pointee.load(ordering: .relaxed))
      if cell.file >= 0, cell.file != own?.watched { close(cell.file) }
    }
    if let own { close(own.watched) }
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
    if let own { return own.number }
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

  /// Makes `file`, which now belongs to the table, doorbell `number`.
  ///
  /// For doorbells of other processes, which arrive by descriptor passing, one at a time. Where an
  /// earlier process had its place, the descriptor stays the same and becomes the new file, because
  /// somebody may be about to write to it.
  package func install(_ file: CInt, as number: UInt32) {
    let place = unsafe view.cell(number)
    let known = unsafe Cell(place.pointee.load(ordering: .relaxed))
    var file = file
    if known.file >= 0, known.file != own?.watched {
      dup3(file, known.file, O_CLOEXEC)
      close(file)
      file = known.file
    }
    unsafe place.pointee.store(Cell(number: number, file: file).bits, ordering: .releasing)
  }

  /// Doorbell `number` is rung on the very end that this process watches: the daemon's worker has the other one.
  package func installOwnEnd(as number: UInt32) {
    guard let own else { return }
    let place = unsafe view.cell(number)
    guard unsafe Cell(place.pointee.load(ordering: .relaxed)).file < 0 else { return }
    unsafe place.pointee.store(Cell(number: number, file: own.watched).bits, ordering: .releasing)
  }

  /// What a doorbell is rung by; -1 when there is nothing.
  package func descriptor(of number: UInt32) -> CInt {
    let cell = unsafe Cell(view.cell(number).pointee.load(ordering: .relaxed))
    return cell.number == number ? cell.file : -1
  }
}

// Of an isolated port.
extension DoorbellTable {
  /// Has the worker ring a process that has the port open. May be called from any thread.
  package func admit(_ bell: PeerBell) {
    members.withLock { members in
      members.present[bell.number] = bell
      unsafe view.cell(bell.number).pointee.store(
        Cell(number: bell.number, file: bell.file).bits, ordering: .releasing)
    }
    memberChanges.wrappingAdd(1, ordering: .releasing)
  }

  /// Has it ring a process no more. May be called from any thread. The worker may be about to: the doorbell
  /// is let go of by the next ``takeMembers(since:)``.
  package func expel(_ number: UInt32) {
    members.withLock { members in
      guard let bell = members.present.removeValue(forKey: number) else { return }
      members.gone.append(bell)
      let place = unsafe view.cell(number)
      if unsafe Cell(place.pointee.load(ordering: .relaxed)).number == number {
        unsafe place.pointee.store(0, ordering: .releasing)
      }
    }
    memberChanges.wrappingAdd(1, ordering: .releasing)
  }

  /// Who has the port open, for the thread that rings them.
  ///
  /// - Parameter seen: Changes that are known; set.
  /// - Returns: Nil when nothing has changed since.
  func takeMembers(since seen: inout UInt64) -> [PeerBell]? {
    let changes = memberChanges.load(ordering: .acquiring)
    guard changes != seen else { return nil }
    seen = changes
    return members.withLock { members in
      members.gone = []
      return Array(members.present.values)
    }
  }
}

// Of a process whose sleepers share a doorbell.
extension DoorbellTable {
  /// What a sleeper watches to be woken by doorbell `number`; -1 when there is nothing.
  func watched(of number: UInt32) -> CInt {
    if let own { own.number == number ? own.watched : -1 } else { descriptor(of: number) }
  }

  /// Takes rings, so that there is room for more. To be called after a sleeper has taken note of an edge, and
  /// before it announces itself.
  ///
  /// No wake-up is lost. Let a ring come after a sleeper has called this. Either the socket takes the byte, and
  /// that is an edge in the sleeper's epoll instance. Or it refuses, being full; it was not when the call
  /// returned, so it has taken another byte since, and that was an edge. An edge of which no note was taken ends
  /// the sleep, unless the socket is empty by then, for epoll(7) looks again before it reports. It is not:
  /// whoever takes rings leaves one, and only one thread takes at a time, so none takes what another one
  /// has left. Where one sleeper alone watches there is nobody to leave one for, and it announces itself after it
  /// has taken all.
  ///
  /// - Parameter left: How many stay at least: 1, or 0 where one sleeper alone watches.
  func makeRoom(leaving left: Int) {
    guard let own else { return }
    let hasRoom = taking.withLock { _ in BellSocket.makeRoom(in: own.watched, leaving: left) }
    if !hasRoom { breakDown() }
  }

  /// Somebody has seen to it that rings may not arrive: they are not relied on any more.
  func breakDown() { hasBrokenDown.store(true, ordering: .relaxed) }

  /// Whether sleepers are sure to be woken by it.
  var isReliable: Bool { !hasBrokenDown.load(ordering: .relaxed) }
}

/// Wakes whoever watches an eventfd that no other process has.
func ringEventfd(_ file: CInt) {
  var one: UInt64 = 1
  _ = unsafe write(file, &one, 8)
}
