import Glibc
import NetmapClient
import NetmapCore

/// Sockets connected to another user's listener, and false daemons.
enum Forgery {
  /// Listens as a silent service does: it neither accepts nor answers.
  static func listen(_ path: String) throws {
    let file = try DaemonAddress(path: path).listen()
    _ = unsafe chmod(path, 0o666)
    HostilePeer.say("ready")
    withExtendedLifetime(file) { HostilePeer.waitForEnd() }
  }

  /// Offers connections to another user's listener as a mailbox and for answers, so that the daemon
  /// takes the listener's credentials for this process's; then asks for the ports that were opened
  /// that way.
  static func forge(_ path: String) throws {
    let own = try RawClient()
    let listener = try DaemonAddress(path: path)
    func forged() throws -> MessageSocket {
      guard let socket = try listener.connect() else { throw AttackError("nobody listens there") }
      return socket
    }
    // As a mailbox, with a hello on a separate connection.
    let carrier = try Wire.connect()
    let mailbox = try forged()
    try? Wire.send(.hello, on: carrier, files: [mailbox.descriptor])
    // Try the tags of all clients that may exist: slots and epochs count up.
    let reply = try forged()
    var tokens: [MessageSocket] = []
    for epoch in 1...24 as ClosedRange<UInt64> {
      for slot in 0..<24 as Range<UInt64> where epoch << 32 | slot != own.tag {
        // The daemon may have hung up in the meantime.
        guard let token = try? Wire.connect() else { continue }
        try? Wire.send(.register, on: token, files: [reply.descriptor]) {
          if let name = try? PortName("forged\(slot){\(epoch)") {
            $0.put(RegisterRequest(name: name))
          }
          $0.put(client: epoch << 32 | slot)
        }
        tokens.append(token)
      }
    }
    // The daemon decides some requests on other threads.
    usleep(300_000)
    for token in tokens { look(at: token, own) }
    HostilePeer.say("ready")
    withExtendedLifetime((mailbox, carrier, reply)) { HostilePeer.waitForEnd() }
  }

  /// Asks for the port that a token may be bound to.
  private static func look(at token: MessageSocket, _ own: RawClient) {
    guard
      let answer = try? Wire.ask(
        .mapPort, on: token, within: 2, { (writer: inout MessageWriter) in writer.put(own.tag) }),
      answer.isDone
    else { return }
    let port = try? RawPort(answer, token)
    HostilePeer.say(
      "got \(answer.files.count) descriptors of \(port?.registration.name.rawValue ?? "a port"),"
        + " backend \(port?.registration.backend?.name ?? "none")")
  }

  /// Prints the messages from clients that take this process for a daemon.
  static func fakeDaemon(_ path: String) throws {
    let address = try DaemonAddress(path: path)
    let file = try address.listen()
    _ = unsafe chmod(path, 0o666)
    HostilePeer.say("ready")
    while true {
      let peer = accept(file, nil, nil)
      guard peer >= 0 else { continue }
      let socket = MessageSocket(owning: peer)
      if let mail = try? socket.receive(within: 5), !mail.bytes.isEmpty {
        HostilePeer.say("got \(mail.bytes.count) bytes")
      } else {
        HostilePeer.say("nothing")
      }
    }
  }
}
