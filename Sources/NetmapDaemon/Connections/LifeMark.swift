internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A page that a client keeps mapped for as long as it may sync rings, and that none of its fork
/// children has mapped.
///
/// A process that has closed its mailbox may merely have closed all its descriptors, and may be in
/// the middle of a sync. Or it has become another program, which has none of the memory in which it
/// could sync; only then may the server release its locks. The page tells the two apart: the kernel
/// refuses to seal memory against writing while a process has it mapped for writing.
final class LifeMark: Sendable {
  private let file: OwnedFile

  /// - Throws: ``NetmapError`` when descriptors have run out.
  init() throws(NetmapError) {
    let descriptor = unsafe memfd_create(
      "netmap-life", UInt32(CLINUX_MFD_CLOEXEC | CLINUX_MFD_ALLOW_SEALING))
    guard descriptor >= 0 else {
      throw systemError("memfd_create", "netmapd", remedy: FileLimit.remedy)
    }
    file = OwnedFile(descriptor)
    guard ftruncate(descriptor, pageSize) == 0,
      fcntl(
        descriptor, CInt(CLINUX_F_ADD_SEALS), CInt(CLINUX_F_SEAL_SHRINK | CLINUX_F_SEAL_GROW)) == 0
    else { throw systemError("ftruncate", "netmapd", remedy: FileLimit.remedy) }
  }

  /// The descriptor of the page that the client gets.
  var descriptor: CInt { file.descriptor }

  /// Whether the client had the page mapped and no longer has.
  ///
  /// Can take a fifth of a second.
  var isGone: Bool {
    var word: UInt64 = 0
    // The page tells nothing about a client that never had it mapped. Such a client ends only with
    // its process.
    guard unsafe pread(file.descriptor, &word, 8, 0) == 8, word == MarkedLife.word else {
      return false
    }
    return fcntl(file.descriptor, CInt(CLINUX_F_ADD_SEALS), CInt(CLINUX_F_SEAL_WRITE)) == 0
  }
}
