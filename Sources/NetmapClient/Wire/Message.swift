package import NetmapCore

/// What a datagram between a process and its daemon says: a kind, and the fields that belong to it.
package struct Message {
  /// Changes with every change of a message or of a shared segment.
  package static let version: UInt16 = 6

  /// The longest datagram, bytes.
  package static let byteCountMax = 49_152

  /// The most descriptors that one datagram carries: the kernel's limit, unix(7).
  package static let descriptorCountMax = 253

  package enum Kind: UInt16, Sendable {
    // From a process, on its mailbox.
    /// First of all: a process wants to be a client. Answered with its slot, whether others get its doorbell,
    /// and the directory, the end of the doorbell that it watches, the page that marks its life
    /// (``MarkedLife``), the end that others ring if they get it, and on a token the mailbox.
    case hello = 1
    /// A port that was closed is no longer looked at.
    case forget = 2
    /// Asks to wake the sleepers of a client whose doorbell the process could not receive.
    case ring = 3

    // From a process, with a socket to answer on.
    /// Binds rings of a port to the token it is sent on.
    case register = 16
    /// Asks for the memory region of a port.
    case portInfo = 17
    /// Asks for every port, binding and counter.
    case list = 18
    /// Asks what is wrong with the memory of all ports.
    case check = 24
    /// On a token: maps the rings of the binding that it stands for. A ``hello`` on a token, with a socket to
    /// answer on, is answered with a mailbox as well.
    case attach = 25

    /// A request about switches.
    case control = 19

    // From the daemon.
    /// The answer, when it is yes.
    case done = 32
    /// The answer, when it is no: an error.
    case refused = 33
    /// The doorbell of another process: its number, and whether it is rung on the end that this process watches.
    /// If not, it comes with the message.
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

  /// - Throws: ``NetmapError`` `EINVAL` for something else, `EPROTO` for another version.
  package init(_ bytes: some Sequence<UInt8>) throws(NetmapError) {
    body = MessageReader(bytes)
    guard try body.take(UInt32.self) == Self.magic else {
      throw body.malformed("it is no message of netmap's")
    }
    let version = try body.take(UInt16.self)
    guard version == Self.version else {
      throw NetmapError(
        .otherVersion, "read", "message",
        reason: "it is of version \(version), this program speaks \(Self.version)",
        remedy: "install one version of netmap, and stop the netmapd that is still running")
    }
    guard let kind = Kind(rawValue: try body.take(UInt16.self)) else {
      throw body.malformed("it is of an unknown kind")
    }
    self.kind = kind
  }
}

extension Message {
  /// A refusal, as a message.
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
    default: throw body.malformed("it is no answer")
    }
  }
}
