internal import CLinux
internal import Glibc
internal import Logging
package import NetmapClient
internal import NetmapCore

/// A socket on which the daemon listens, and the rules by which it admits clients there.
package final class Listener {
  package let address: DaemonAddress
  package let admission: Admission
  /// Whether the daemon removes the socket when it ends.
  ///
  /// Not so for a socket of systemd, which continues to listen.
  package let removesSocket: Bool
  private let file: OwnedFile
  /// The key under which the server watches the socket.
  var key: UInt64 = 0
  /// When the server accepts connections again after it ran out of descriptors, monotonic
  /// nanoseconds; nil while it accepts them.
  var acceptsAgainAt: UInt64?

  var descriptor: CInt { file.descriptor }

  /// Whether clients can connect.
  ///
  /// False once any process with a copy of the socket has shut it down, which is final.
  var isListening: Bool {
    var state = pollfd(
      fd: descriptor, events: Int16(CLINUX_EPOLLRDHUP | CLINUX_EPOLLIN), revents: 0)
    guard unsafe poll(&state, 1, 0) > 0 else { return true }
    return state.revents & Int16(CLINUX_EPOLLHUP | CLINUX_EPOLLRDHUP) == 0
  }

  /// - Parameters:
  ///   - file: A listening socket; this object takes ownership of it.
  ///   - address: The address to which the socket is bound.
  ///   - admission: The rules for clients that connect.
  ///   - removesSocket: Whether the daemon removes the socket when it ends.
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
  /// The most connections that the server accepts per turn.
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
    // Inherited from the listener, unless the client connected before the daemon ran to a socket
    // that another program made.
    _ = clinux_pass_credentials(file)
    return file
  }

  private func admit(_ file: CInt, through listener: Listener) {
    let name = TokenName.ofPeer(file)
    let expectation = name.flatMap { expected[$0] }
    // The user who connected pays for the connection, whichever process uses it.
    var peer = clinux_credentials()
    var user = unsafe clinux_peer(file, &peer) == 0 ? peer.user : .max
    var admission = listener.admission
    if let expectation {
      // The daemon connected for this client.
      (peer, user, admission) = (expectation.client, expectation.client.user, expectation.admission)
    }
    let socket = PeerSocket(file, of: user, closer)
    do throws(NetmapError) {
      try checkConnections(of: peer, admission)
      let connection = try watch(socket, admission)
      // No message, and no lack of one, makes anything else of it.
      if name != nil { connection.state = .token(.unbound) }
      if let name, expectation != nil { hasAccepted(name) }
    } catch {
      log.debug("refused a connection", metadata: ["reason": "\(error)"])
      if let name { hasRefused(name, error) }
      try? socket.send(Message.refusal(error))
      socket.shutDown()
    }
  }

  /// Registers a connection and begins to read from it.
  func watch(_ socket: PeerSocket, _ admission: Admission) throws(NetmapError) -> Connection {
    var made: Connection?
    _ = try watch(socket.descriptor, in: queue) { key in
      let connection = Connection(
        key: key, socket, admission, books(of: socket.user, admission),
        isUntrusted: admission.isUntrusted(socket.user))
      made = connection
      connections[key] = connection
      return .connection(connection)
    }
    guard let made else { preconditionFailure("no connection was made") }
    return made
  }

  /// Ends a connection.
  ///
  /// No peer can make the daemon wait for its close or get events for it afterwards.
  func drop(_ connection: Connection) {
    guard connections.removeValue(forKey: connection.key) != nil else { return }
    sources[connection.key] = nil
    queue.remove(connection.socket.descriptor)
    wait(for: connection, room: false)
    connection.socket.discard()
    connection.close()
    forgetBooks(of: connection.user)
  }

  /// Stops reading from a connection, or resumes.
  func hold(_ connection: Connection, _ isHeld: Bool) {
    guard connection.isHeld != isHeld else { return }
    connection.isHeld = isHeld
    queue.watch(connection.socket.descriptor, key: connection.key, reading: !isHeld)
  }

  /// Starts or stops watching for room in a connection's send queue.
  func wait(for connection: Connection, room: Bool) {
    guard connection.wantsRoom != room else { return }
    connection.wantsRoom = room
    guard room else { return rooms.remove(connection.socket.descriptor) }
    do throws(NetmapError) {
      try rooms.addForRoom(connection.socket.descriptor, key: connection.key)
    } catch {
      // The next message for this client tries again.
      connection.wantsRoom = false
    }
  }

  // MARK: - Out of descriptors

  private func lacksDescriptor(_ listener: Listener) {
    if refuse(listener) { return }
    log.error("no descriptor left for another client; trying again in 100 ms")
    queue.remove(listener.descriptor)
    listener.acceptsAgainAt = monotonicNanoseconds() + 100_000_000
  }

  /// Refuses the next waiting connection for lack of descriptors, with the help of the reserve
  /// descriptor.
  ///
  /// - Returns: False when the server cannot even accept the connection.
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
    log.notice("refused a client", metadata: ["reason": "\(error)"])
    var peer = clinux_credentials()
    let user = unsafe clinux_peer(file, &peer) == 0 ? peer.user : .max
    let socket = PeerSocket(file, of: user, closer)
    if let name = TokenName.ofPeer(file) { hasRefused(name, error) }
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
