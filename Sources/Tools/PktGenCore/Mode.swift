/// The function of pkt-gen, selected by `-f`.
package enum Mode: String, Hashable, Sendable, CaseIterable {
  case rx, tx, ping, pong, txseq, rxseq

  /// Number of packets in a batch without `-b`.
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

  /// The message that refuses several threads; nil if the mode supports them.
  var threadLimitMessage: String? {
    switch self {
    case .ping: "can only ping with 1 thread"
    case .pong: "can only reply ping with 1 thread"
    case .txseq: "can only txseq ping with 1 thread"
    case .rx, .tx, .rxseq: nil
    }
  }
}

/// The direction that a mode reports.
enum Role: Hashable {
  case sender, receiver, other

  /// The beginning of the line about the port.
  var verb: String {
    switch self {
    case .sender: "Sending on"
    case .receiver: "Receiving from"
    case .other: "Working on"
    }
  }
}
