internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore
internal import Synchronization

extension Server {
  /// Takes the daemon's connections to itself, as if the server had accepted them.
  func acceptOwn() {
    for socket in own.take() {
      do throws(NetmapError) {
        let mine = PeerSocket(try socket.take(), of: DaemonUser.own, closer)
        _ = try watch(mine, .trusts)
      } catch {
        log.error("\(error)")
      }
    }
  }
}

/// The daemon's connections to itself.
///
/// Each is a pair of sockets, one end of which goes to the server, so the daemon needs no access to
/// the path on which it listens.
final class OwnConnections: Sendable {
  private let waiting = Mutex<[MessageSocket]>([])
  private let bell: OwnedFile

  /// Readable while there are connections to take.
  var descriptor: CInt { bell.descriptor }

  /// - Throws: ``NetmapError`` when descriptors have run out.
  init() throws(NetmapError) {
    let file = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
    guard file >= 0 else { throw systemError("eventfd", "netmapd") }
    bell = OwnedFile(file)
  }

  /// Makes a connection; any thread may call this.
  ///
  /// - Returns: The caller's end.
  /// - Throws: ``NetmapError`` `EMFILE`.
  func connect() throws(NetmapError) -> MessageSocket {
    let (mine, theirs) = try MessageSocket.pair()
    // Set this before the caller can send anything.
    guard clinux_pass_credentials(theirs.descriptor) == 0 else {
      throw systemError("setsockopt(SO_PASSCRED)", "netmapd")
    }
    waiting.withLock { $0.append(theirs) }
    var one: UInt64 = 1
    _ = unsafe write(bell.descriptor, &one, 8)
    return mine
  }

  /// Takes the server's ends of all new connections.
  func take() -> [MessageSocket] {
    var count: UInt64 = 0
    _ = unsafe read(bell.descriptor, &count, 8)
    return waiting.withLock { waiting in
      defer { waiting = [] }
      return waiting
    }
  }
}
