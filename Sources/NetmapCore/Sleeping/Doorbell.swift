internal import CLinux
internal import Glibc
internal import Synchronization

/// The doorbells that this process can ring, by number.
///
/// Each sleeper watches its doorbell edge-triggered, so one ring wakes every sleeper, and no sleeper can consume
/// the wake-up of another. The table closes no descriptor during its lifetime, but reuses it for the next
/// doorbell: a thread may be about to write to it, and the number of a closed descriptor could belong to another
/// file by then.
///
/// In an embedded engine the table assigns the numbers, one to each sleeper, and a doorbell is an eventfd that no
/// thread reads: no other process has it. Each process that is attached to a daemon has one doorbell
/// (``ClientTag/doorbell``), with the same number in every process's table: a pair of sockets (``BellSocket``).
/// The table of an isolated port contains only the doorbells of the processes that have the port open.
@safe
package final class DoorbellTable: Sendable {
  /// The table as the data path uses it: a pointer, no ownership.
  @unsafe
  package struct View: @unchecked Sendable {
    let cells: UnsafeMutableRawPointer
    let mask: UInt32
    let resolver: Resolver?
    /// Whether doorbells are sockets; otherwise they are eventfds of this process.
    let areSockets: Bool
    /// The most threads of a process that one ring of a ``Bell`` wakes.
    let threadLimit: CInt

    /// Wakes the sleepers that watch doorbell `number`; does nothing if there is no such doorbell.
    ///
    /// - Parameters:
    ///   - number: The doorbell.
    ///   - name: The ring that has made progress. Only sockets carry it.
    // Ends in a system call, which the compiler cannot follow.
    @_semantics("no_performance_analysis")
    @inline(never)
    func ring(_ number: UInt32, _ name: RingName = .unknown) {
      var cell = unsafe Cell(cell(number).pointee.load(ordering: .acquiring))
      if cell.number != number || cell.file < 0, let resolver = unsafe resolver {
        unsafe resolver.fetch(resolver.context)
        cell = unsafe Cell(self.cell(number).pointee.load(ordering: .acquiring))
      }
      guard cell.number == number, cell.file >= 0 else {
        // No descriptor was free when the doorbell arrived, or it has not arrived yet.
        if let resolver = unsafe resolver { unsafe resolver.ring(resolver.context, number) }
        return
      }
      guard !PrivateDescriptors.isGuarding || PrivateDescriptors.isIntact(cell.file) else {
        return
      }
      if unsafe areSockets { BellSocket.ring(cell.file, name) } else { ringEventfd(cell.file) }
    }

    @inline(__always)
    fileprivate func cell(_ number: UInt32) -> UnsafeMutablePointer<Atomic<UInt64>> {
      unsafe (cells + Int(number & mask) * MemoryLayout<UInt64>.size)
        .assumingMemoryBound(to: Atomic<UInt64>.self)
    }
  }

  /// A cell of the table: the number of a doorbell and its descriptor.
  ///
  /// Untouched memory means "none".
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

  /// Functions that fetch doorbells of other processes that the daemon has announced but this process has not
  /// read yet.
  ///
  /// The table calls them when a sync rings a number that the table does not have.
  @unsafe
  package struct Resolver: @unchecked Sendable {
    let context: UnsafeMutableRawPointer
    let fetch: @convention(c) (UnsafeMutableRawPointer) -> Void
    let ring: @convention(c) (UnsafeMutableRawPointer, UInt32) -> Void

    /// - Parameters:
    ///   - context: Must outlive every port that uses the table.
    ///   - fetch: Installs the announced doorbells; must not block.
    ///   - ring: Makes another process ring a doorbell that could not be fetched; must not block.
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
  /// The doorbell that all sleepers of this process share if other processes exist, and the descriptor on which
  /// they watch it.
  private let own: (number: UInt32, watched: CInt, file: PrivateDescriptor)?
  /// The descriptors of other processes' doorbells that the table has made private, by number.
  private let rungFiles = Mutex<[CInt: PrivateDescriptor]>([:])
  /// For an isolated port: the doorbells in the table, and the removed ones that are still kept.
  private let members = Mutex<Members>(Members())
  private let memberChanges = Atomic<UInt64>(0)
  /// Held by the thread that takes rings out of the socket: the bytes of rings in the socket that ``takeNames(_:)`` has
  /// reported.
  private let taking = Mutex<Int>(0)
  private let hasBrokenDown = Atomic<Bool>(false)

  private struct Members {
    var present: [UInt32: PeerBell] = [:]
    var gone: [PeerBell] = []
  }

  /// The numbers that sleepers of an embedded engine have returned, and the next new number.
  private let idle = Mutex<(next: UInt32, free: [UInt32])>((0, []))

  /// Creates the table of an embedded engine, in which each sleeper has its own doorbell.
  package convenience init() throws(NetmapError) {
    unsafe try self.init(own: nil, cellCount: 65_536, resolver: nil, areSockets: false)
  }

  /// The most threads of a process outside the trust domain that one ring wakes.
  ///
  /// Such a process can have thousands, and the process that rings pays for each thread that it wakes.
  package static let threadsWoken: CInt = 64

  /// Creates the table of an isolated port, for the worker, which rings the processes that ``admit(_:)`` adds.
  ///
  /// - Throws: ``NetmapError`` when no memory is left.
  package static func ofIsolatedPort() throws(NetmapError) -> DoorbellTable {
    unsafe try DoorbellTable(
      own: nil, cellCount: ClientTag.slotCount, resolver: nil, areSockets: true,
      threadLimit: threadsWoken)
  }

  /// Creates the table of a process that is attached to a daemon: one doorbell for all its sleepers.
  ///
  /// - Parameters:
  ///   - tag: The client tag that the daemon assigned to the process.
  ///   - watched: The end of the process's doorbell on which other processes ring it and no other process
  ///     receives. The table takes ownership.
  ///   - rung: The end through which other processes ring it. The table takes ownership. Nil for a process that
  ///     rings only the daemon's worker.
  ///   - resolver: Fetches the doorbells of other processes.
  /// - Throws: ``NetmapError`` when no memory is left; the table then closes the descriptors.
  package convenience init(
    of tag: ClientTag, watched: CInt, rung: CInt?, resolver: Resolver?
  ) throws(NetmapError) {
    let file = PrivateDescriptor(watched)
    do throws(NetmapError) {
      unsafe try self.init(
        own: (tag.doorbell, file.number, file), cellCount: ClientTag.slotCount, resolver: resolver,
        areSockets: true)
    } catch {
      file.close()
      if let rung { close(rung) }
      throw error
    }
    if let rung { install(rung, as: tag.doorbell) }
  }

  private init(
    own: (number: UInt32, watched: CInt, file: PrivateDescriptor)?, cellCount: UInt32,
    resolver: Resolver?,
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
    // The descriptors of an isolated port's table belong to its ``PeerBell`` members.
    for file in rungFiles.withLock({ Array($0.values) }) { file.close() }
    own?.file.close()
    unsafe munmap(view.cells, Int(capacity) * MemoryLayout<UInt64>.size)
  }

  private var capacity: UInt32 { unsafe view.mask + 1 }

  /// Whether several sleepers announce themselves with the same number.
  ///
  /// If so, no sleeper may withdraw an announcement, because it may be another sleeper's.
  package var isShared: Bool { own != nil }

  /// The number of the doorbell that all sleepers of this process share; nil if each has its own.
  var sharedNumber: UInt32? { own?.number }

  /// Returns a doorbell for a new sleeper: an idle one, or a new eventfd.
  ///
  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE` when no descriptor is left.
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
        remedy: "close ports that the program waits for")
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

  /// Returns a doorbell to the table.
  ///
  /// Late rings of it cause needless wake-ups of its next user, which are harmless.
  package func release(_ number: UInt32) {
    if own != nil { return }
    idle.withLock { $0.free.append(number) }
  }

  /// Makes `file` doorbell `number`; the table takes ownership of the descriptor.
  ///
  /// For doorbells of other processes, which arrive by descriptor passing. Call it from one thread at a time. If
  /// the cell holds the doorbell of an earlier process, its descriptor number stays the same and refers to the
  /// new file from then on, because another thread may be about to write to it.
  package func install(_ file: CInt, as number: UInt32) {
    let place = unsafe view.cell(number)
    let known = unsafe Cell(place.pointee.load(ordering: .relaxed))
    var file = file
    let old = rungFiles.withLock { $0[known.file] }
    if known.file >= 0, known.file != own?.watched, let old, old.isIntact {
      dup3(file, known.file, O_CLOEXEC)
      close(file)
      file = known.file
    }
    // The file that a number stands for has changed, or the number itself.
    let made = PrivateDescriptor(file, staying: file == known.file)
    file = made.number
    rungFiles.withLock { $0[file] = made }
    unsafe place.pointee.store(Cell(number: number, file: file).bits, ordering: .releasing)
  }

  /// Makes this process ring doorbell `number`, the daemon's worker, through the end that this process watches.
  package func installOwnEnd(as number: UInt32) {
    guard let own else { return }
    let place = unsafe view.cell(number)
    guard unsafe Cell(place.pointee.load(ordering: .relaxed)).file < 0 else { return }
    unsafe place.pointee.store(Cell(number: number, file: own.watched).bits, ordering: .releasing)
  }

  /// Whether the end that this process watches is still open, and not another file of the program's.
  package var isIntact: Bool { own?.file.isIntact ?? true }

  /// The descriptor that rings a doorbell; -1 if there is none.
  package func descriptor(of number: UInt32) -> CInt {
    let cell = unsafe Cell(view.cell(number).pointee.load(ordering: .relaxed))
    return cell.number == number ? cell.file : -1
  }
}

// Members of an isolated port's table.
extension DoorbellTable {
  /// Adds a process that has the port open; the worker rings it from now on.
  ///
  /// Any thread may call this.
  package func admit(_ bell: PeerBell) {
    members.withLock { members in
      members.present[bell.number] = bell
      unsafe view.cell(bell.number).pointee.store(
        Cell(number: bell.number, file: bell.file).bits, ordering: .releasing)
    }
    memberChanges.wrappingAdd(1, ordering: .releasing)
  }

  /// Removes a process; the worker no longer rings it.
  ///
  /// Any thread may call this.
  ///
  /// The worker may be about to ring it, so the table releases the doorbell only in the next
  /// ``takeMembers(since:)``.
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

  /// Returns the processes that have the port open, for the thread that rings them.
  ///
  /// - Parameter seen: The number of changes that the caller knows; updated.
  /// - Returns: Nil when nothing has changed.
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

// A process whose sleepers share a doorbell.
extension DoorbellTable {
  /// The descriptor that a sleeper watches for rings of doorbell `number`; -1 if there is none.
  func watched(of number: UInt32) -> CInt {
    if let own { own.number == number ? own.watched : -1 } else { descriptor(of: number) }
  }

  /// Takes rings out of the socket, so that it has room for more.
  ///
  /// A sleeper calls this after it has consumed an edge, and before it announces itself.
  ///
  /// No wake-up is lost. Suppose another process rings after this call. If the socket accepts the byte, the
  /// sleeper's epoll instance gets an edge. If the socket is full and rejects the byte, it has accepted another
  /// byte since this call returned, because it was not full at that time, and that byte caused an edge. A pending
  /// edge ends the sleep unless the socket is empty when epoll reports it, because epoll(7) checks the state
  /// again before it reports an event. The socket is not empty: a thread that takes rings leaves one, and only
  /// one thread takes rings at a time, so no thread takes the ring that another thread left. A sleeper that
  /// watches alone need not leave a ring for other watchers, and announces itself after it has taken all rings.
  ///
  /// - Parameter left: The least number of rings to leave: 1, or 0 if a single sleeper watches the doorbell.
  func makeRoom(leaving left: Int) {
    guard let own else { return }
    let hasRoom = taking.withLock { known in
      known = 0
      return BellSocket.makeRoom(in: own.watched, leaving: left)
    }
    if !hasRoom { breakDown() }
  }

  /// Takes rings out of the socket like ``makeRoom(leaving:)``, and reports which rings have made progress.
  ///
  /// Another thread that takes rings afterwards finds that `body` has returned. So no sleeper sees neither the ring in
  /// the socket nor its report.
  ///
  /// - Parameter body: Called with a lock held. Gets names that no process has checked; nil stands for all rings.
  func takeNames(_ body: (UnsafeBufferPointer<UInt64>?) -> Void) {
    guard let own else { return }
    let hasRoom = taking.withLock { known in
      unsafe BellSocket.takeNames(in: own.watched, known: &known, body)
    }
    if !hasRoom { breakDown() }
  }

  /// Records that a peer has broken the doorbell: sleepers no longer rely on its rings.
  func breakDown() { hasBrokenDown.store(true, ordering: .relaxed) }

  /// Whether rings of the process's doorbell are certain to wake its sleepers.
  package var isReliable: Bool { !hasBrokenDown.load(ordering: .relaxed) }
}

/// Wakes the sleepers that watch an eventfd of this process, which no other process has.
func ringEventfd(_ file: CInt) {
  var one: UInt64 = 1
  _ = unsafe write(file, &one, 8)
}
