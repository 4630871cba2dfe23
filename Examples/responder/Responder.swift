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

  let address: IPv4Address
  let hardwareAddress: MACAddress

  /// - Parameter address: Dotted decimal.
  init?(address: String) {
    guard let address = IPv4Address(address) else { return nil }
    self.address = address
    // A locally administered address, which no vendor assigns.
    let bytes = address.bytes
    hardwareAddress = MACAddress(0x02, 0x00, bytes[0], bytes[1], bytes[2], bytes[3])
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
  func reply(to request: RawSpan) -> [UInt8]? {
    var reply = Array(request)
    var bytes = reply.mutableBytes
    guard var frame = MutableEthernetFrame(&bytes) else { return nil }
    if var packet = frame.arp {
      // RFC 826.
      guard packet.operation == .request, packet.targetAddress == address else { return nil }
      packet.reply(with: hardwareAddress)
    } else if var packet = frame.ipv4 {
      // RFC 792.
      guard packet.destination == address, packet.view.icmp?.type == ICMPMessage.echoRequest
      else { return nil }
      packet.swapAddresses()
      var message = packet.payload
      message[0] = ICMPMessage.echoReply
      packet.updateChecksums()
    } else {
      return nil
    }
    frame.destination = frame.source
    frame.source = hardwareAddress
    return reply
  }
}
