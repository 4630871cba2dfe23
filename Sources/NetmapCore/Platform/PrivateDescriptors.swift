internal import CLinux
internal import Glibc
internal import Synchronization

/// The descriptors that this library keeps open in a program, without the program's knowledge: mailboxes, doorbells,
/// sockets of interfaces, epoll instances.
///
/// A program may close descriptors that it did not open (closefrom(3), or a loop over all numbers), and then get the
/// same numbers for files of its own. So a private descriptor is never 0, 1 or 2, on which programs write; the library
/// checks before it closes one that the number is still its own file's; and this table says which numbers are private.
///
/// A library that stands between a program and the C library asks the table when the program closes or replaces a
/// number. It also calls ``guardAll()``, for programs that know nothing of netmap's descriptors.
///
/// All calls may be made from any thread, and ``contains(_:)`` in signal handlers.
package enum PrivateDescriptors {
  /// Descriptors from here on are not in the table.
  private static let capacity: CInt = 1 << 20

  /// For each number the inode of the private file that it had last, plus one; 0 if it has none.
  ///
  /// Reserved address space, of which the kernel allocates the pages that are touched. Never freed.
  private nonisolated(unsafe) static let cells: UnsafeMutablePointer<Atomic<UInt64>>? = {
    let memory = unsafe mmap(
      nil, Int(capacity) * 8, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | CInt(MAP_NORESERVE), -1, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { return nil }
    return unsafe memory.bindMemory(to: Atomic<UInt64>.self, capacity: Int(capacity))
  }()

  private static let guarding = Atomic<Bool>(false)

  /// From now on places private descriptors near the limit of open files, and checks before each use of a doorbell
  /// that it is still the library's.
  ///
  /// Descriptors that exist already stay where they are.
  package static func guardAll() { guarding.store(true, ordering: .relaxed) }

  /// Whether ``guardAll()`` has been called.
  package static var isGuarding: Bool { guarding.load(ordering: .relaxed) }

  /// Whether a number is that of a private descriptor, unless the program has closed it and opened another file.
  package static func contains(_ file: CInt) -> Bool {
    guard let cell = unsafe cell(file) else { return false }
    return unsafe cell.pointee.load(ordering: .relaxed) != 0
  }

  /// Whether a private descriptor is still the library's file.
  ///
  /// True for numbers that are not in the table.
  package static func isIntact(_ file: CInt) -> Bool {
    guard let cell = unsafe cell(file) else { return true }
    let inode = unsafe cell.pointee.load(ordering: .relaxed) & ~staysInChildren
    return inode == 0 || self.inode(of: file).map { $0 &+ 1 } == inode
  }

  /// The highest number of a private descriptor: the kernel's table of a process has room for its highest number, and
  /// fork(2) copies it.
  private static let highest = 65_536
  /// How many numbers below the limit are tried first.
  private static let room = 256

  /// The least numbers to use for a private descriptor, in order of preference.
  package static var floors: [CInt] {
    guard isGuarding else { return [3] }
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
      return [3]
    }
    let top = Int(min(limit.rlim_cur, rlim_t(highest)))
    // select(2) has no numbers from 1024 on, and few of the program's own must end up there.
    return [top - room, top - 4 * room, top / 2].filter { $0 > 3 }.map { CInt($0) } + [3]
  }

  /// Marks a private descriptor that fork children keep.
  fileprivate static let staysInChildren: UInt64 = 1 << 63

  /// Has fork children keep their copies of a private descriptor when they close the others (``closeInChild(_:)``).
  package static func keepInChildren(_ file: CInt) {
    guard let cell = unsafe cell(file) else { return }
    let value = unsafe cell.pointee.load(ordering: .relaxed)
    if value != 0 { unsafe cell.pointee.store(value | staysInChildren, ordering: .relaxed) }
  }

  /// Closes a fork child's copy of a private descriptor of its parent's, if it is still the library's.
  ///
  /// Makes only calls that are allowed between fork and exec in a process with threads.
  ///
  /// - Returns: Whether the number is private no longer.
  package static func closeInChild(_ file: CInt) -> Bool {
    guard let cell = unsafe cell(file) else { return false }
    let value = unsafe cell.pointee.load(ordering: .relaxed)
    guard value != 0, value & staysInChildren == 0 else { return false }
    let isOwn = isIntact(file)
    unsafe cell.pointee.store(0, ordering: .relaxed)
    if isOwn { close(file) }
    return true
  }

  fileprivate static func cell(_ file: CInt) -> UnsafeMutablePointer<Atomic<UInt64>>? {
    guard file >= 0, file < capacity, let cells = unsafe cells else { return nil }
    return unsafe cells + Int(file)
  }

  /// The number that the kernel gives to the file behind a descriptor; nil for a descriptor that is not open.
  fileprivate static func inode(of file: CInt) -> UInt64? {
    var status = stat()
    return unsafe fstat(file, &status) == 0 ? UInt64(status.st_ino) : nil
  }
}

/// One private descriptor, as the object that uses it knows it.
package struct PrivateDescriptor: Hashable, Sendable {
  package let number: CInt
  private let inode: UInt64

  /// Makes a descriptor private: moves it to a number that suits, makes it close-on-exec, and enters it in the table.
  ///
  /// - Parameters:
  ///   - file: A descriptor that the caller owns, of a file that does not make fstat(2) wait. It is closed if it is
  ///     moved.
  ///   - stays: Whether the number must not change.
  package init(_ file: CInt, staying stays: Bool = false) {
    number = stays ? file : Self.place(file)
    inode = PrivateDescriptors.inode(of: number) ?? 0
    if let cell = unsafe PrivateDescriptors.cell(number) {
      unsafe cell.pointee.store(inode &+ 1, ordering: .relaxed)
    }
  }

  /// Whether the number is still this file's.
  ///
  /// Epoll instances and eventfds of a process have one inode, so another of them looks like this file.
  package var isIntact: Bool { PrivateDescriptors.inode(of: number) == inode }

  /// Closes the descriptor if it is still this file's, and takes it out of the table.
  package func close() {
    disown()
    if isIntact { Glibc.close(number) }
  }

  /// Takes the descriptor out of the table.
  package func disown() {
    guard let cell = unsafe PrivateDescriptors.cell(number) else { return }
    for mark in [0, PrivateDescriptors.staysInChildren] {
      _ = unsafe cell.pointee.compareExchange(
        expected: (inode &+ 1) | mark, desired: 0, ordering: .relaxed)
    }
  }

  /// Remembers the file behind a descriptor that the program knows, without making it private.
  ///
  /// - Parameter file: A descriptor of a file that does not make fstat(2) wait.
  package init(known file: CInt) {
    number = file
    inode = PrivateDescriptors.inode(of: file) ?? 0
  }

  private static func place(_ file: CInt) -> CInt {
    if file > 2, !PrivateDescriptors.isGuarding {
      _ = fcntl(file, F_SETFD, FD_CLOEXEC)
      return file
    }
    for floor in PrivateDescriptors.floors {
      let copy = fcntl(file, CInt(CLINUX_F_DUPFD_CLOEXEC), floor)
      guard copy >= 0 else { continue }
      Glibc.close(file)
      return copy
    }
    // There is no other number left.
    _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    return file
  }
}
