internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// Messages from clients. The server trusts nothing in them. An invalid message affects no other
// client.

extension Server {
  /// An answer to a client: bytes, and the descriptors that go with them.
  ///
  /// The descriptors remain their owners'.
  typealias Reply = (bytes: [UInt8], files: [CInt])

  /// Reads and handles one message of a connection.
  func serve(_ connection: Connection) {
    let arrival: Arrival
    switch connection.socket.receive() {
    case .nothing: return
    case .end: return hangUp(connection)
    case .refused(let error): return refuse(nil, on: connection, error)
    case .lost(let error):
      // The client sees that the kernel closed the socket for its answer. A fresh connection may
      // have none, so refuse there, and only there.
      guard case .fresh = connection.state else { return }
      return refuse(nil, on: connection, error)
    case .message(let received): arrival = received
    }
    do throws(NetmapError) {
      let message = try Message(arrival.bytes)
      guard connection.state.allowed.contains(message.kind) else {
        throw message.body.malformed("its kind is not allowed on this connection")
      }
      try obey(message, arrival, on: connection)
    } catch {
      refuse(arrival, on: connection, error)
    }
  }

  /// Refuses a message that is malformed or not allowed on its connection.
  ///
  /// The sender loses a mailbox or a fresh connection. A token stays, whatever any process sends on
  /// it: other processes may have copies of it, and a program may write to it as to any file, for
  /// example with stdio if the descriptor is 0, 1 or 2. The server sends nothing on the token itself.
  private func refuse(_ arrival: Arrival?, on connection: Connection, _ error: NetmapError) {
    let reply = try? arrival?.replySocket(closer)
    try? reply?.send(Message.refusal(error))
    if case .token = connection.state {
      // A program can write to its descriptor as often as it likes, so it must not fill the log.
      ignoredDatagrams &+= 1
      return log.debug("ignored a datagram on a token", metadata: ["reason": "\(error)"])
    }
    log.notice("refused a message", metadata: ["reason": "\(error)"])
    switch connection.state {
    case .token: break
    case .fresh:
      // The client may wait for an answer on the connection itself, and learns the reason only from
      // this refusal.
      try? connection.socket.send(Message.refusal(error))
      drop(connection)
    case .mailbox(let client): hangUp(client, because: "of its message: \(error)")
    }
  }

  private func obey(
    _ message: Message, _ arrival: Arrival, on connection: Connection
  ) throws(NetmapError) {
    if case .mailbox(let client) = connection.state {
      return try obey(message, arrival, of: client)
    }
    if message.kind == .hello, arrival.files.isEmpty {
      guard case .fresh = connection.state else {
        throw message.body.malformed("it has no socket for the answer")
      }
      return try welcome(arrival, on: connection)
    }
    let reply = try arrival.replySocket(closer)
    if case .fresh = connection.state { connection.state = .token(.unbound) }
    switch message.kind {
    case .hello:
      var kept: [OwnedFile] = []
      answer(reply, isUntrusted: connection.isUntrusted) { () throws(NetmapError) in
        let (answer, files) = try adopt(arrival, through: connection)
        kept = files
        return answer
      }
      withExtendedLifetime(kept) {}
    case .register: register(message, arrival, token: connection, reply)
    case .mapPort:
      answer(reply, isUntrusted: connection.isUntrusted) { () throws(NetmapError) in
        try mapPort(message, arrival, token: connection)
      }
    case .unbind:
      answer(reply, isUntrusted: connection.isUntrusted) { () throws(NetmapError) in
        try unbind(message, arrival, token: connection)
      }
    default: break
    }
  }

  /// Handles a message on a mailbox.
  private func obey(
    _ message: Message, _ arrival: Arrival, of client: Client
  ) throws(NetmapError) {
    // A fork child has a copy of the mailbox, but is not the client.
    guard arrival.sender.process == client.process else { return }
    if message.kind == .forget {
      var body = message.body
      return forget(BindingID(number: try body.take(UInt64.self)), by: client.tag)
    }
    if message.kind == .ring {
      var body = message.body
      return ring(try body.take(UInt32.self), for: client)
    }
    if message.kind == .again {
      var body = message.body
      let (serial, index) = (try body.take(UInt64.self), Int(try body.take(UInt8.self)))
      return tellAgain(client, of: index, on: serial)
    }
    let reply = try arrival.replySocket(closer)
    do throws(NetmapError) {
      try client.role.check(message.kind)
      guard arrival.sender.user == client.user else {
        throw NetmapError(
          .notPermitted, "ask", "netmapd",
          reason: "the process has changed its user since it connected", remedy: "connect again")
      }
    } catch {
      try? reply.send(Message.refusal(error))
      return
    }
    switch message.kind {
    case .portInfo: portInfo(message, arrival, from: client, reply)
    case .poolsInfo: poolsInfo(message, arrival, from: client, reply)
    case .control: control(message, arrival, from: client, reply)
    case .list:
      answer(reply, isUntrusted: client.isUntrusted) { () throws(NetmapError) in
        try list(message, for: client)
      }
    case .check: check(for: client, reply)
    case .dump: dump(for: client, reply)
    case .token: newToken(for: client, reply)
    case .tunables: tune(message, from: client, reply)
    default: break
    }
  }

  /// The shortest time between two wake-ups of the worker by messages of one untrusted client,
  /// nanoseconds.
  ///
  /// The client has a doorbell for frequent wake-ups.
  private static let wakePause: UInt64 = 1_000_000

  /// Wakes the sleepers of a client for another client, which could not receive its doorbell.
  ///
  /// An untrusted client wakes only the worker, as no other client sleeps for it. The server then
  /// wakes the worker by the worker's own eventfd, of which the untrusted client has no copy.
  private func ring(_ doorbell: UInt32, for client: Client) {
    if client.role == .untrusted {
      let now = monotonicNanoseconds()
      guard now >= client.lastWake &+ Self.wakePause else { return }
      client.lastWake = now
      isolation.current?.worker.wake()
    } else if let other = clients[Int(doorbell & (ClientTag.slotCount - 1))],
      other.tag.doorbell == doorbell
    {
      other.ring()
    }
  }

  /// Sends an answer.
  ///
  /// If its descriptors cannot be sent, sends the reason instead, because the client waits for one
  /// of the two.
  ///
  /// - Returns: Whether the answer was sent.
  @discardableResult
  func send(
    _ answer: Reply, on reply: PeerSocket, to client: ClientTag? = nil, isUntrusted: Bool
  ) -> Bool {
    do throws(NetmapError) {
      try reply.send(answer.bytes, answer.files)
      unread.noteAnswer(answer.files.count, on: reply, to: client, isUntrusted: isUntrusted)
      return true
    } catch {
      log.debug("cannot send an answer", metadata: ["reason": "\(error)"])
      var reason = error
      if error.code.rawValue == ETOOMANYREFS {
        // The kernel counts the descriptors that all processes of this user have sent.
        reason = NetmapError(
          error.code, "answer", "netmapd",
          reason: "it has more descriptors in transit to processes than it may have open",
          remedy: "raise netmapd's limit of open files (LimitNOFILE=), or try again")
      }
      // An error means that the client may have gone. If so, its token reports that.
      try? reply.send(Message.refusal(reason))
      return false
    }
  }

  /// Answers a request at once, without the control thread.
  private func answer(
    _ reply: PeerSocket, isUntrusted: Bool, _ body: () throws(NetmapError) -> Reply
  ) {
    reap()
    do throws(NetmapError) {
      send(try body(), on: reply, isUntrusted: isUntrusted)
    } catch {
      log.debug("refused", metadata: ["reason": "\(error)"])
      try? reply.send(Message.refusal(error))
    }
  }
}
