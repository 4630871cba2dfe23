import CLinux
import Glibc

@testable import NetmapClient
@testable import NetmapCore

/// fork(2), which Swift hides. The peer has one thread.
@_silgen_name("fork")
private func forkProcess() -> pid_t

/// The process that sends messages to ``FuzzedDaemon``, in whatever order an input says.
final class FuzzedPeer {
  /// A connection, and the client that a hello on it has made.
  private struct Line {
    let socket: MessageSocket
    /// Whether the daemon answers a hello on the connection itself.
    var isFresh: Bool
    var tag: UInt64 = 0
  }

  private let addresses: [DaemonAddress]
  private var lines: [Line] = []
  /// Requests whose answers the peer does not wait for.
  private var open: [MessageSocket] = []
  private var hasPersistent = false

  private init(_ addresses: [DaemonAddress]) { self.addresses = addresses }

  /// Serves descriptor 3 until the fuzzer ends.
  ///
  /// Each input gets a process of its own, whose end takes everything back that the input has left at the daemon.
  static func run(folder: String) -> Never {
    let link = MessageSocket(owning: 3)
    guard let addresses = try? FuzzedDaemon.addresses(in: folder) else { exit(2) }
    while let mail = try? link.receive(waits: true), !mail.bytes.isEmpty {
      let process = forkProcess()
      if process == 0 {
        let peer = FuzzedPeer(addresses)
        peer.act(mail.bytes)
        _exit(peer.hasPersistent ? persistentStatus : 0)
      }
      var status: CInt = 0
      require(unsafe waitpid(process, &status, 0) == process, "the attacker can be waited for")
      let code = status >> 8 & 255
      require(status & 127 == 0 && [0, persistentStatus].contains(code), "the attacker has failed")
      let peer = FuzzedPeer(addresses)
      peer.hasPersistent = code == persistentStatus
      peer.finish()
      guard (try? link.send([1])) != nil else { break }
    }
    for name in ["trusted", "isolated", "input"] { unsafe unlink("\(folder)/\(name)") }
    unsafe rmdir(folder)
    exit(0)
  }

  /// The status with which an attacker ends that may have made persistent ports.
  private static let persistentStatus: CInt = 3

  // MARK: - Steps

  private static let linesMax = 6

  private func act(_ bytes: [UInt8]) {
    var input = FuzzInput(bytes)
    var steps = 0
    while !input.isAtEnd, steps < 40 {
      steps += 1
      let step = input.byte()
      switch step % 12 {
      case 0: connect(&input)
      case 1: hello(&input)
      case 2, 3: register(&input)
      case 4: step < 128 ? attach(&input) : unbind(&input)
      case 5: step < 128 ? ask(&input) : newToken(&input)
      case 6: ask(&input)
      case 7: sendNumber(&input)
      case 8: control(&input)
      case 9: sendAnything(&input)
      case 10: if !lines.isEmpty { close(&input) }
      default: readMail(&input)
      }
    }
  }

  private func connect(_ input: inout FuzzInput) {
    guard lines.count < Self.linesMax else { return }
    let address = input.choice(addresses)
    let purpose: DaemonAddress.Purpose = input.flag() ? .token : .mailbox
    do {
      guard let socket = try address.connect(for: purpose) else { fatalError("nobody listens") }
      lines.append(Line(socket: socket, isFresh: purpose == .mailbox))
    } catch {
      fatalError("cannot connect: \(error)")
    }
  }

  private func line(_ input: inout FuzzInput) -> Int? {
    if lines.isEmpty { connect(&input) }
    return lines.isEmpty ? nil : Int(input.byte()) % lines.count
  }

  /// A connection that is about to carry a message other than a hello.
  private func usedLine(_ input: inout FuzzInput) -> Int? {
    guard let index = line(&input) else { return nil }
    lines[index].isFresh = false
    return index
  }

  /// The tag of a client of this process, or a number that is none.
  private func tag(_ input: inout FuzzInput) -> UInt64 {
    let known = lines.filter { $0.tag != 0 }.map(\.tag)
    let choice = input.byte()
    if choice == 0 { return input.number() }
    return known.isEmpty ? UInt64(choice) : known[Int(choice) % known.count]
  }

  private func hello(_ input: inout FuzzInput) {
    guard let index = line(&input) else { return }
    let socket = lines[index].socket
    let isFresh = lines[index].isFresh
    lines[index].isFresh = false
    guard input.flag() else {
      // On a token: with a socket for the answer.
      if let answer = answer(to: Message.bytes(.hello), on: socket, &input) { note(answer, index) }
      return
    }
    guard (try? socket.send(Message.bytes(.hello), waits: false)) != nil else { return }
    // On a token or a mailbox, no answer comes.
    if isFresh, let body = Self.answer(on: socket) { note(body, index) }
  }

  private func note(_ answer: MessageReader, _ index: Int) {
    var body = answer
    guard let slot = try? body.take(UInt32.self), let epoch = try? body.take(UInt32.self) else {
      return
    }
    lines[index].tag = UInt64(epoch) << 32 | UInt64(slot)
  }

  private static let names = [
    "a{1", "a}1", "b{2", "vale0:a", "vale0:b", "vale0:c", "v0", "vale0:v0", "eth9", "vale1:x",
  ]

  private func request(_ input: inout FuzzInput) -> RegisterRequest {
    let text = input.byte() == 0 ? "x'-{y" : input.choice(Self.names)
    let name = (try? PortName(text)) ?? Self.fallback
    let mode = try? RingSelection(
      rawMode: input.choice([1, 1, 1, 4, 2, 3, 7, 8]), ringID: UInt16(input.byte() & 3))
    var request = RegisterRequest(
      name: name, selection: mode ?? .allHardware,
      flags: BindingFlags(rawValue: UInt64(input.number(UInt16.self))),
      extensions: PortExtensions(rawValue: UInt32(input.byte() & 7)),
      memoryID: UInt16(input.byte() & 3))
    request.hints = RingGeometryHints(
      transmitSlots: UInt32(input.byte()) << 2, receiveSlots: UInt32(input.byte()) << 2,
      transmitRings: UInt16(input.byte() & 3), receiveRings: UInt16(input.byte() & 3))
    request.extraBuffers = Int(input.byte() & 31)
    if input.flag() {
      request.offsets = OffsetsOption(
        max: UInt64(input.number(UInt16.self)), initial: UInt64(input.byte()),
        bits: UInt32(input.byte()))
    }
    return request
  }

  private static let fallback: PortName = {
    guard let name = try? PortName("a{1") else { fatalError("a{1 is a name") }
    return name
  }()

  private func register(_ input: inout FuzzInput) {
    guard let index = usedLine(&input) else { return }
    let bytes = Message.bytes(.register) {
      $0.put(request(&input))
      $0.put(client: tag(&input), viewEnd: input.flag() ? .withToken : .whenForgotten)
    }
    _ = answer(to: bytes, on: lines[index].socket, &input)
  }

  private func attach(_ input: inout FuzzInput) {
    guard let index = usedLine(&input) else { return }
    let bytes = Message.bytes(.mapPort) {
      $0.put(client: tag(&input), viewEnd: input.flag() ? .withToken : .whenForgotten)
    }
    _ = answer(to: bytes, on: lines[index].socket, &input)
  }

  private func unbind(_ input: inout FuzzInput) {
    guard let index = usedLine(&input) else { return }
    let bytes = Message.bytes(.unbind) { $0.put(client: tag(&input), viewEnd: .withToken) }
    _ = answer(to: bytes, on: lines[index].socket, &input)
  }

  /// Asks for a token on a mailbox, and uses it like a connection of its own.
  private func newToken(_ input: inout FuzzInput) {
    guard let index = usedLine(&input) else { return }
    let socket = lines[index].socket
    guard let reply = reply(to: Message.bytes(.token), on: socket, &input),
      lines.count < Self.linesMax, let file = try? reply.files.first?.duplicate()
    else { return }
    lines.append(Line(socket: MessageSocket(owning: file), isFresh: false))
  }

  private func ask(_ input: inout FuzzInput) {
    guard let index = usedLine(&input) else { return }
    let kind: Message.Kind = input.choice([
      .list, .portInfo, .poolsInfo, .check, .dump, .tunables,
    ])
    let bytes = Message.bytes(kind) {
      switch kind {
      case .list: $0.put(UInt32(input.byte()))
      case .portInfo:
        $0.put(portInfo: input.flag() ? request(&input) : nil, memoryID: UInt16(input.byte() & 3))
      case .poolsInfo: $0.put(request(&input))
      case .tunables: $0.put(tunableRequest(&input))
      default: break
      }
    }
    _ = answer(to: bytes, on: lines[index].socket, &input)
  }

  private func tunableRequest(_ input: inout FuzzInput) -> TunableRequest {
    // The daemon serves many inputs: none may change what the next one gets.
    let idle = Tunable.allCases.filter { [.none, .readOnly, .start].contains($0.rule.effect) }
    return input.flag() ? .list : .set(input.choice(idle), Int(input.number(Int64.self)))
  }

  private func control(_ input: inout FuzzInput) {
    guard let index = usedLine(&input) else { return }
    let asked = request(&input)
    let request: SwitchRequest
    switch input.byte() % 12 {
    case 0: request = .attach(asked)
    case 1: request = .detach(asked.name)
    case 2: request = .find(asked.name)
    case 3: request = .next(switch: Int(input.byte()), port: Int(input.number(UInt16.self)))
    case 4:
      request = .create(asked)
      hasPersistent = true
    case 5: request = .remove(asked.name)
    case 6:
      request = .polling(
        asked.name,
        input.flag() ? .each(first: Int(input.byte()), count: Int(input.number(UInt32.self))) : nil)
    case 7: request = .information(asked.name)
    case 8: request = .setHeader(asked.name, length: input.choice([0, 10, 12, 11]))
    case 9: request = .header(asked.name)
    case 10: request = .module("vale0:", .report)
    default:
      request = .module(
        "vale0:",
        .choose(
          input.choice([
            .hub, .learning, .filter(rules: "deny udp"), .balancer(outputs: ["a", "b"]),
            .loaded(path: "/nowhere.so"),
          ])))
    }
    _ = answer(to: Message.bytes(.control) { $0.put(request) }, on: lines[index].socket, &input)
  }

  private func sendNumber(_ input: inout FuzzInput) {
    guard let index = usedLine(&input) else { return }
    let bytes =
      switch input.byte() % 3 {
      case 0: Message.bytes(.forget) { $0.put(UInt64(input.byte())) }
      case 1: Message.bytes(.ring) { $0.put(input.number(UInt32.self)) }
      default:
        Message.bytes(.again) {
          $0.put(UInt64(input.byte()))
          $0.put(input.byte())
        }
      }
    try? lines[index].socket.send(bytes, waits: false)
  }

  /// Sends a message of any kind with any fields and several descriptors.
  private func sendAnything(_ input: inout FuzzInput) {
    guard let index = usedLine(&input) else { return }
    let kind = Message.Kind(rawValue: UInt16(input.byte() & 63))
    var bytes = kind.map { Message.bytes($0) } ?? input.bytes(8)
    bytes += input.bytes(Int(input.byte() & 63))
    guard !bytes.isEmpty, let (mine, theirs) = try? MessageSocket.pair() else { return }
    var files = [theirs.descriptor]
    let memory = unsafe memfd_create("odd", 0)
    let event = eventfd(0, 0)
    for _ in 0..<Int(input.byte() & 3) {
      files.insert(
        input.choice([memory, event, theirs.descriptor, lines[index].socket.descriptor]),
        at: input.flag() ? 0 : files.count)
    }
    try? lines[index].socket.send(bytes, files, waits: false)
    theirs.close()
    _ = Glibc.close(memory)
    _ = Glibc.close(event)
    open.append(mine)
    if open.count > 8 { open.removeFirst().close() }
  }

  private func close(_ input: inout FuzzInput) {
    let line = lines.remove(at: Int(input.byte()) % lines.count)
    line.socket.close()
  }

  private func readMail(_ input: inout FuzzInput) {
    guard let index = usedLine(&input) else { return }
    while let mail = try? lines[index].socket.receive(waits: false), !mail.bytes.isEmpty {}
  }

  /// Sends a request, and waits for the answer unless the input says otherwise.
  ///
  /// - Returns: The fields of a positive answer.
  private func answer(
    to bytes: [UInt8], on socket: MessageSocket, _ input: inout FuzzInput
  ) -> MessageReader? {
    reply(to: bytes, on: socket, &input).flatMap(Self.fields)
  }

  /// As above, but the answer as it arrives, with its descriptors.
  private func reply(
    to bytes: [UInt8], on socket: MessageSocket, _ input: inout FuzzInput
  ) -> MessageSocket.Datagram? {
    guard let (mine, theirs) = try? MessageSocket.pair() else { fatalError("no descriptors left") }
    let isSent = (try? socket.send(bytes, [theirs.descriptor], waits: false)) != nil
    theirs.close()
    guard isSent else { return nil }
    if input.byte() & 7 == 7 {
      open.append(mine)
      if open.count > 8 { open.removeFirst().close() }
      return nil
    }
    return Self.reply(on: mine)
  }

  private static func answer(on socket: MessageSocket) -> MessageReader? {
    reply(on: socket).flatMap(fields)
  }

  /// The answer to a request. The daemon answers each request with a socket, or closes the socket.
  private static func reply(on socket: MessageSocket) -> MessageSocket.Datagram? {
    let mail: MessageSocket.Datagram?
    do throws(NetmapError) { mail = try socket.receive(within: 20) } catch { return nil }
    guard let mail else { fatalError("the daemon does not answer within 20 s") }
    return mail.bytes.isEmpty ? nil : mail
  }

  /// The fields of a positive answer.
  private static func fields(_ mail: MessageSocket.Datagram) -> MessageReader? {
    try? Message(mail.bytes).answer()
  }

  // MARK: - The end

  /// Requires that the daemon serves on, and forgets all ports of the process that has ended.
  private func finish() {
    guard let mailbox = try? addresses[0].connect(),
      (try? mailbox.send(Message.bytes(.hello))) != nil,
      Self.answer(on: mailbox) != nil
    else { fatalError("the daemon does not serve the next client") }
    if hasPersistent { removePersistent(through: mailbox) }
    for _ in 0..<2000 {
      guard var body = ask(.list, on: mailbox, { $0.put(UInt32(0)) }),
        let count = try? body.take(UInt16.self)
      else { fatalError("the daemon does not list its ports") }
      if count == 0 { return mailbox.close() }
      usleep(1000)
    }
    fatalError("the daemon keeps ports of closed connections")
  }

  /// Removes the persistent ports that requests may have made, for the next input.
  private func removePersistent(through mailbox: MessageSocket) {
    if let name = try? PortName("vale0:v0") {
      ask(.control, on: mailbox) { $0.put(SwitchRequest.detach(name)) }
    }
    for name in Self.names {
      guard let name = try? PortName(name) else { continue }
      ask(.control, on: mailbox) { $0.put(SwitchRequest.remove(name)) }
    }
  }

  @discardableResult
  private func ask(
    _ kind: Message.Kind, on socket: MessageSocket, _ write: (inout MessageWriter) -> Void
  ) -> MessageReader? {
    guard let (mine, theirs) = try? MessageSocket.pair(),
      (try? socket.send(Message.bytes(kind, write), [theirs.descriptor])) != nil
    else { return nil }
    theirs.close()
    return Self.answer(on: mine)
  }
}
