import Netmap

/// A minimal host: answers ARP and ping for one IPv4 address.
///
/// It runs on an interface (`responder netmap:NAME 10.0.0.2`), or behind an interface that is on a
/// switch (`responder vale0:p 10.0.0.2`).
@main
struct Responder {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count == 3, let host = Responder(address: arguments[2]) else {
      return print("usage: responder PORT ADDRESS")
    }
    do {
      // The engine that all processes share: the other ports of a switch belong to it.
      let port = try NetmapPort(arguments[1], engine: HostEngine.shared)
      while true { try host.answer(on: port, timeout: nil) }
    } catch {
      print("responder: \(error)")
    }
  }

  let address: [UInt8]
  let hardwareAddress: [UInt8]

  /// - Parameter address: Dotted decimal.
  init?(address: String) {
    let numbers = address.split(separator: ".", omittingEmptySubsequences: false)
      .compactMap { UInt8($0) }
    guard numbers.count == 4 else { return nil }
    self.address = numbers
    // A locally administered address, which no vendor assigns.
    hardwareAddress = [0x02, 0x00] + numbers
  }

  /// Waits for frames, and answers the requests among them.
  @discardableResult
  func answer(on port: NetmapPort, timeout: Duration?) throws(NetmapError) -> Int {
    try port.wait(for: .receive, timeout: timeout)
    var input = port.receiveRing(0)
    var answers = 0
    while let packet = input.next() {
      guard let reply = reply(to: packet.bytes) else { continue }
      // If there is no room, the reply is lost, as on any wire; the sender of the request asks again.
      if (try? port.inject(reply)) != nil { answers += 1 }
    }
    try port.sync(.transmit)
    return answers
  }

  /// The reply to a frame; nil when the frame is no request to this host.
  func reply(to frame: RawSpan) -> [UInt8]? {
    guard frame.byteCount >= 42 else { return nil }
    var reply = (0..<frame.byteCount).map { frame[$0] }
    reply.replaceSubrange(0..<12, with: reply[6..<12] + hardwareAddress)
    switch (frame.uint16(at: 12), frame[14]) {
    case (0x0806, 0) where frame.uint16(at: 20) == 1 && Array(reply[38..<42]) == address:
      // The sender of the request becomes the target of the reply (RFC 826).
      let asker = reply[22..<32]
      reply.replaceSubrange(20..<42, with: [0, 2] + hardwareAddress + address + asker)
    case (0x0800, 0x45)
    where frame[23] == 1 && frame[34] == 8 && Array(reply[30..<34]) == address:
      // Return an echo request to its sender (RFC 792). Adding 0x0800 to the checksum makes up for
      // the type, which changes from 8 to 0.
      reply.replaceSubrange(26..<34, with: address + reply[26..<30])
      reply[34] = 0
      let sum = UInt32(frame.uint16(at: 36)) + 0x0800
      let folded = UInt16(truncatingIfNeeded: sum + sum >> 16)
      reply.replaceSubrange(36..<38, with: [UInt8(folded >> 8), UInt8(folded & 0xff)])
    default: return nil
    }
    return reply
  }
}
