import Glibc
import NetmapClient
import NetmapCore

/// Sockets that were connected to somebody else's listener, and daemons that are none.
enum Forgery {
  /// Listens as a quiet service does: it neither accepts nor answers.
  static func listen(_ path: String) throws {
    let file = try DaemonAddress(path: path).listen()
    _ = unsafe chmod(path, 0o666)
    HostilePeer.say("ready")
    withExtendedLifetime(file) { HostilePeer.waitForEnd() }
  }

  /// Offers connections to a listener of another user's as mailbox and for answers, so that its
  /// credentials are taken for this process's; then asks for the port that was opened so.
  static func forge(_ path: String) throws {
    let own = try RawClient()
    let listener = try DaemonAddress(path: path)
    func forged() throws -> MessageSocket {
      guard let socket = try listener.connect() else { throw AttackError("nobody listens there") }
      return socket
    }
    // As a mailbox, by hello on a connection of its own.
    let carrier = try Wire.connect()
    let mailbox = try forged()
    try? Wire.send(.hello, on: carrier, files: [mailbox.descriptor])
    // The tags of everybody who may be there: slots and epochs count up.
    let reply = try forged()
    var tokens: [MessageSocket] = []
    for epoch in 1...24 as ClosedRange<UInt64> {
      for slot in 0..<24 as Range<UInt64> where epoch << 32 | slot != own.tag {
        // It may have been hung up on meanwhile.
        guard let token = try? Wire.connect() else { continue }
        try? Wire.send(.register, on: token, files: [reply.descriptor]) {
          if let name = try? PortName("forged\(slot){\(epoch)") {
            $0.put(RegisterRequest(name: name))
          }
          $0.put(epoch << 32 | slot)
        }
        tokens.append(token)
      }
    }
    // Whatever is decided on other threads.
    usleep(300_000)
    for token in tokens { look(at: token, own) }
    HostilePeer.say("ready")
    withExtendedLifetime((mailbox, carrier, reply)) { HostilePeer.waitForEnd() }
  }

  /// Asks for the port that a token may have been bound to.
  private static func look(at token: MessageSocket, _ own: RawClient) {
    guard
      let answer = try? Wire.ask(
        .attach, on: token, within: 2, { (writer: inout MessageWriter) in writer.put(own.tag) }),
      answer.isDone
    else { return }
    let port = try? RawPort(answer, token)
    HostilePeer.say(
      "got \(answer.files.count) descriptors of \(port?.registration.name.rawValue ?? "a port"),"
        + " backend \(port?.registration.backend?.name ?? "none")")
  }

  /// Says what it is sent by whoever takes it for a daemon.
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
