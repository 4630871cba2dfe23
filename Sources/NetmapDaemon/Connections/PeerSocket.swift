internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// Who sent a message: the kernel says so for each one.
struct Sender: Equatable {
  let process: Int32
  let user: UInt32
  let group: UInt32
}

/// A message as it came: nothing in it has been looked at.
struct Arrival {
  let bytes: [UInt8]
  let sender: Sender
  /// Of the sender, where the kernel gives one.
  let death: OwnedFile?
  /// The first descriptors that came with it. No message takes more; the others are being closed.
  let files: [ForeignFile]
}

/// A socket to another process. Nothing that the other one does makes a call here wait: messages are sent and
/// received without waiting, and the ``Closer`` closes it.
final class PeerSocket: Sendable {
  private let file: ForeignFile
  /// Who pays for what it costs.
  let user: UInt32
  private let closer: Closer

  var descriptor: CInt { file.descriptor }

  /// - Parameters:
  ///   - descriptor: A connected Unix socket for messages; this object's from now on.
  ///   - user: Who pays for it.
  ///   - closer: What closes it.
  init(_ descriptor: CInt, of user: UInt32, _ closer: Closer) {
    file = ForeignFile(descriptor, of: user, closer)
    self.user = user
    self.closer = closer
  }

  /// - Parameters:
  ///   - file: Such a socket.
  ///   - user: Who pays for it.
  ///   - closer: What closes what comes with messages.
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

  /// What ``receive()`` found.
  enum Received {
    case nothing
    /// Nobody has the other end any more, or will ever send on it.
    case end
    case message(Arrival)
    /// A datagram that is not even looked at, by its sender's doing.
    case refused(NetmapError)
    /// One whose descriptors found no room, which is not its sender's doing.
    case lost(NetmapError)
  }

  /// The most descriptors that a message of ours brings with it: a socket for the answer, and a network
  /// namespace.
  private static let filesTaken = 2

  /// Receives one datagram, if there is one. The socket must have been made to pass credentials.
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
          reason: "the process that asks cannot be seen from netmapd's process namespace, or asked"
            + " before netmapd ran",
          remedy: "try again, or run netmapd in a process namespace above the process's"))
    }
    let sender = Sender(
      process: arrival.sender.process, user: arrival.sender.user, group: arrival.sender.group)
    return .message(
      Arrival(
        bytes: bytes, sender: sender, death: death,
        files: Array(owned.prefix(Self.filesTaken))))
  }

  /// Whether something that was sent on it has not been received yet.
  var isUnread: Bool {
    var count: CInt = 0
    return unsafe clinux_ioctl(descriptor, CLINUX_SIOCOUTQ, &count) == 0 && count > 0
  }

  /// Ends the connection for everybody who has a copy of the other end.
  func shutDown() {
    shutdown(descriptor, CInt(SHUT_RDWR))
  }

  /// Whether the peer has hung up.
  var isOver: Bool {
    var state = pollfd(fd: descriptor, events: Int16(CLINUX_EPOLLRDHUP), revents: 0)
    return unsafe poll(&state, 1, 0) != 0
  }
}

extension Arrival {
  /// The socket for the answer: the first descriptor.
  ///
  /// What the daemon writes must not end in a conversation of somebody else's, so it is one of a pair that
  /// the sender made: its own are the credentials at the other end then. Of a socket that was connected to
  /// a listener they are those of whoever listens.
  ///
  /// - Parameter closer: What closes it.
  /// - Returns: The socket.
  /// - Throws: ``NetmapError`` `EINVAL` when it is anything else, or missing.
  func replySocket(_ closer: Closer) throws(NetmapError) -> PeerSocket {
    guard let file = files.first else {
      throw NetmapError(
        .invalidArgument, "ask", "netmapd", reason: "there is no socket to answer on",
        remedy: "use one version of netmap for all processes")
    }
    var peer = clinux_credentials()
    guard clinux_is_message_socket(file.descriptor) != 0,
      unsafe clinux_peer(file.descriptor, &peer) == 0,
      peer.process == sender.process, peer.user == sender.user
    else {
      throw NetmapError(
        .invalidArgument, "ask", "netmapd",
        reason: "what is to be answered on is no socket of a pair that the process made",
        remedy: "use one version of netmap for all processes")
    }
    return PeerSocket(file, of: sender.user, closer)
  }
}
