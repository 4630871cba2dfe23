@testable import NetmapClient
@testable import NetmapCore

extension FuzzTarget {
  /// A datagram, as either side receives it: its kind chooses what is read.
  static let daemonMessages = FuzzTarget(
    name: "daemon-messages", subject: "messages between processes and netmapd, read by both sides"
  ) { bytes in
    let message: Message
    do throws(NetmapError) {
      message = try Message(current(Array(bytes)))
    } catch {
      require([.invalidArgument, .otherVersion].contains(error.code), "EINVAL or EPROTO")
      return
    }
    do throws(NetmapError) {
      try read(message)
    } catch {
      require(!error.description.isEmpty, "a refusal has a text")
    }
  }

  /// The version that the saved inputs and the dictionary name. It stands for the current version, whatever that is:
  /// otherwise a new version would make all saved inputs messages that nobody reads.
  private static let savedVersion: [UInt8] = [7, 0]

  private static func current(_ bytes: [UInt8]) -> [UInt8] {
    guard bytes.count >= 6, Array(bytes[4..<6]) == savedVersion else { return bytes }
    let version = Message.version
    return bytes[..<4] + [UInt8(version & 0xff), UInt8(version >> 8)] + bytes[6...]
  }

  /// Reads the fields that the receiver of a message reads, writes them again, and compares.
  private static func read(_ message: Message) throws(NetmapError) {
    var body = message.body
    switch message.kind {
    case .hello: break
    case .forget: _ = try body.take(UInt64.self)
    case .ring: _ = try body.take(UInt32.self)
    case .again: _ = try (body.take(UInt64.self), body.take(UInt8.self))
    case .register:
      try checkCopy(try body.takeRequest(), { $0.put($1) }) { (copy) throws(NetmapError) in
        try copy.takeRequest()
      }
      try checkCopy(try body.takeViewer(), { $0.put(client: $1.rawTag, viewEnd: $1.viewEnd) }) {
        (copy) throws(NetmapError) in try copy.takeViewer()
      }
    case .mapPort, .unbind: _ = try body.takeViewer()
    case .portInfo:
      try checkCopy(
        try body.takePortInfoRequest(), { $0.put(portInfo: $1.request, memoryID: $1.memoryID) }
      ) { (copy) throws(NetmapError) in try copy.takePortInfoRequest() }
    case .poolsInfo: _ = try body.takeRequest()
    case .list, .check, .token, .dump: break
    case .tunables:
      try checkCopy(try body.takeTunableRequest(), { $0.put($1) }) { (copy) throws(NetmapError) in
        try copy.takeTunableRequest()
      }
    case .control:
      try checkCopy(try body.takeSwitchRequest(), { $0.put($1) }) { (copy) throws(NetmapError) in
        try copy.takeSwitchRequest()
      }
    case .done:
      // The reader of an answer knows which request it belongs to; here all readers get it.
      try readAnswers(message)
    case .refused:
      do throws(NetmapError) {
        _ = try message.answer()
        fatalError("a refusal is no answer")
      } catch  where error.operation != "read" {
        let copy = Message.refusal(error)
        do throws(NetmapError) {
          _ = try Message(copy).answer()
        } catch let again {
          require(again.description == error.description, "a refusal arrives as it was sent")
        }
      } catch {}
    case .doorbell: _ = try (body.take(UInt32.self), body.take(UInt8.self))
    case .neighbour:
      _ = try (body.take(UInt64.self), body.take(UInt8.self), body.take(UInt32.self))
    }
  }

  /// Reads an answer as each request's sender does.
  private static func readAnswers(_ message: Message) throws(NetmapError) {
    let fields = try message.answer()
    try readAnswer(fields, { $0.put($1) }) { (body) throws(NetmapError) in try body.takeListing() }
    try readAnswer(fields, { $0.put($1) }) { (body) throws(NetmapError) in try body.takePortInfo() }
    try readAnswer(fields, { $0.put($1) }) { (body) throws(NetmapError) in
      try body.takePoolsInfo()
    }
    try readAnswer(fields, { $0.put($1) }) { (body) throws(NetmapError) in
      try body.takeSwitchAnswer()
    }
    try readAnswer(fields, { $0.put($1) }) { (body) throws(NetmapError) in try body.takeTunables() }
    guard let known = AttachedPort.shared else { fatalError("there is no port to attach") }
    try readAnswer(fields, { $0.put($1) }) { (body) throws(NetmapError) -> Registration in
      let found = try body.takeRegistration(region: known.region, segment: known.segment)
      require(
        (0..<known.region.byteCount).contains(found.interfaceOffset)
          && found.interfaceOffset < found.memorySize, "a registration names memory that exists")
      return found
    }
  }

  private static func readAnswer<T>(
    _ fields: MessageReader, _ write: (inout MessageWriter, T) -> Void,
    _ read: (inout MessageReader) throws(NetmapError) -> T
  ) throws(NetmapError) {
    var body = fields
    guard let value = try? read(&body) else { return }
    try checkCopy(value, write, read)
  }

  /// Writes a value that was read, reads it again, and requires that the second writing gives the same bytes.
  private static func checkCopy<T>(
    _ value: T, _ write: (inout MessageWriter, T) -> Void,
    _ read: (inout MessageReader) throws(NetmapError) -> T
  ) throws(NetmapError) {
    var first = MessageWriter()
    write(&first, value)
    var reader = MessageReader(first.bytes)
    let copy = try read(&reader)
    require(reader.isAtEnd, "nothing is left of a copy")
    var second = MessageWriter()
    write(&second, copy)
    require(first.bytes == second.bytes, "fields arrive as they were sent")
  }
}

/// A port whose memory an answer of the daemon can describe.
struct AttachedPort {
  let region: SharedMemory
  let segment: SyncSegment

  static let shared: AttachedPort? = {
    guard let engine = try? Engine(), let name = try? PortName("a{1"),
      let port = try? engine.register(RegisterRequest(name: name))
    else { return nil }
    return AttachedPort(region: port.region, segment: port.segment)
  }()
}
