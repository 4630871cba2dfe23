/// What pkt-gen does: the word after `-f`.
package enum Mode: String, Hashable, Sendable, CaseIterable {
  case rx, tx, ping, pong, txseq, rxseq

  /// Packets a batch holds unless `-b` says otherwise.
  var defaultBurst: Int {
    switch self {
    case .rx, .tx, .txseq, .rxseq: 512
    case .ping, .pong: 1
    }
  }

  var role: Role {
    switch self {
    case .tx, .txseq: .sender
    case .rx, .rxseq: .receiver
    case .ping, .pong: .other
    }
  }

  /// Why several threads cannot do it; nil when they can.
  var threadLimitMessage: String? {
    switch self {
    case .ping: "can only ping with 1 thread"
    case .pong: "can only reply ping with 1 thread"
    case .txseq: "can only txseq ping with 1 thread"
    case .rx, .tx, .rxseq: nil
    }
  }
}

/// Which direction a mode reports about.
enum Role: Hashable {
  case sender, receiver, other

  /// How the line about the port begins.
  var verb: String {
    switch self {
    case .sender: "Sending on"
    case .receiver: "Receiving from"
    case .other: "Working on"
    }
  }
}
