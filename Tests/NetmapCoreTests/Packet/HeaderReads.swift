import NetmapCore
import Testing

/// Reads every field of every view.
enum HeaderReads {
  /// The number of views besides EthernetFrame; ``one(_:_:)`` makes one of them.
  static let count = 6

  /// Reads all headers of a frame.
  ///
  /// - Returns: The number of headers that were valid.
  static func all(_ bytes: RawSpan) -> Int {
    guard let frame = EthernetFrame(bytes) else { return 0 }
    _ = (frame.destination, frame.source, frame.etherType, frame.vlan, frame.innerVLAN)
    touch(frame.payload)
    var reached = 1
    if let packet = frame.arp { reached += read(packet) }
    if let packet = frame.ipv4 { reached += read(packet) }
    if let packet = frame.ipv6 { reached += read(packet) }
    return reached
  }

  /// Makes one view of bytes that may be anything.
  static func one(_ view: Int, _ bytes: RawSpan) {
    switch view {
    case 0: if let packet = ARPPacket(bytes) { _ = read(packet) }
    case 1: if let packet = IPv4Packet(bytes) { _ = read(packet) }
    case 2: if let packet = IPv6Packet(bytes) { _ = read(packet) }
    case 3: if let datagram = UDPDatagram(bytes) { _ = read(datagram) }
    case 4: if let segment = TCPSegment(bytes) { _ = read(segment) }
    default: if let message = ICMPMessage(bytes) { _ = read(message) }
    }
  }

  /// Reads all bytes.
  private static func touch(_ bytes: RawSpan) {
    _ = InternetChecksum(bytes).field
    if bytes.byteCount > 0 { _ = (bytes[0], bytes[bytes.byteCount - 1]) }
  }

  private static func read(_ packet: ARPPacket) -> Int {
    _ = (packet.operation, packet.senderHardwareAddress, packet.senderAddress)
    _ = (packet.targetHardwareAddress, packet.targetAddress)
    touch(packet.bytes)
    return 1
  }

  private static func read(_ packet: IPv4Packet) -> Int {
    _ = (packet.dscp, packet.ecn, packet.identification, packet.dontFragment, packet.moreFragments)
    _ = (packet.fragmentOffset, packet.isFragment, packet.timeToLive, packet.nextProtocol)
    _ = (packet.checksum, packet.source, packet.destination, packet.isTruncated)
    _ = (packet.isChecksumValid, packet.isPayloadChecksumValid)
    #expect(packet.headerLength + packet.payload.byteCount == packet.bytes.byteCount)
    #expect(packet.bytes.byteCount <= packet.totalLength)
    touch(packet.options)
    touch(packet.payload)
    var reached = 1
    if let datagram = packet.udp { reached += read(datagram) }
    if let segment = packet.tcp { reached += read(segment) }
    if let message = packet.icmp { reached += read(message) }
    return reached
  }

  private static func read(_ packet: IPv6Packet) -> Int {
    _ = (packet.trafficClass, packet.flowLabel, packet.hopLimit, packet.source, packet.destination)
    _ = (packet.nextProtocol, packet.isFragment, packet.isTruncated, packet.isPayloadChecksumValid)
    #expect(packet.headerLength + packet.payload.byteCount == packet.bytes.byteCount)
    #expect(packet.bytes.byteCount <= 40 + packet.payloadLength)
    touch(packet.payload)
    var reached = 1
    if let datagram = packet.udp { reached += read(datagram) }
    if let segment = packet.tcp { reached += read(segment) }
    if let message = packet.icmp { reached += read(message) }
    return reached
  }

  private static func read(_ datagram: UDPDatagram) -> Int {
    _ = (datagram.sourcePort, datagram.destinationPort, datagram.checksum, datagram.isTruncated)
    #expect(datagram.bytes.byteCount <= datagram.length)
    touch(datagram.payload)
    return 1
  }

  private static func read(_ segment: TCPSegment) -> Int {
    _ = (segment.sourcePort, segment.destinationPort, segment.sequence, segment.acknowledgment)
    _ = (segment.flags, segment.window, segment.checksum, segment.urgentPointer)
    touch(segment.options)
    touch(segment.payload)
    return 1
  }

  private static func read(_ message: ICMPMessage) -> Int {
    _ = (message.type, message.code, message.checksum, message.identifier, message.sequence)
    touch(message.payload)
    return 1
  }

  /// Checks that a flow says the same as the views, where there are views.
  static func compare(_ flow: FlowHeaders, _ bytes: RawSpan) {
    guard let frame = EthernetFrame(bytes) else {
      #expect(flow == FlowHeaders())
      return
    }
    #expect(flow.etherType == frame.etherType.rawValue)
    if let packet = frame.ipv4 {
      #expect(flow.family == .ipv4 && flow.protocolNumber == packet.nextProtocol.rawValue)
      #expect(flow.isFragment == packet.isFragment)
      #expect(flow.source == FlowAddress(low: UInt64(packet.source.rawValue)))
      #expect(flow.destination == FlowAddress(low: UInt64(packet.destination.rawValue)))
      if let datagram = packet.udp {
        #expect(flow.hasPorts && flow.sourcePort == datagram.sourcePort)
        #expect(flow.destinationPort == datagram.destinationPort)
      }
    }
    if let packet = frame.ipv6 {
      #expect(flow.family == .ipv6)
      #expect(flow.source == FlowAddress(high: packet.source.high, low: packet.source.low))
      // A view ends where the packet ends; a flow also reads extension headers in the padding.
      guard packet.bytes.byteCount + frame.headerLength == bytes.byteCount else { return }
      #expect(flow.protocolNumber == packet.nextProtocol.rawValue)
      #expect(flow.isFragment == packet.isFragment)
      if let segment = packet.tcp {
        #expect(flow.hasPorts && flow.sourcePort == segment.sourcePort)
        #expect(flow.destinationPort == segment.destinationPort)
      }
    }
  }
}

/// Makes every change that the mutable views offer.
enum HeaderWrites {
  static func all(_ bytes: inout MutableRawSpan) {
    guard var frame = MutableEthernetFrame(&bytes) else { return }
    frame.swapAddresses()
    frame.destination = frame.source
    frame.source = .broadcast
    _ = frame.view.destination
    if var packet = frame.arp {
      packet.reply(with: .broadcast)
      _ = packet.view.operation
    }
    guard var packet = frame.ipv4 else { return }
    packet.swapAddresses()
    packet.swapPorts()
    packet.source = packet.destination
    packet.destination = .broadcast
    _ = packet.decrementTimeToLive()
    packet.updateChecksums()
    var payload = packet.payload
    if payload.byteCount > 0 { payload[payload.byteCount - 1] = 0 }
    packet.updateChecksums()
    #expect(packet.view.isChecksumValid == true)
  }
}
