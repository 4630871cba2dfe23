internal import CLinux
internal import Glibc
internal import NetmapCore

/// A process's doorbell: what others ring, and what the process watches.
///
/// For those who are trusted both are one eventfd, which all of them have. Whoever holds an eventfd can make
/// it a blocking one, and full, and so stop whoever rings it. Others therefore get the reading end of a
/// pipe, as an open file of its own, and what is rung stays with the daemon.
struct Doorbell {
  let rung: OwnedFile
  let watched: OwnedFile

  /// Whether processes have what is rung.
  var isShared: Bool { rung === watched }

  /// - Parameter isTrusted: Whether the process belongs to the daemon's trust domain.
  /// - Throws: ``NetmapError`` when descriptors have run out.
  init(isTrusted: Bool) throws(NetmapError) {
    // Made here and not sent by the process, which could send anything that blocks whoever writes to it.
    guard !isTrusted else {
      let file = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
      guard file >= 0 else { throw systemError("eventfd", "netmapd", remedy: FileLimit.remedy) }
      rung = OwnedFile(file)
      watched = rung
      return
    }
    var ends: [CInt] = [-1, -1]
    guard unsafe clinux_pipe(&ends) == 0 else {
      throw systemError("pipe", "netmapd", remedy: FileLimit.remedy)
    }
    // Two open files, each with flags of its own. The reading end stays open here, so ringing is no error.
    rung = OwnedFile(ends[1])
    watched = OwnedFile(ends[0])
    for file in [rung, watched] {
      guard fcntl(file.descriptor, F_SETFL, O_NONBLOCK) == 0 else {
        throw systemError("fcntl(F_SETFL)", "netmapd")
      }
    }
  }
}
