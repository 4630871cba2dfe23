@testable import NetmapCore

extension FuzzTarget {
  /// A frame. All views read and edit it in memory of exactly its length, which the address sanitizer guards.
  static let packets = FuzzTarget(
    name: "packets", subject: "headers of packets: views, views that edit, flows, checksums"
  ) { bytes in
    read(bytes)
    for view in 0..<6 { readOne(view, Array(bytes.dropFirst(14))) }
    checkFlow(bytes)
    edit(bytes)
  }

  private static func read(_ bytes: [UInt8]) {
    let span = bytes.bytes
    require(InternetChecksum(span).field == ~slowSum(bytes), "a checksum is that of RFC 1071")
    guard let frame = EthernetFrame(span) else {
      require(bytes.count < 22, "a frame with a header and two tags is a frame")
      return
    }
    require([14, 18, 22].contains(frame.headerLength), "a header has up to two tags")
    require(frame.payload.byteCount + frame.headerLength == bytes.count, "the payload is the rest")
    _ = (frame.destination, frame.source, frame.etherType, frame.vlan, frame.innerVLAN)
    if let packet = frame.arp { touch(packet.bytes) }
    if let packet = frame.ipv4 { readIPv4(packet) }
    if let packet = frame.ipv6 { readIPv6(packet) }
  }

  private static func readOne(_ view: Int, _ bytes: [UInt8]) {
    let span = bytes.bytes
    switch view {
    case 0:
      if let packet = ARPPacket(span) {
        _ = (packet.operation, packet.senderHardwareAddress, packet.senderAddress)
        _ = (packet.targetHardwareAddress, packet.targetAddress)
        touch(packet.bytes)
      }
    case 1: if let packet = IPv4Packet(span) { readIPv4(packet) }
    case 2: if let packet = IPv6Packet(span) { readIPv6(packet) }
    case 3: if let datagram = UDPDatagram(span) { readUDP(datagram) }
    case 4: if let segment = TCPSegment(span) { readTCP(segment) }
    default: if let message = ICMPMessage(span) { readICMP(message) }
    }
  }

  private static func touch(_ bytes: RawSpan) {
    _ = InternetChecksum(bytes).field
    if bytes.byteCount > 0 { _ = (bytes[0], bytes[bytes.byteCount - 1]) }
  }

  private static func readIPv4(_ packet: IPv4Packet) {
    _ = (packet.dscp, packet.ecn, packet.identification, packet.dontFragment, packet.moreFragments)
    _ = (packet.fragmentOffset, packet.isFragment, packet.timeToLive, packet.nextProtocol)
    _ = (packet.checksum, packet.source, packet.destination, packet.isTruncated)
    _ = (packet.isChecksumValid, packet.isPayloadChecksumValid)
    require((20...60).contains(packet.headerLength), "an IPv4 header has 20 to 60 bytes")
    require(
      packet.headerLength + packet.payload.byteCount == packet.bytes.byteCount
        && packet.bytes.byteCount <= packet.totalLength, "a packet ends where its header says")
    touch(packet.options)
    touch(packet.payload)
    if let datagram = packet.udp { readUDP(datagram) }
    if let segment = packet.tcp { readTCP(segment) }
    if let message = packet.icmp { readICMP(message) }
  }

  private static func readIPv6(_ packet: IPv6Packet) {
    _ = (packet.trafficClass, packet.flowLabel, packet.hopLimit, packet.source, packet.destination)
    _ = (packet.nextProtocol, packet.isFragment, packet.isTruncated, packet.isPayloadChecksumValid)
    require(
      packet.headerLength + packet.payload.byteCount == packet.bytes.byteCount
        && packet.bytes.byteCount <= 40 + packet.payloadLength,
      "a packet ends where its header says")
    touch(packet.payload)
    if let datagram = packet.udp { readUDP(datagram) }
    if let segment = packet.tcp { readTCP(segment) }
    if let message = packet.icmp { readICMP(message) }
  }

  private static func readUDP(_ datagram: UDPDatagram) {
    _ = (datagram.sourcePort, datagram.destinationPort, datagram.checksum, datagram.isTruncated)
    require(datagram.bytes.byteCount <= datagram.length, "a datagram ends where its header says")
    touch(datagram.payload)
  }

  private static func readTCP(_ segment: TCPSegment) {
    _ = (segment.sourcePort, segment.destinationPort, segment.sequence, segment.acknowledgment)
    _ = (segment.flags, segment.window, segment.checksum, segment.urgentPointer)
    touch(segment.options)
    touch(segment.payload)
  }

  private static func readICMP(_ message: ICMPMessage) {
    _ = (message.type, message.code, message.checksum, message.identifier, message.sequence)
    touch(message.payload)
  }

  /// A flow says the same as the views, where there are views.
  private static func checkFlow(_ bytes: [UInt8]) {
    let flow = unsafe bytes.withUnsafeBytes { bytes in
      unsafe bytes.baseAddress.map { unsafe FlowHeaders($0, bytes.count) } ?? FlowHeaders()
    }
    guard let frame = EthernetFrame(bytes.bytes) else {
      return require(flow == FlowHeaders(), "no frame has no flow")
    }
    require(flow.etherType == frame.etherType.rawValue, "the type is the frame's")
    if let packet = frame.ipv4 {
      require(
        flow.family == .ipv4 && flow.protocolNumber == packet.nextProtocol.rawValue
          && flow.isFragment == packet.isFragment
          && flow.source == FlowAddress(low: UInt64(packet.source.rawValue))
          && flow.destination == FlowAddress(low: UInt64(packet.destination.rawValue)),
        "a flow of IPv4 is that of the view")
      if let datagram = packet.udp {
        require(
          flow.hasPorts && flow.sourcePort == datagram.sourcePort
            && flow.destinationPort == datagram.destinationPort, "its ports are the view's")
      }
    }
    // A view ends where the packet ends; a flow also reads extension headers in the padding.
    if let packet = frame.ipv6, packet.bytes.byteCount + frame.headerLength == bytes.count {
      require(
        flow.family == .ipv6 && flow.protocolNumber == packet.nextProtocol.rawValue
          && flow.isFragment == packet.isFragment
          && flow.source == FlowAddress(high: packet.source.high, low: packet.source.low),
        "a flow of IPv6 is that of the view")
      if let segment = packet.tcp {
        require(
          flow.hasPorts && flow.sourcePort == segment.sourcePort
            && flow.destinationPort == segment.destinationPort, "its ports are the view's")
      }
    }
  }

  /// Makes every change that the views offer. A valid checksum stays valid.
  private static func edit(_ bytes: [UInt8]) {
    var bytes = bytes
    var span = bytes.mutableBytes
    guard var frame = MutableEthernetFrame(&span) else { return }
    let (source, destination) = (frame.source, frame.destination)
    frame.swapAddresses()
    require(frame.source == destination && frame.destination == source, "addresses are swapped")
    if var packet = frame.arp {
      packet.reply(with: .broadcast)
      touch(packet.view.bytes)
    }
    guard var packet = frame.ipv4 else { return }
    packet.updateChecksums()
    require(packet.view.isChecksumValid, "an updated checksum is valid")
    let payload = packet.view.isPayloadChecksumValid
    require(payload == hasChecksum(packet.view), "so is the payload's, if it has one")
    packet.source = packet.destination
    packet.destination = .broadcast
    packet.swapAddresses()
    packet.swapPorts()
    let old = packet.timeToLive
    require(packet.decrementTimeToLive() == (old > 1), "a packet with time to live goes on")
    require(packet.timeToLive == (old > 1 ? old - 1 : old), "one is taken off")
    require(packet.view.isChecksumValid, "changes keep the checksum valid")
    require(packet.view.isPayloadChecksumValid == payload, "and the payload's")
    var bytesBehind = packet.payload
    if bytesBehind.byteCount > 0 { bytesBehind[bytesBehind.byteCount - 1] = 0 }
  }
}

/// Whether a packet contains all bytes that the checksum of its payload covers.
private func hasChecksum(_ packet: IPv4Packet) -> Bool {
  guard !packet.isFragment, !packet.isTruncated else { return false }
  if let datagram = packet.udp { return !datagram.isTruncated }
  return packet.tcp != nil || packet.icmp != nil
}

/// The one's complement sum of RFC 1071, computed in a slow and simple way.
func slowSum(_ bytes: some Sequence<UInt8>, adding initial: UInt32 = 0) -> UInt16 {
  var (sum, isHigh) = (initial, true)
  for byte in bytes {
    sum += isHigh ? UInt32(byte) << 8 : UInt32(byte)
    isHigh.toggle()
    sum = (sum & 0xffff) + sum >> 16
  }
  sum = (sum & 0xffff) + sum >> 16
  return UInt16((sum & 0xffff) + sum >> 16)
}
