internal import CLinux
internal import NetmapClient
internal import NetmapCore

/// A token that a client has asked for by its mailbox, because it may have no path to the daemon's socket.
///
/// Every token is a connection to a socket on which the daemon listens, so that each process that gets a copy can check
/// whose daemon it belongs to. So the daemon connects to itself, by a socket with a name that it has chosen, recognizes
/// the name when it accepts the connection, and sends the other end to the client.
struct ExpectedToken {
  /// The client's request.
  let ticket: UInt64
  /// The client, whose user pays for the connection.
  let client: clinux_credentials
  /// The rules by which the client was admitted.
  let admission: Admission
  /// The client's end, once the daemon has connected.
  var file: OwnedFile?
  var isAccepted = false
}

extension Server {
  /// Starts to make a token for a client.
  func newToken(for client: Client, _ reply: PeerSocket) {
    decide(client, reply) { [self] (ticket) throws(NetmapError) in
      guard let mailbox = client.mailbox else {
        throw NetmapError(.badDescriptor, "open", "netmapd", reason: "the process hung up")
      }
      let payer = clinux_credentials(
        process: client.process, user: client.user, group: client.group)
      try checkConnections(of: payer, mailbox.admission)
      let name = TokenName.Digits()
      expected[name] = ExpectedToken(
        ticket: ticket, client: payer, admission: mailbox.admission)
      control.put(.connect(ticket: ticket, name))
    }
  }

  /// Handles the daemon's end of the work: it has connected to itself, or could not.
  func hasConnected(_ ticket: UInt64, _ result: Result<OwnedFile, NetmapError>) {
    // If there is none, the connection has been refused already.
    guard let name = expected.first(where: { $0.value.ticket == ticket })?.key else { return }
    switch result {
    case .success(let file):
      expected[name]?.file = file
      finishToken(name)
    case .failure(let error): hasRefused(name, error)
    }
  }

  /// Records that the server has accepted the connection that becomes a token.
  func hasAccepted(_ name: TokenName.Digits) {
    expected[name]?.isAccepted = true
    finishToken(name)
  }

  /// Tells the client that there will be no token, if one was expected by this name.
  func hasRefused(_ name: TokenName.Digits, _ error: NetmapError) {
    guard let token = expected.removeValue(forKey: name) else { return }
    finish(token.ticket, error)
  }

  private func finishToken(_ name: TokenName.Digits) {
    guard let token = expected[name], token.isAccepted, let file = token.file else { return }
    expected[name] = nil
    finish(token.ticket, (Message.bytes(.done), [file.descriptor]))
    withExtendedLifetime(file) {}
  }
}
