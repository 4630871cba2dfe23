import Glibc
import Synchronization

/// A receiver's progress, in a file that outlives the process: two words of 64 bits.
///
/// Word 0: the number of the first packet received, plus one. Word 1: the number of the last
/// packet, plus one.
@safe
struct ReceiveProgress {
  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  /// - Parameter file: A file of at least 16 bytes; nil for none.
  init(file: String?) {
    var file = file.map { unsafe open($0, O_RDWR | O_CLOEXEC) } ?? -1
    var flags = MAP_SHARED
    if file < 0 { (file, flags) = (-1, MAP_PRIVATE | MAP_ANONYMOUS) }
    let memory = unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, flags, file, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
      HostPeer.fail("mmap: errno \(errno)")
    }
    unsafe words = memory.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  func hasSeen(_ number: UInt64) {
    if unsafe words[0].load(ordering: .relaxed) == 0 {
      unsafe words[0].store(number + 1, ordering: .relaxed)
    }
    unsafe words[1].store(number + 1, ordering: .relaxed)
  }
}
