internal import CLinux
internal import Glibc
internal import NetmapCore
internal import Synchronization

/// Descriptors that a child of fork(2) must not keep open.
///
/// A child's copy of a mailbox would keep the daemon from noticing that the parent has become
/// another program.
///
/// In a child each of them becomes /dev/null. The number stays in use, because an object in the
/// child still closes it.
enum ForkedDescriptors {
  private static let capacity = 64

  /// Each cell holds a descriptor plus one, or 0 if it is free.
  ///
  /// The memory is never freed.
  private nonisolated(unsafe) static let cells: UnsafeMutablePointer<Atomic<Int32>> = {
    let cells = UnsafeMutablePointer<Atomic<Int32>>.allocate(capacity: capacity)
    for index in 0..<capacity { unsafe (cells + index).initialize(to: Atomic(0)) }
    pthread_atfork(nil, nil) { ForkedDescriptors.partInChild() }
    return unsafe cells
  }()

  /// Has children close their copies of `file`.
  ///
  /// Beyond `capacity` descriptors, children keep the rest open.
  static func add(_ file: CInt) {
    for index in 0..<capacity {
      let cell = unsafe cells + index
      let (isStored, _) = unsafe cell.pointee.compareExchange(
        expected: 0, desired: file + 1, ordering: .relaxed)
      if isStored { return }
    }
  }

  /// Removes `file`.
  ///
  /// The caller calls this before it closes the descriptor.
  static func remove(_ file: CInt) {
    for index in 0..<capacity {
      let cell = unsafe cells + index
      let (isRemoved, _) = unsafe cell.pointee.compareExchange(
        expected: file + 1, desired: 0, ordering: .relaxed)
      if isRemoved { return }
    }
  }

  /// Replaces the descriptors in a child.
  ///
  /// Makes only calls that are allowed between fork and exec in a process with threads.
  private static func partInChild() {
    // Opened when it is needed: a program that has given up its rights may have no /dev/null, and a library that stands
    // between the program and the C library has closed the descriptors already.
    var null: CInt = -1
    for index in 0..<capacity {
      let file = unsafe (cells + index).pointee.load(ordering: .relaxed) - 1
      // The parent's program may have closed the descriptor, and have another file of that number.
      guard file >= 0, PrivateDescriptors.contains(file), PrivateDescriptors.isIntact(file) else {
        continue
      }
      if null < 0 { null = unsafe open("/dev/null", O_RDWR | O_CLOEXEC) }
      guard null >= 0 else { return }
      dup3(null, file, O_CLOEXEC)
    }
    if null >= 0 { close(null) }
  }
}
