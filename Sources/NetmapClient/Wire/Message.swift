package import NetmapCore

/// The contents of a datagram between a process and the daemon: a kind, and the fields of that
/// kind.
package struct Message {
  /// The version of the protocol.
  ///
  /// It changes with every change of a message or of a shared segment.
  package static let version: UInt16 = 13

  /// The longest datagram, bytes.
  package static let byteCountMax = 49_152

  /// The most descriptors that one datagram can carry: the kernel's limit, unix(7).
  package static let descriptorCountMax = 253

  package enum Kind: UInt16, Sendable {
    // From a process, on its mailbox.
    /// The first message: a process asks to become a client.
    ///
    /// The daemon answers with the process's slot and whether other processes get its doorbell.
    /// Descriptors go with the answer: the directory, the end of the doorbell that the process
    /// watches, the page that marks its life (``MarkedLife``), the end that other processes ring if
    /// they get it, and, for a hello on a token, the mailbox.
    case hello = 1
    /// The process no longer uses the rings of a port.
    case forget = 2
    /// Asks the daemon to wake the sleepers of a client whose doorbell the process could not
    /// receive.
    case ring = 3
    /// Asks for the memory of a port on a switch again, which the process could not receive or map.
    case again = 4

    // From a process, with a socket to answer on.
    /// Binds rings of a port to the token it is sent on.
    case register = 16
    /// Asks for the rings and the memory of a port, or for the size of a memory region (`PORT_INFO_GET`).
    case portInfo = 17
    /// Asks for all ports with their processes and counters.
    case list = 18
    /// Asks for the pools of the memory of a port (`POOLS_INFO_GET`).
    case poolsInfo = 26
    /// Asks for a check of the memory of all ports.
    case check = 24
    /// Asks for a dump of the memory that describes all ports. A descriptor of memory goes with the answer: a length of 64
    /// bits, and the dump.
    case dump = 29
    /// Asks for all tunables, or sets one.
    case tunables = 23
    /// On a token: asks to map the rings of the token's binding.
    ///
    /// A ``hello`` on a token, with a socket to answer on, is answered with a mailbox as well.
    case mapPort = 25

    /// On a token: undoes a bind of the sender's that no other process has used.
    case unbind = 27
    /// On a mailbox: asks for a token that is not bound, for a process that cannot connect.
    case token = 28

    /// Carries a request about switches.
    case control = 19

    // From the daemon.
    /// The positive answer to a request.
    case done = 32
    /// The negative answer to a request: an error.
    case refused = 33
    /// The doorbell of another process: its number, and whether this process rings it on the
    /// doorbell end that it watches itself.
    ///
    /// If not, the descriptor comes with the message.
    case doorbell = 34
    /// The memory of a port on a switch on which the process has a port.
    case neighbour = 35
  }

  package let kind: Kind
  package var body: MessageReader

  private static let magic: UInt32 = 0x6470_6d6e  // "nmpd"

  /// The bytes of a message.
  package static func bytes(
    _ kind: Kind, _ write: (inout MessageWriter) -> Void = { _ in }
  ) -> [UInt8] {
    var writer = MessageWriter()
    writer.put(magic)
    writer.put(version)
    writer.put(kind.rawValue)
    write(&writer)
    return writer.bytes
  }

  /// - Throws: ``NetmapError`` `EINVAL` for anything that is not a message, `EPROTO` for another
  ///   version.
  package init(_ bytes: some Sequence<UInt8>) throws(NetmapError) {
    body = MessageReader(bytes)
    guard try body.take(UInt32.self) == Self.magic else {
      throw body.malformed("it is not a netmap message")
    }
    let version = try body.take(UInt16.self)
    guard version == Self.version else {
      throw NetmapError(
        .otherVersion, "read", "message",
        reason: "it has version \(version), and this program uses version \(Self.version)",
        remedy: "install one version of netmap, and stop the netmapd that is still running")
    }
    guard let kind = Kind(rawValue: try body.take(UInt16.self)) else {
      throw body.malformed("its kind is unknown")
    }
    self.kind = kind
  }
}

extension Message {
  /// The bytes of a refusal.
  package static func refusal(_ error: NetmapError) -> [UInt8] {
    bytes(.refused) {
      $0.put(error.code.rawValue)
      for text in [error.operation, error.subject, error.reason, error.remedy] { $0.put(text) }
    }
  }

  /// The body of an answer.
  ///
  /// - Throws: The ``NetmapError`` that the daemon answered with.
  package func answer() throws(NetmapError) -> MessageReader {
    switch kind {
    case .done: return body
    case .refused:
      var body = body
      let code = NetmapError.Code(rawValue: try body.take(Int32.self))
      let (operation, subject) = (try body.takeString(), try body.takeString())
      let (reason, remedy) = (try body.takeString(), try body.takeString())
      throw NetmapError(code, operation, subject, reason: reason, remedy: remedy)
    default: throw body.malformed("it is not an answer")
    }
  }
}
