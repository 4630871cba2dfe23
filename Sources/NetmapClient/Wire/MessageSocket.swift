internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// A connected Unix socket that carries one message per datagram, and descriptors with it.
///
/// Owns the descriptor. Every call may be made from any thread.
@safe
package final class MessageSocket: Sendable {
  package let descriptor: CInt
  private let isOpen = Atomic<Bool>(true)
  private let identity: PrivateDescriptor

  /// - Parameter descriptor: A connected `SOCK_SEQPACKET` socket; this object takes ownership of
  ///   it.
  package init(owning descriptor: CInt) {
    self.descriptor = descriptor
    identity = PrivateDescriptor(known: descriptor)
  }

  /// - Parameter descriptor: A connected `SOCK_SEQPACKET` socket that the program does not know of
  ///   (``PrivateDescriptors``); this object takes ownership of it. It may get another number.
  package init(private descriptor: CInt) {
    let identity = PrivateDescriptor(descriptor)
    self.descriptor = identity.number
    self.identity = identity
  }

  /// Whether the number still belongs to this socket: a program may have closed it without knowing it.
  package var isIntact: Bool { identity.isIntact }

  deinit { close() }

  /// Closes the socket before the object is destroyed.
  ///
  /// The object must not be used afterwards.
  package func close() {
    guard isOpen.exchange(false, ordering: .relaxed) else { return }
    identity.close()
  }

  /// Gives the descriptor to the caller, who then owns it.
  ///
  /// The object must not be used afterwards.
  ///
  /// - Throws: ``NetmapError`` `EBADF` when the socket is closed.
  package func take() throws(NetmapError) -> CInt {
    guard isOpen.exchange(false, ordering: .relaxed) else {
      throw NetmapError(.badDescriptor, "use", "socket", reason: "it is closed")
    }
    identity.disown()
    return descriptor
  }

  /// Makes two sockets that are connected to each other.
  ///
  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE`.
  package static func pair() throws(NetmapError) -> (MessageSocket, MessageSocket) {
    var files: [CInt] = [-1, -1]
    let kind = CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    guard unsafe socketpair(AF_UNIX, kind, 0, &files) == 0 else {
      throw systemError(
        "socketpair", "netmapd", remedy: "raise the limit of open files (ulimit -n)")
    }
    return (MessageSocket(private: files[0]), MessageSocket(private: files[1]))
  }

  /// Sends one message.
  ///
  /// - Parameters:
  ///   - bytes: The message.
  ///   - files: Descriptors that go with the message, at most ``Message/descriptorCountMax``; they
  ///     remain the caller's.
  ///   - waits: Whether to wait while the peer's queue is full, ``DaemonAddress/patience`` seconds at most,
  ///     also on a socket that the program has made nonblocking; if not, a full queue is the error `EAGAIN`.
  /// - Throws: ``NetmapError`` with the `errno` of sendmsg(2).
  package func send(
    _ bytes: [UInt8], _ files: [CInt] = [], waits: Bool = true
  ) throws(NetmapError) {
    precondition(files.count <= Message.descriptorCountMax)
    let end = monotonicNanoseconds() + UInt64(DaemonAddress.patience) * 1_000_000_000
    while true {
      let result = unsafe clinux_send(
        descriptor, bytes, bytes.count, files, files.count, CInt(MSG_DONTWAIT))
      if result >= 0 { return }
      switch errno {
      case EINTR: continue
      case EAGAIN where waits && monotonicNanoseconds() < end:
        var room = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        // The kernel does not tell of all room, so look again soon.
        _ = unsafe poll(&room, 1, 10)
        if room.revents & Int16(POLLOUT) != 0 { usleep(100) }
        try Interruption.look("ask")
      default: throw systemError("sendmsg", "netmapd")
      }
    }
  }

  /// One datagram, with the descriptors that came with it.
  package struct Datagram {
    package let bytes: [UInt8]
    package let files: [OwnedFile]
    /// Whether this process could not receive all descriptors of the message, as its limit of open files is reached.
    package var lacksFiles = false

    /// Checks that all descriptors have arrived.
    ///
    /// - Throws: ``NetmapError`` `EMFILE`.
    package func checkFiles() throws(NetmapError) {
      guard lacksFiles else { return }
      throw NetmapError(
        .tooManyFiles, "receive", "an answer of netmapd",
        reason: "this process has no descriptor left",
        remedy: "raise the limit of open files (ulimit -n)")
    }
  }

  /// Receives one datagram.
  ///
  /// - Parameter waits: Whether to wait for a datagram.
  /// - Returns: The datagram; nil when there is none, an empty one when the peer has gone.
  /// - Throws: ``NetmapError`` with the `errno` of recvmsg(2), `EMSGSIZE` for a datagram that is
  ///   too long.
  package func receive(waits: Bool) throws(NetmapError) -> Datagram? {
    var files = [CInt](repeating: -1, count: Message.descriptorCountMax)
    var (fileCount, truncated, lost) = (0, CInt(0), CInt(0))
    var result = 0
    var failure: CInt = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: Message.byteCountMax) { buffer, count in
      repeat {
        result = unsafe clinux_receive_noting(
          descriptor, buffer.baseAddress, buffer.count, &files, &fileCount, &truncated, &lost,
          waits ? 0 : CInt(MSG_DONTWAIT))
        failure = errno
      } while result < 0 && failure == EINTR
      count = max(result, 0)
    }
    guard result >= 0 else {
      if failure == EAGAIN { return nil }
      errno = failure
      throw systemError("recvmsg", "netmapd")
    }
    let owned = files.prefix(fileCount).map { OwnedFile(OwnedFile.lifted($0)) }
    guard truncated == 0 else {
      errno = EMSGSIZE
      throw systemError("recvmsg", "netmapd")
    }
    return Datagram(bytes: bytes, files: owned, lacksFiles: lost != 0)
  }

  /// Receives one datagram; waits at most the given number of seconds.
  ///
  /// - Returns: The datagram; nil when none came in time, an empty one when the peer has gone.
  /// - Throws: As ``receive(waits:)``; `EINTR` as ``Interruption``.
  package func receive(within seconds: Int) throws(NetmapError) -> Datagram? {
    let end = monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
    while true {
      if let datagram = try receive(waits: false) { return datagram }
      let now = monotonicNanoseconds()
      guard now < end else { return nil }
      var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      // Keep waiting after a signal: the peer carries out a request that was sent in any case.
      let time = min((end - now) / 1_000_000 + 1, Interruption.slice)
      _ = unsafe poll(&waiting, 1, CInt(clamping: time))
      try Interruption.look("wait for")
    }
  }

  /// Ends the receiving of messages: the peer cannot send any more.
  ///
  /// - Returns: The message that has arrived before; nil if none has.
  package func receiveLast() -> Datagram? {
    shutdown(descriptor, CInt(SHUT_RD))
    guard let mail = try? receive(waits: false), !mail.bytes.isEmpty else { return nil }
    return mail
  }

  /// Whether the peer has gone, or goes within the given time.
  func isOver(within milliseconds: CInt) -> Bool {
    isReady(descriptor, for: CInt(CLINUX_EPOLLRDHUP), within: milliseconds)
  }

  /// The credentials that the kernel has for the peer (`SO_PEERCRED`): those of the process that
  /// listens or connected there, or that made the pair.
  package var peer: (process: Int32, user: UInt32, group: UInt32)? { Self.peer(of: descriptor) }

  static func peer(of descriptor: CInt) -> (process: Int32, user: UInt32, group: UInt32)? {
    var credentials = clinux_credentials()
    guard unsafe clinux_peer(descriptor, &credentials) == 0 else { return nil }
    return (credentials.process, credentials.user, credentials.group)
  }
}
