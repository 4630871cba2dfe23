import CLinux
import Glibc
import NetmapClient
import NetmapCore

/// netmapd's protocol without the client library's checks: any message, on any connection, with any
/// descriptors.
enum Wire {
  static func address() throws -> DaemonAddress {
    let candidates = try DaemonAddress.candidates()
    return candidates[candidates.count - 1]
  }

  static func connect() throws -> MessageSocket {
    guard let socket = try address().connect() else { throw AttackError("nobody listens") }
    return socket
  }

  /// The answer to a request, if any.
  struct Answer {
    var body: MessageReader?
    var error: NetmapError?
    var files: [OwnedFile] = []

    /// Whether the daemon granted the request.
    var isDone: Bool { body != nil }

    var text: String {
      if let error { return "refused \(error.code.name)" }
      return isDone ? "done" : "no answer"
    }
  }

  /// Whether a message has arrived, or the peer has hung up.
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

  /// Sends a request with a new socket pair for the answer, and waits for the answer.
  static func ask(
    _ kind: Message.Kind, on socket: MessageSocket, files: [CInt] = [], within seconds: Int = 10,
    _ write: (inout MessageWriter) -> Void = { _ in }
  ) throws -> Answer {
    let (mine, theirs) = try MessageSocket.pair()
    try socket.send(Message.bytes(kind, write), [theirs.descriptor] + files)
    theirs.close()
    return answer(on: mine, within: seconds)
  }

  /// Sends a request whose answer does not arrive on this call.
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

/// The flags of a register request, as a test writes them: `isolated`, or the number of `nr_flags`.
struct AskedFlags {
  let flags: BindingFlags
  let extensions: PortExtensions

  init(_ text: String) {
    flags = BindingFlags(rawValue: UInt64(text) ?? 0)
    extensions = text == "isolated" ? .isolated : []
  }
}

/// A client of the daemon with direct access to its mailbox.
final class RawClient {
  let mailbox: MessageSocket
  let tag: UInt64
  /// The descriptors from the answer to the hello: the directory, the doorbell, and others.
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
    _ name: String, _ flags: AskedFlags = AskedFlags(""), extraBuffers: Int = 0
  ) throws -> RawPort {
    let token = try Wire.connect()
    let (port, answer) = try register(name, flags, extraBuffers: extraBuffers, on: token)
    guard let port else { throw AttackError("\(name): \(answer.text)") }
    return port
  }

  func register(
    _ name: String, _ flags: AskedFlags = AskedFlags(""), extraBuffers: Int = 0,
    on token: MessageSocket
  ) throws -> (RawPort?, Wire.Answer) {
    let request = RegisterRequest(
      name: try PortName(name), flags: flags.flags, extensions: flags.extensions,
      extraBuffers: extraBuffers)
    let namespace = Wire.namespace()
    let answer = try Wire.ask(
      .register, on: token, files: namespace.map { [$0.descriptor] } ?? []
    ) {
      $0.put(request)
      $0.put(client: tag)
    }
    withExtendedLifetime(namespace) {}
    return (try RawPort(answer, token), answer)
  }

  /// The other ports of the client's switch that the daemon has announced so far.
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
          index: index, region: try SharedMemory(mapping: mail.files[0].descriptor),
          segment: try SyncSegment(mapping: SharedMemory(mapping: mail.files[1].descriptor))))
    }
    return found
  }
}

/// Another client's port on a switch, mapped as every process there maps it.
struct Neighbour {
  let index: Int
  let region: SharedMemory
  let segment: SyncSegment
}

/// An open port, with access to its memory only.
struct RawPort {
  let token: MessageSocket
  let registration: Registration
  /// The port's place on its switch.
  var index: UInt32 = 0
  var generation: UInt32 = 0

  /// - Returns: Nil when the daemon refused the request.
  init?(_ answer: Wire.Answer, _ token: MessageSocket) throws {
    guard var body = answer.body, answer.files.count >= 2 else { return nil }
    self.token = token
    let region = try SharedMemory(mapping: answer.files[0].descriptor)
    let segment = try SyncSegment(
      mapping: SharedMemory(mapping: answer.files[1].descriptor))
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
