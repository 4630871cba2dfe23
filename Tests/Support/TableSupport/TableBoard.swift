import Glibc
import Synchronization

/// Memory that the tracer, the victims and the helpers share: counters, and the text of a victim's error.
@safe
package final class TableBoard: Sendable {
  private nonisolated(unsafe) let memory: UnsafeMutableRawPointer

  private static let textOffset = 1024
  private static let byteCount = 8192

  package init() throws {
    guard
      let memory = unsafe mmap(
        nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
      unsafe memory != MAP_FAILED
    else { throw TableError("mmap: errno \(errno)") }
    unsafe self.memory = memory
  }

  deinit { unsafe munmap(memory, Self.byteCount) }

  /// A word by its number, below 128.
  package subscript(index: Int) -> UInt64 {
    get { unsafe word(index).pointee.load(ordering: .acquiring) }
    set { unsafe word(index).pointee.store(newValue, ordering: .releasing) }
  }

  /// The address of a word, for code in C that writes several words from there on.
  package func address(of index: Int) -> UnsafeMutableRawPointer {
    precondition(index < 128, "no such word")
    return unsafe memory + 8 * index
  }

  private func word(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(index < 128, "no such word")
    return unsafe (memory + 8 * index).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// The text of the last error of a victim or a helper.
  package var text: String {
    get {
      let bytes = unsafe UnsafeRawBufferPointer(
        start: memory + Self.textOffset, count: Self.byteCount - Self.textOffset)
      return unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    set {
      let bytes = Array(newValue.utf8.prefix(Self.byteCount - Self.textOffset - 1)) + [0]
      for (index, byte) in bytes.enumerated() {
        unsafe memory.storeBytes(of: byte, toByteOffset: Self.textOffset + index, as: UInt8.self)
      }
    }
  }

  /// Waits until a condition on the words holds.
  package func wait(_ milliseconds: Int, until condition: (TableBoard) -> Bool) -> Bool {
    let end = ContinuousClock.now + .milliseconds(milliseconds)
    while !condition(self) {
      guard ContinuousClock.now < end else { return false }
      usleep(50)
    }
    return true
  }
}
