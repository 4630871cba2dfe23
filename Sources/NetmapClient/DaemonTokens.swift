internal import Glibc
package import NetmapCore

// Tokens that a client gets, and gives back, by a connection that it has already.

extension DaemonConnection {
  /// Opens a token that is not bound to a port, without a path to the daemon's socket.
  ///
  /// - Returns: The token; this process's user pays for it.
  /// - Throws: ``NetmapError`` `EMFILE` when the user has too many, or the error that the daemon's end causes.
  package func newToken() throws(NetmapError) -> Token {
    try checkProcess()
    mailbox.fetch()
    let answer = try ask(Message.bytes(.token), on: mailbox.socket)
    guard let file = answer.files.first else {
      throw answer.body.malformed("the token is missing")
    }
    let token = Token(owning: try file.duplicate())
    // This process trusts the daemon, and so what it sends.
    TrustedTokens.remember(try token.open().descriptor)
    _ = try token.daemon()
    return token
  }

  /// Undoes a bind of this process's that no other process has used: the token can be bound again.
  ///
  /// Errors change nothing for the caller, which already has one.
  func unbind(_ token: Token) {
    guard let socket = try? token.open() else { return }
    _ = try? ask(
      Message.bytes(.unbind) { $0.put(client: tag.rawValue, viewEnd: .withToken) }, on: socket)
  }

  /// As above, for a port that this process could not use.
  package func unbind(_ opened: Opened) {
    leave(opened.registration)
    unbind(opened.token)
  }
}

extension Token {
  /// - Parameter descriptor: A copy of a token that the program does not know of (``PrivateDescriptors``), and that
  ///   stays open in fork children; this object takes ownership of it.
  package convenience init(private descriptor: CInt) {
    let socket = MessageSocket(private: descriptor)
    PrivateDescriptors.keepInChildren(socket.descriptor)
    self.init(socket)
  }

  /// The number of this copy; nil when it is closed, or when another file has the number.
  package var number: CInt? {
    guard let socket = try? open(), socket.isIntact else { return nil }
    return socket.descriptor
  }
}
