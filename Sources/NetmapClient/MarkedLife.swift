internal import CLinux
internal import Glibc
internal import NetmapCore

/// A page that tells the daemon whether this process still runs the program that became its client.
///
/// The page is mapped for as long as the object lives, and never in a child of fork(2). Once the
/// page is unmapped, no process syncs a ring in the client's name.
package final class MarkedLife: Sendable {
  /// The word that a process writes into the page once it has mapped it.
  package static let word: UInt64 = 0x6566_696c_706d_746e  // "ntmplife"

  private let memory: SharedMemory

  /// - Parameter file: The page's descriptor, which the daemon sent; remains the caller's.
  /// - Throws: ``NetmapError`` when the page cannot be mapped.
  init(_ file: CInt) throws(NetmapError) {
    memory = try SharedMemory(mapping: file, keepsDescriptor: false)
    // Comes before the word is written: a page that holds the word must not be in any child.
    guard unsafe madvise(memory.base, memory.byteCount, CInt(CLINUX_MADV_DONTFORK)) == 0 else {
      throw systemError("madvise", "netmapd")
    }
    guard memory.byteCount >= 8 else {
      throw NetmapError(
        .invalidArgument, "connect", "netmapd", reason: "it sent a page that is too short")
    }
    memory.store(Self.word, at: 0)
  }
}
