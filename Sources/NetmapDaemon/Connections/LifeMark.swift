internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A page that a client maps as long as it may sync rings, and no child of its by fork(2) does.
///
/// A process that has closed its mailbox may have closed all its descriptors, and be in the middle of a sync; or
/// have become another program, which has none of the memory that it could sync in. Only then may its
/// locks be released. The page tells: the kernel refuses to seal memory that somebody has mapped for writing.
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

  /// What a client is given.
  var descriptor: CInt { file.descriptor }

  /// Whether the client, which had it mapped, has it no more. Can take a fifth of a second.
  var isGone: Bool {
    var word: UInt64 = 0
    // One that never had it mapped ends with its process.
    guard unsafe pread(file.descriptor, &word, 8, 0) == 8, word == MarkedLife.word else {
      return false
    }
    return fcntl(file.descriptor, CInt(CLINUX_F_ADD_SEALS), CInt(CLINUX_F_SEAL_WRITE)) == 0
  }
}
