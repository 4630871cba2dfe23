internal import CLinux
internal import Glibc
internal import Logging
package import NetmapClient
internal import NetmapCore

/// Where the daemon listens, and how those who connect there are admitted.
package final class Listener {
  package let address: DaemonAddress
  package let admission: Admission
  /// Whether the socket is removed at the end; not systemd's, which goes on listening.
  package let removesSocket: Bool
  private let file: OwnedFile
  /// Under which it is watched.
  var key: UInt64 = 0
  /// Accepting has stopped for want of descriptors until then.
  var acceptsAgainAt: UInt64?

  var descriptor: CInt { file.descriptor }

  /// Whether anybody can connect: not once somebody has shut the socket down, for good.
  var isListening: Bool {
    var state = pollfd(
      fd: descriptor, events: Int16(CLINUX_EPOLLRDHUP | CLINUX_EPOLLIN), revents: 0)
    guard unsafe poll(&state, 1, 0) > 0 else { return true }
    return state.revents & Int16(CLINUX_EPOLLHUP | CLINUX_EPOLLRDHUP) == 0
  }

  /// - Parameters:
  ///   - file: A listening socket; this object's from now on.
  ///   - address: What it is bound to.
  ///   - admission: The rules for those who connect.
  ///   - removesSocket: Whether to remove the socket at the end.
  package init(
    _ file: CInt, _ address: DaemonAddress, _ admission: Admission, removesSocket: Bool = true
  ) {
    self.file = OwnedFile(file)
    self.address = address
    self.admission = admission
    self.removesSocket = removesSocket
  }
}

extension Server {
  /// Connections that are accepted in one turn.
  private static let acceptsPerTurn = 64

  func accept(on listener: Listener) {
    for _ in 0..<Self.acceptsPerTurn {
      guard makeRoom() else { return }
      let file = accept4(listener.descriptor)
      guard file >= 0 else {
        if errno == EMFILE || errno == ENFILE || errno == ENOMEM { lacksDescriptor(listener) }
        return
      }
      admit(file, through: listener)
    }
  }

  private func accept4(_ listener: CInt) -> CInt {
    let file = Glibc.accept(listener, nil, nil)
    guard file >= 0 else { return file }
    _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    // It has that from the listener, unless it was connected to one of somebody else's making before the
    // daemon ran.
    _ = clinux_pass_credentials(file)
    return file
  }

  private func admit(_ file: CInt, through listener: Listener) {
    // Who connected: what the connection costs is on them, whoever uses it.
    var peer = clinux_credentials()
    let user = unsafe clinux_peer(file, &peer) == 0 ? peer.user : .max
    let socket = PeerSocket(file, of: user, closer)
    do throws(NetmapError) {
      try checkConnections(of: peer, listener.admission)
      _ = try watch(socket, listener.admission)
    } catch {
      log.debug("a connection is refused", metadata: ["reason": "\(error)"])
      try? socket.send(Message.refusal(error))
      socket.shutDown()
    }
  }

  /// Enters a connection.
  func watch(_ socket: PeerSocket, _ admission: Admission) throws(NetmapError) -> Connection {
    var made: Connection?
    _ = try watch(socket.descriptor, in: queue) { key in
      let connection = Connection(
        key: key, socket, admission, books(of: socket.user, admission),
        isStrangers: admission.isStranger(socket.user))
      made = connection
      connections[key] = connection
      return .connection(connection)
    }
    guard let made else { preconditionFailure("it is watched") }
    return made
  }

  /// Ends a connection. Nobody must be able to make the daemon wait for its close, or be told of it again.
  func drop(_ connection: Connection) {
    guard connections.removeValue(forKey: connection.key) != nil else { return }
    sources[connection.key] = nil
    queue.remove(connection.socket.descriptor)
    wait(for: connection, room: false)
    connection.socket.shutDown()
    connection.close()
    forgetBooks(of: connection.user)
  }

  /// Stops or begins to read from a connection.
  func hold(_ connection: Connection, _ isHeld: Bool) {
    guard connection.isHeld != isHeld else { return }
    connection.isHeld = isHeld
    queue.watch(connection.socket.descriptor, key: connection.key, reading: !isHeld)
  }

  /// Whether to tell when there is room in a connection's queue.
  func wait(for connection: Connection, room: Bool) {
    guard connection.wantsRoom != room else { return }
    connection.wantsRoom = room
    guard room else { return rooms.remove(connection.socket.descriptor) }
    do throws(NetmapError) {
      try rooms.addForRoom(connection.socket.descriptor, key: connection.key)
    } catch {
      // It is tried again with the next news.
      connection.wantsRoom = false
    }
  }

  // MARK: - Without descriptors

  private func lacksDescriptor(_ listener: Listener) {
    if refuse(listener) { return }
    log.error("no descriptor left for another client; trying again in 100 ms")
    queue.remove(listener.descriptor)
    listener.acceptsAgainAt = monotonicNanoseconds() + 100_000_000
  }

  /// Tells the process that waits to be accepted that there is no descriptor left for it.
  ///
  /// - Returns: False when not even that can be done.
  private func refuse(_ listener: Listener) -> Bool {
    guard reserve != nil else {
      reserve = Self.spare()
      return false
    }
    reserve = nil
    defer { reserve = Self.spare() }
    let file = accept4(listener.descriptor)
    guard file >= 0 else { return false }
    let error = NetmapError(
      .tooManyFiles, "connect", listener.address.path, reason: "netmapd has no descriptor left",
      remedy: "close some ports, or raise netmapd's limit of open files (LimitNOFILE=)")
    log.notice("a client is refused", metadata: ["reason": "\(error)"])
    var peer = clinux_credentials()
    let user = unsafe clinux_peer(file, &peer) == 0 ? peer.user : .max
    let socket = PeerSocket(file, of: user, closer)
    try? socket.send(Message.refusal(error))
    socket.shutDown()
    return true
  }

  func acceptAgain() {
    for listener in listeners {
      guard let time = listener.acceptsAgainAt, monotonicNanoseconds() >= time else { continue }
      listener.acceptsAgainAt = nil
      do throws(NetmapError) {
        try queue.add(listener.descriptor, key: listener.key)
      } catch {
        log.error("\(error)")
        listener.acceptsAgainAt = monotonicNanoseconds() + 100_000_000
      }
    }
  }
}
