internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore
internal import Synchronization

extension Server {
  /// Takes connections of the daemon to itself, as if they had been accepted.
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

/// Connections of the daemon to itself: pairs of sockets, one end of each for the server. So it needs no way
/// to the path that it listens on.
final class OwnConnections: Sendable {
  private let waiting = Mutex<[MessageSocket]>([])
  private let bell: OwnedFile

  /// Readable when there are connections to take.
  var descriptor: CInt { bell.descriptor }

  /// - Throws: ``NetmapError`` when descriptors have run out.
  init() throws(NetmapError) {
    let file = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
    guard file >= 0 else { throw systemError("eventfd", "netmapd") }
    bell = OwnedFile(file)
  }

  /// Makes one. May be called from any thread.
  ///
  /// - Returns: The end of whoever asks.
  /// - Throws: ``NetmapError`` `EMFILE`.
  func connect() throws(NetmapError) -> MessageSocket {
    let (mine, theirs) = try MessageSocket.pair()
    // Before anything can be sent.
    guard clinux_pass_credentials(theirs.descriptor) == 0 else {
      throw systemError("setsockopt(SO_PASSCRED)", "netmapd")
    }
    waiting.withLock { $0.append(theirs) }
    var one: UInt64 = 1
    _ = unsafe write(bell.descriptor, &one, 8)
    return mine
  }

  /// The server's ends of those that have been made.
  func take() -> [MessageSocket] {
    var count: UInt64 = 0
    _ = unsafe read(bell.descriptor, &count, 8)
    return waiting.withLock { waiting in
      defer { waiting = [] }
      return waiting
    }
  }
}
