internal import Glibc
internal import NetmapCore

/// How a client sends a request to the daemon and waits for the answer.
enum DaemonAnswer {
  /// Finds out why the daemon closed the socket for an answer without answering.
  ///
  /// Either the daemon has ended, or it had no descriptor left for the socket or for the connection
  /// that carried the request.
  ///
  /// - Parameters:
  ///   - socket: The socket on which the request was sent.
  ///   - isNew: Whether anything that has arrived on the connection must be meant for this request.
  ///   - error: The error to report when the daemon has gone.
  /// - Returns: The error to report.
  /// - Throws: The ``NetmapError`` that the daemon answered with on the connection itself.
  static func whyNoAnswer(
    on socket: MessageSocket, isNew: Bool, _ error: NetmapError
  ) throws(NetmapError) -> NetmapError {
    // The kernel reports a pending error of the connection before it delivers the message, so try
    // twice.
    for _ in 0..<2 where isNew {
      guard let mail = try? socket.receive(waits: false) else { continue }
      if !mail.bytes.isEmpty { _ = try Message(mail.bytes).answer() }
      return error
    }
    // The kernel closes the descriptors of a killed daemon one after the other, so wait a moment.
    return socket.isOver(within: 100) ? error : DaemonAddress.noDescriptor()
  }

  static func send(
    _ bytes: [UInt8], _ files: [CInt], on socket: MessageSocket
  ) throws(NetmapError) {
    do throws(NetmapError) {
      try socket.send(bytes, files)
    } catch {
      throw error.code.rawValue == EPIPE || error.code.rawValue == ECONNRESET
        ? hungUp("ask") : error
    }
  }

  /// Receives an answer of the daemon.
  ///
  /// - Parameters:
  ///   - socket: The socket for the answer.
  ///   - operation: What waits, for errors.
  ///   - seconds: How long to wait.
  /// - Returns: The answer.
  /// - Throws: ``NetmapError`` `ETIMEDOUT` when none comes, `ECONNRESET` when the daemon has gone, `EINTR` as
  ///   ``Interruption``.
  static func receive(
    on socket: MessageSocket, _ operation: String, within seconds: Int
  ) throws(NetmapError) -> MessageSocket.Datagram {
    guard let mail = try socket.receive(within: seconds) else {
      throw DaemonAddress.noAnswer(operation, within: seconds)
    }
    guard !mail.bytes.isEmpty else { throw hungUp(operation) }
    return mail
  }

  static func hungUp(_ operation: String) -> NetmapError {
    NetmapError(
      .init(rawValue: ECONNRESET), operation, "netmapd", reason: "netmapd closed the connection",
      remedy: "open the port again, which starts a new netmapd if none runs")
  }
}
