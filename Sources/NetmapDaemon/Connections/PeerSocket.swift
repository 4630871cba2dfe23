internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// The sender of a message.
///
/// The kernel reports it for each message.
struct Sender: Equatable {
  let process: Int32
  let user: UInt32
  let group: UInt32
}

/// A message as it arrived: not checked in any way.
struct Arrival {
  let bytes: [UInt8]
  let sender: Sender
  /// The sender's pidfd, where the kernel provides one.
  let death: OwnedFile?
  /// The first descriptors that came with the message.
  ///
  /// No message needs more, so the closer closes the others.
  let files: [ForeignFile]
}

/// A socket to another process.
///
/// The other process cannot make any call here wait: messages are sent and received without
/// waiting, and the ``Closer`` closes the socket.
final class PeerSocket: Sendable {
  private let file: ForeignFile
  /// The user who pays for the socket.
  let user: UInt32
  private let closer: Closer

  var descriptor: CInt { file.descriptor }

  /// - Parameters:
  ///   - descriptor: A connected Unix socket for messages; this object takes ownership of it.
  ///   - user: The user who pays for the socket.
  ///   - closer: The closer for the socket and for descriptors that come with messages.
  init(_ descriptor: CInt, of user: UInt32, _ closer: Closer) {
    file = ForeignFile(descriptor, of: user, closer)
    self.user = user
    self.closer = closer
  }

  /// - Parameters:
  ///   - file: A connected Unix socket for messages.
  ///   - user: The user who pays for the socket.
  ///   - closer: The closer for descriptors that come with messages.
  init(_ file: ForeignFile, of user: UInt32, _ closer: Closer) {
    self.file = file
    self.user = user
    self.closer = closer
  }

  /// - Throws: ``NetmapError`` with the `errno` of sendmsg(2); `EAGAIN` when the peer's queue is full.
  func send(_ bytes: [UInt8], _ files: [CInt] = []) throws(NetmapError) {
    precondition(files.count <= Message.descriptorCountMax)
    var result: Int
    repeat {
      result = unsafe clinux_send(
        descriptor, bytes, bytes.count, files, files.count, CInt(MSG_DONTWAIT))
    } while result < 0 && errno == EINTR
    guard result >= 0 else { throw systemError("sendmsg", "netmapd") }
  }

  /// The result of ``receive()``.
  enum Received {
    case nothing
    /// No process has the other end any more, or the connection has been shut down.
    case end
    case message(Arrival)
    /// A datagram that the server does not read, through the fault of its sender.
    case refused(NetmapError)
    /// A datagram whose descriptors could not be received for lack of room, which is not the
    /// sender's fault.
    case lost(NetmapError)
  }

  /// The most descriptors that a valid message brings: a socket for the answer, and a network
  /// namespace or a socket with a sealed request.
  private static let filesTaken = 2

  /// Receives one datagram, if there is one.
  ///
  /// The socket must have SO_PASSCRED set.
  func receive() -> Received {
    var files = [CInt](repeating: -1, count: Message.descriptorCountMax)
    var arrival = clinux_arrival()
    var result = 0
    var failure: CInt = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: Message.byteCountMax) { buffer, count in
      repeat {
        (result, failure) = FileLimit.withReserve {
          let result = unsafe clinux_receive_arrival(
            descriptor, buffer.baseAddress, buffer.count, &files, &arrival)
          return (result, errno)
        }
      } while result < 0 && failure == EINTR
      count = max(result, 0)
    }
    guard result >= 0 else {
      if failure == EAGAIN { return .nothing }
      errno = failure
      return .refused(systemError("recvmsg", "netmapd"))
    }
    let death = arrival.pidfd >= 0 ? OwnedFile(arrival.pidfd) : nil
    let payer = arrival.has_sender != 0 ? arrival.sender.user : user
    let owned = files.prefix(arrival.count).map { ForeignFile($0, of: payer, closer) }
    guard arrival.has_sender != 0 else { return .end }
    guard arrival.truncated == 0 else {
      errno = EMSGSIZE
      return .refused(systemError("recvmsg", "netmapd"))
    }
    guard arrival.lost == 0 else {
      errno = EMFILE
      return .lost(
        systemError("recvmsg", "netmapd", remedy: "raise netmapd's limit of open files"))
    }
    guard arrival.sender.process > 0 else {
      return .refused(
        NetmapError(
          .notPermitted, "ask", "netmapd",
          reason: "the requesting process is not visible in netmapd's PID namespace, or sent the"
            + " request before netmapd ran",
          remedy: "try again, or run netmapd in a parent PID namespace of the process"))
    }
    let sender = Sender(
      process: arrival.sender.process, user: arrival.sender.user, group: arrival.sender.group)
    return .message(
      Arrival(
        bytes: bytes, sender: sender, death: death,
        files: Array(owned.prefix(Self.filesTaken))))
  }

  /// Whether the peer has not yet received everything that was sent on the socket.
  var isUnread: Bool {
    var count: CInt = 0
    return unsafe clinux_ioctl(descriptor, CLINUX_SIOCOUTQ, &count) == 0 && count > 0
  }

  /// Ends the connection for all processes that have a copy of the other end.
  func shutDown() {
    shutdown(descriptor, CInt(SHUT_RDWR))
  }

  /// Ends the connection, and the requests that the server has not read: the kernel closes the sockets for their
  /// answers.
  ///
  /// ``UnreadFiles`` can keep this socket for long. Without this method the senders would wait as long.
  func discard() {
    shutDown()
    closer.drain(file, for: user)
  }

  /// Whether the peer has hung up.
  var isOver: Bool {
    var state = pollfd(fd: descriptor, events: Int16(CLINUX_EPOLLRDHUP), revents: 0)
    return unsafe poll(&state, 1, 0) != 0
  }
}

extension Arrival {
  /// The socket for the answer: the first descriptor that came with the message.
  ///
  /// The answer must not end up in a conversation of another process. So the socket must be one of
  /// a pair that the sender made: then the credentials at its other end are the sender's own. For a
  /// socket that was connected to a listener they are the listener's.
  ///
  /// - Parameter closer: The closer for the socket.
  /// - Returns: The socket.
  /// - Throws: ``NetmapError`` `EINVAL` when the descriptor is missing or is not such a socket.
  func replySocket(_ closer: Closer) throws(NetmapError) -> PeerSocket {
    guard let file = files.first else {
      throw NetmapError(
        .invalidArgument, "ask", "netmapd", reason: "the request has no socket for the answer",
        remedy: "use one version of netmap for all processes")
    }
    var peer = clinux_credentials()
    guard clinux_is_message_socket(file.descriptor) != 0,
      unsafe clinux_peer(file.descriptor, &peer) == 0,
      peer.process == sender.process, peer.user == sender.user
    else {
      throw NetmapError(
        .invalidArgument, "ask", "netmapd",
        reason: "the socket for the answer is not from a socket pair that the process made",
        remedy: "use one version of netmap for all processes")
    }
    return PeerSocket(file, of: sender.user, closer)
  }
}
