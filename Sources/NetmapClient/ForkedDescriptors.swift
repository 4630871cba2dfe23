internal import CLinux
internal import Glibc
internal import Synchronization

/// Descriptors that a child of fork(2) must not keep open: a mailbox that lived on in a child would hide
/// from the daemon that its process has gone on to another program.
///
/// In a child each becomes /dev/null and keeps its number, which an object of the child still closes.
enum ForkedDescriptors {
  private static let capacity = 64

  /// Descriptors plus one; 0 for a free place. Never freed.
  private nonisolated(unsafe) static let cells: UnsafeMutablePointer<Atomic<Int32>> = {
    let cells = UnsafeMutablePointer<Atomic<Int32>>.allocate(capacity: capacity)
    for index in 0..<capacity { unsafe (cells + index).initialize(to: Atomic(0)) }
    pthread_atfork(nil, nil) { ForkedDescriptors.partInChild() }
    return unsafe cells
  }()

  /// From now on a child parts with `file`; beyond ``capacity`` of them it keeps the rest.
  static func add(_ file: CInt) {
    for index in 0..<capacity {
      let cell = unsafe cells + index
      let (isStored, _) = unsafe cell.pointee.compareExchange(
        expected: 0, desired: file + 1, ordering: .relaxed)
      if isStored { return }
    }
  }

  /// `file` is about to be closed.
  static func remove(_ file: CInt) {
    for index in 0..<capacity {
      let cell = unsafe cells + index
      let (isRemoved, _) = unsafe cell.pointee.compareExchange(
        expected: file + 1, desired: 0, ordering: .relaxed)
      if isRemoved { return }
    }
  }

  /// Only calls that are allowed between fork and exec in a process with threads.
  private static func partInChild() {
    let null = unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
    guard null >= 0 else { return }
    for index in 0..<capacity {
      let file = unsafe (cells + index).pointee.load(ordering: .relaxed) - 1
      if file >= 0 { dup3(null, file, O_CLOEXEC) }
    }
    close(null)
  }
}
