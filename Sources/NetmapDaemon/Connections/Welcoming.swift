internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// How a process becomes a client: by a hello on a fresh connection, which becomes its mailbox, or
// by a hello on a token that it was given. The latter is for processes that cannot reach the socket
// on which the daemon listens.

extension Server {
  /// Makes a fresh connection the sender's mailbox.
  ///
  /// - Throws: ``NetmapError`` when the process cannot be a client.
  func welcome(_ arrival: Arrival, on connection: Connection) throws(NetmapError) {
    // The server already watches the connection, whose end ends the client.
    guard !connection.socket.isOver else {
      throw NetmapError(.badDescriptor, "connect", "netmapd", reason: "the process hung up")
    }
    let client = try admit(arrival, through: connection)
    connection.state = .mailbox(client)
    client.mailbox = connection
    widenQueue(of: connection.socket, for: client)
    let isSent = send(
      welcome(client), on: connection.socket, isUntrusted: client.isUntrusted)
    client.watchedEnd = nil
    if !isSent { hangUp(client, because: "netmapd cannot send it an answer") }
  }

  /// Makes the sender a client, with a mailbox that the daemon makes: no other process has a copy
  /// of its end.
  ///
  /// - Returns: The answer, which includes the process's end of the mailbox, and the descriptors
  ///   that must stay open until the answer is sent.
  /// - Throws: ``NetmapError`` when the process cannot be a client.
  func adopt(
    _ arrival: Arrival, through token: Connection
  ) throws(NetmapError) -> (reply: Reply, files: [OwnedFile]) {
    let (mine, theirs) = try mailboxPair(for: arrival.sender)
    let mailbox = try watch(mine, token.admission)
    do throws(NetmapError) {
      let client = try admit(arrival, through: token)
      mailbox.state = .mailbox(client)
      client.mailbox = mailbox
      widenQueue(of: mine, for: client)
      var answer = welcome(client)
      answer.files.append(theirs.descriptor)
      defer { client.watchedEnd = nil }
      return (answer, [theirs, client.watchedEnd].compactMap { $0 })
    } catch {
      drop(mailbox)
      throw error
    }
  }

  private func mailboxPair(
    for sender: Sender
  ) throws(NetmapError) -> (mine: PeerSocket, theirs: OwnedFile) {
    var files: [CInt] = [-1, -1]
    let kind = CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    guard unsafe socketpair(AF_UNIX, kind, 0, &files) == 0 else {
      throw systemError("socketpair", "netmapd", remedy: FileLimit.remedy)
    }
    let (mine, theirs) = (PeerSocket(files[0], of: sender.user, closer), OwnedFile(files[1]))
    guard clinux_pass_credentials(files[0]) == 0 else {
      throw systemError("setsockopt(SO_PASSCRED)", "netmapd")
    }
    return (mine, theirs)
  }

  private func admit(
    _ arrival: Arrival, through connection: Connection
  ) throws(NetmapError) -> Client {
    let sender = arrival.sender
    let role = role(of: sender, connection.admission)
    reap()
    try checkClients(of: sender, role)
    let death = try death(of: sender, arrival, through: connection)
    if role == .untrusted, emptyDirectory == nil { emptyDirectory = try Directory.empty() }
    let doorbell = try Doorbell(for: role, of: sender.user, closer)
    let mark = try LifeMark()
    let tag = try engine.addClient(process: sender.process)
    let client = Client(tag: tag, sender, role, doorbell: doorbell, death: death, mark: mark)
    do throws(NetmapError) {
      client.deathKey = try watch(death.descriptor, in: urgent) { _ in .death(client) }
    } catch {
      engine.removeClient(tag)
      throw error
    }
    clients[tag.slot] = client
    log.debug(
      "attached",
      metadata: ["process": "\(sender.process)", "slot": "\(tag.slot)", "role": "\(role)"])
    return client
  }

  /// A pidfd of the sender.
  ///
  /// From Linux 6.5 on the kernel provides it with the message.
  ///
  /// On older kernels, the sender's number may belong to another process by now if the sender has
  /// ended since.
  private func death(
    of sender: Sender, _ arrival: Arrival, through connection: Connection
  ) throws(NetmapError) -> OwnedFile {
    if let death = arrival.death { return death }
    let file = clinux_pidfd_open(sender.process)
    guard file >= 0 else {
      throw systemError(
        "pidfd_open", "process \(sender.process)",
        remedy: errno == EMFILE
          ? FileLimit.remedy
          : "use Linux 5.3 or later; the process must not end before it is attached")
    }
    let death = OwnedFile(file)
    guard !connection.socket.isOver else {
      throw NetmapError(.badDescriptor, "connect", "netmapd", reason: "the process hung up")
    }
    return death
  }

  private func welcome(_ client: Client) -> Reply {
    let bytes = Message.bytes(.done) {
      $0.put(UInt32(client.tag.slot))
      $0.put(client.tag.epoch)
      $0.put(UInt8(client.isUntrusted ? 0 : 1))
      $0.put(instance)
    }
    // Untrusted users must not see which ports exist.
    let directory = client.isUntrusted ? emptyDirectory : engine.directory
    return (
      bytes,
      [
        directory?.memory.descriptor ?? -1, client.watchedEnd?.descriptor ?? -1,
        client.mark.descriptor,
      ] + (client.isUntrusted ? [] : [client.bell.file])
    )
  }

  /// Gives a mailbox room for the mail of a client that opens a port on a full switch: 640
  /// descriptors, one or two per message (``UnreadFiles``).
  ///
  /// An untrusted client gets only the worker's doorbell, so it needs no more room.
  private func widenQueue(of socket: PeerSocket, for client: Client) {
    _ = clinux_pass_no_pidfd(socket.descriptor)
    guard !client.isUntrusted else { return }
    var size: CInt = 1 << 20
    let length = socklen_t(MemoryLayout<CInt>.size)
    if unsafe setsockopt(
      socket.descriptor, SOL_SOCKET, CInt(CLINUX_SO_SNDBUFFORCE), &size, length) != 0
    {
      _ = unsafe setsockopt(socket.descriptor, SOL_SOCKET, SO_SNDBUF, &size, length)
    }
  }
}
