internal import CLinux
internal import Glibc
internal import NetmapCore

/// The page by which the daemon sees whether this process is still the program that became its client.
///
/// It is mapped as long as the object lives, and in no child of fork(2): a process that is gone from it syncs
/// no ring in the client's name.
package final class MarkedLife: Sendable {
  /// What a process writes into it that has it mapped.
  package static let word: UInt64 = 0x6566_696c_706d_746e  // "ntmplife"

  private let memory: SharedMemory

  /// - Parameter file: What the daemon sent; stays the caller's.
  /// - Throws: ``NetmapError`` when it cannot be mapped.
  init(_ file: CInt) throws(NetmapError) {
    memory = try SharedMemory(attaching: file, keepsDescriptor: false)
    // Before the word: what is marked is in no child.
    guard unsafe madvise(memory.base, memory.byteCount, CInt(CLINUX_MADV_DONTFORK)) == 0 else {
      throw systemError("madvise", "netmapd")
    }
    guard memory.byteCount >= 8 else {
      throw NetmapError(.invalidArgument, "connect", "netmapd", reason: "its page is too short")
    }
    memory.store(Self.word, at: 0)
  }
}
