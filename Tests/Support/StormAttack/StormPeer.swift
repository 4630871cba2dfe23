/// The kinds of peers in `docs/threat-model.md`.
package enum StormPeer: String, CaseIterable, Sendable {
  /// A local user: has connections that stay fresh, and may not open the other socket.
  case local = "L"
  /// An untrusted user.
  case untrusted = "S"
  /// A member of the trust domain.
  case member = "G"
  /// The code of a module, in its host process.
  case module = "M"
  /// A broker that an attacker has taken over, towards the opener.
  case broker = "B"

  var isTrusted: Bool { self == .member }
}

/// What an attacker knows of the testbed.
package struct StormPlace: Sendable {
  package var peer: StormPeer
  /// The socket that the attacker can connect to.
  package var socket: String
  /// A socket that it may not open.
  package var closedSocket: String
  /// A file whose close never ends in netmapd; empty for none.
  package var hangingFile: String
  /// The process that answers requests.
  package var serving: Int32
  /// The attacker's place on the board, which is part of the names that it uses.
  package var slot: Int

  package init(
    peer: StormPeer, socket: String, closedSocket: String, hangingFile: String, serving: Int32,
    slot: Int
  ) {
    self.peer = peer
    self.socket = socket
    self.closedSocket = closedSocket
    self.hangingFile = hangingFile
    self.serving = serving
    self.slot = slot
  }

  /// The words of a command line, or of a module's configuration, that say the same.
  package var words: [String] {
    [
      peer.rawValue, socket, closedSocket.isEmpty ? "-" : closedSocket,
      hangingFile.isEmpty ? "-" : hangingFile, "\(serving)", "\(slot)",
    ]
  }

  package init?(words: some Collection<String>) {
    let words = Array(words)
    guard words.count >= 6, let peer = StormPeer(rawValue: words[0]), let serving = Int32(words[4]),
      let slot = Int(words[5])
    else { return nil }
    self.init(
      peer: peer, socket: words[1], closedSocket: words[2] == "-" ? "" : words[2],
      hangingFile: words[3] == "-" ? "" : words[3], serving: serving, slot: slot)
  }
}
