import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Speaks netmapd's protocol without the client library's checks.
struct RawPeer {
  let address: DaemonAddress
  let mailbox: MessageSocket
  let tag: UInt64
  let files: [OwnedFile]

  /// Connects and sends a hello.
  init(_ fixture: DaemonFixture) throws { try self.init(DaemonAddress(path: fixture.socket)) }

  init(_ address: DaemonAddress) throws {
    self.address = address
    mailbox = try #require(try address.connect())
    try mailbox.send(Message.bytes(.hello))
    let mail = try #require(try mailbox.receive(within: 10))
    var body = try Message(mail.bytes).answer()
    let (slot, epoch) = (try body.take(UInt32.self), try body.take(UInt32.self))
    tag = UInt64(epoch) << 32 | UInt64(slot)
    files = mail.files
  }

  func connect() throws -> MessageSocket { try #require(try address.connect()) }

  /// A connection that netmapd takes for a token from the start.
  func openToken() throws -> MessageSocket { try #require(try address.connect(for: .token)) }

  /// Sends a request with a new socket for the answer, and waits for the answer.
  ///
  /// - Returns: The answer; nil when none arrives.
  func ask(
    _ kind: Message.Kind, on socket: MessageSocket, seconds: Int = 10,
    _ write: (inout MessageWriter) -> Void = { _ in }
  ) throws -> Message? {
    let (mine, theirs) = try MessageSocket.pair()
    try socket.send(Message.bytes(kind, write), [theirs.descriptor])
    theirs.close()
    guard let mail = try mine.receive(within: seconds), !mail.bytes.isEmpty else { return nil }
    return try Message(mail.bytes)
  }

  /// The error that the daemon refused a request with; nil if it granted the request.
  func refusal(
    _ kind: Message.Kind, on socket: MessageSocket,
    _ write: (inout MessageWriter) -> Void = { _ in }
  ) throws -> String? {
    let answer = try #require(try ask(kind, on: socket, write), "no answer to \(kind)")
    do throws(NetmapError) {
      _ = try answer.answer()
      return nil
    } catch {
      return error.code.name
    }
  }

  /// Opens a port.
  ///
  /// - Returns: The error that the daemon refused it with; nil if the port is open.
  func register(
    _ name: String, _ flags: BindingFlags = [], _ extensions: PortExtensions = [],
    on token: MessageSocket
  ) throws -> String? {
    let name = try PortName(name)
    return try refusal(.register, on: token) {
      $0.put(RegisterRequest(name: name, flags: flags, extensions: extensions))
      $0.put(client: tag)
    }
  }
}

extension DaemonFixture {
  /// The time to open and close a pipe, without waits for a CPU.
  func openTime(_ connection: DaemonConnection, _ name: String) throws -> Duration {
    try time {
      let opened = try connection.register(RegisterRequest(name: PortName(name)))
      connection.forget(opened.registration)
      opened.token.close()
    }
  }
}

/// Waits until a condition is true.
func expectSoon(
  _ what: String, within seconds: Double = 10, sourceLocation: SourceLocation = #_sourceLocation,
  _ isSo: () throws -> Bool
) throws {
  let end = ContinuousClock.now + .seconds(seconds)
  while try !isSo() {
    guard ContinuousClock.now < end else {
      Issue.record("\(what) did not come about", sourceLocation: sourceLocation)
      return
    }
    usleep(5000)
  }
}

extension DaemonFixture {
  /// Expects `count` open ports within some time.
  func expectOpenSoon(_ count: Int, sourceLocation: SourceLocation = #_sourceLocation) throws {
    try expectSoon("\(count) open ports", sourceLocation: sourceLocation) {
      try engine().listing().count == count
    }
  }
}
