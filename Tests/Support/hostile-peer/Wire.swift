import CLinux
import Glibc
import NetmapClient
import NetmapCore

/// The protocol of netmapd without the client's care: any message, on any connection, with any descriptors.
enum Wire {
  static func address() throws -> DaemonAddress {
    let candidates = try DaemonAddress.candidates()
    return candidates[candidates.count - 1]
  }

  static func connect() throws -> MessageSocket {
    guard let socket = try address().connect() else { throw AttackError("nobody listens") }
    return socket
  }

  /// What came back, if anything did.
  struct Answer {
    var body: MessageReader?
    var error: NetmapError?
    var files: [OwnedFile] = []

    /// Whether the answer is yes.
    var isDone: Bool { body != nil }

    var text: String {
      if let error { return "refused \(error.code.name)" }
      return isDone ? "done" : "no answer"
    }
  }

  /// Whether something has arrived, or the other end has hung up.
  static func isReadable(_ socket: MessageSocket) -> Bool {
    var state = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&state, 1, 0) == 1
  }

  static func answer(on socket: MessageSocket, within seconds: Int = 10) -> Answer {
    var answer = Answer()
    guard let mail = try? socket.receive(within: seconds), !mail.bytes.isEmpty else {
      return answer
    }
    answer.files = mail.files
    do throws(NetmapError) {
      answer.body = try Message(mail.bytes).answer()
    } catch {
      answer.error = error
    }
    return answer
  }

  /// Sends a request with a socket pair of its own to answer on, and waits for the answer.
  static func ask(
    _ kind: Message.Kind, on socket: MessageSocket, files: [CInt] = [], within seconds: Int = 10,
    _ write: (inout MessageWriter) -> Void = { _ in }
  ) throws -> Answer {
    let (mine, theirs) = try MessageSocket.pair()
    try socket.send(Message.bytes(kind, write), [theirs.descriptor] + files)
    theirs.close()
    return answer(on: mine, within: seconds)
  }

  /// Sends a request that is answered elsewhere.
  static func send(
    _ kind: Message.Kind, on socket: MessageSocket, files: [CInt], waits: Bool = true,
    _ write: (inout MessageWriter) -> Void = { _ in }
  ) throws {
    try socket.send(Message.bytes(kind, write), files, waits: waits)
  }

  /// The calling thread's network namespace.
  static func namespace() -> OwnedFile? {
    let file = unsafe open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
    return file >= 0 ? OwnedFile(file) : nil
  }
}

/// A process as a client, with its mailbox open to whatever it wants to do with it.
final class RawClient {
  let mailbox: MessageSocket
  let tag: UInt64
  /// Directory and doorbell.
  let files: [OwnedFile]

  init() throws {
    mailbox = try Wire.connect()
    try mailbox.send(Message.bytes(.hello))
    let answer = Wire.answer(on: mailbox)
    guard var body = answer.body else { throw AttackError("hello: \(answer.text)") }
    let slot = try body.take(UInt32.self)
    tag = UInt64(try body.take(UInt32.self)) << 32 | UInt64(slot)
    files = answer.files
  }

  /// Opens a port.
  func register(
    _ name: String, flags: BindingFlags = [], extraBuffers: Int = 0
  ) throws -> RawPort {
    let token = try Wire.connect()
    let (port, answer) = try register(name, flags: flags, extraBuffers: extraBuffers, on: token)
    guard let port else { throw AttackError("\(name): \(answer.text)") }
    return port
  }

  func register(
    _ name: String, flags: BindingFlags = [], extraBuffers: Int = 0, on token: MessageSocket
  ) throws -> (RawPort?, Wire.Answer) {
    let request = RegisterRequest(
      name: try PortName(name), flags: flags, extraBuffers: extraBuffers)
    let namespace = Wire.namespace()
    let answer = try Wire.ask(
      .register, on: token, files: namespace.map { [$0.descriptor] } ?? []
    ) {
      $0.put(request)
      $0.put(tag)
    }
    withExtendedLifetime(namespace) {}
    return (try RawPort(answer, token), answer)
  }

  /// The ports of others on the switch that it has a port on, as far as they have been announced.
  func neighbours() throws -> [Neighbour] {
    var found: [Neighbour] = []
    while let mail = try mailbox.receive(within: found.isEmpty ? 5 : 0), !mail.bytes.isEmpty {
      guard var message = try? Message(mail.bytes), message.kind == .neighbour,
        mail.files.count >= 2
      else { continue }
      _ = try message.body.take(UInt64.self)
      let index = Int(try message.body.take(UInt8.self))
      found.append(
        Neighbour(
          index: index, region: try SharedMemory(attaching: mail.files[0].descriptor),
          segment: try SyncSegment(attaching: SharedMemory(attaching: mail.files[1].descriptor))))
    }
    return found
  }
}

/// Another one's port on a switch, as every process there has it mapped.
struct Neighbour {
  let index: Int
  let region: SharedMemory
  let segment: SyncSegment
}

/// An open port, by its memory alone.
struct RawPort {
  let token: MessageSocket
  let registration: Registration
  /// On a switch.
  var index: UInt32 = 0
  var generation: UInt32 = 0

  /// - Returns: Nil when the answer is no.
  init?(_ answer: Wire.Answer, _ token: MessageSocket) throws {
    guard var body = answer.body, answer.files.count >= 2 else { return nil }
    self.token = token
    let region = try SharedMemory(attaching: answer.files[0].descriptor)
    let segment = try SyncSegment(
      attaching: SharedMemory(attaching: answer.files[1].descriptor))
    registration = try body.takeRegistration(region: region, segment: segment)
    if try body.take(UInt8.self) != 0 {
      _ = try body.take(UInt64.self)
      index = UInt32(try body.take(UInt8.self))
      generation = try body.take(UInt32.self)
    }
  }

  var region: SharedMemory { registration.region }
  var segment: SyncSegment { registration.segment }
}

struct AttackError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
