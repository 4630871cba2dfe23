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
  /// - Throws: ``NetmapError`` when descriptors have run out, or there is no /proc.
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
    let (reading, writing) = (OwnedFile(ends[0]), OwnedFile(ends[1]))
    rung = OwnedFile(try Self.open(writing, O_RDWR))
    watched = OwnedFile(try Self.open(reading, O_RDONLY))
  }

  private static func open(_ file: OwnedFile, _ access: CInt) throws(NetmapError) -> CInt {
    let path = "/proc/self/fd/\(file.descriptor)"
    let copy = unsafe Glibc.open(path, access | O_CLOEXEC | O_NONBLOCK)
    guard copy >= 0 else { throw systemError("open", path, remedy: "mount /proc") }
    return copy
  }
}
