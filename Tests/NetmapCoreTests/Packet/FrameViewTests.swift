import NetmapCore
import Testing

@Suite("Views of Ethernet, ARP and IP headers")
struct FrameViewTests {
  private typealias Samples = HeaderSamples

  @Test("an Ethernet header")
  func ethernet() {
    let bytes = Samples.frame(0x88cc, [1, 2, 3])
    check(bytes) { frame in
      #expect(frame.destination.bytes == Samples.station && frame.source.bytes == Samples.other)
      #expect(frame.headerLength == 14 && frame.vlan == nil && frame.innerVLAN == nil)
      #expect(Array(frame.payload) == [1, 2, 3] && frame.bytes.byteCount == 17)
      #expect(frame.etherType.rawValue == 0x88cc && !frame.hasIP && !frame.hasARP)
    }
  }

  @Test("one and two VLAN tags; a third one is the payload")
  func tags() {
    let packet = Samples.ipv4(17, Samples.udp([1]))
    let one = Samples.frame(0x0800, tags: [0x8100, 0xa007], packet)
    check(one) { frame in
      #expect(frame.etherType == .ipv4 && frame.headerLength == 18)
      #expect(frame.vlan == VLANTag(id: 7, priority: 5) && frame.innerVLAN == nil)
      #expect(frame.ipv4?.udp?.destinationPort == 8000)
    }
    check(Samples.frame(0x0800, tags: [0x88a8, 9, 0x8100, 8], packet)) { frame in
      #expect(frame.etherType == .ipv4 && frame.headerLength == 22)
      #expect(frame.vlan?.id == 9 && frame.innerVLAN?.id == 8)
      #expect(frame.ipv4?.udp?.destinationPort == 8000)
    }
    check(Samples.frame(0x0800, tags: [0x8100, 1, 0x8100, 2, 0x8100, 3], packet)) { frame in
      #expect(frame.etherType == .vlan && frame.headerLength == 22 && !frame.hasIP)
    }
  }

  @Test("an ARP packet; ARP packets for other protocols have no view")
  func arp() {
    check(Samples.frame(0x0806, Samples.arp() + [0, 0, 0])) { frame in
      #expect(frame.hasARP == true)
      guard let packet = frame.arp else { return }
      #expect(packet.operation == .request && packet.bytes.byteCount == 28)
      #expect(packet.senderHardwareAddress.bytes == Samples.other)
      #expect(packet.senderAddress == IPv4Address(10, 0, 0, 1))
      #expect(packet.targetHardwareAddress == .zero)
      #expect(packet.targetAddress == IPv4Address(10, 0, 0, 2))
    }
    for place in 0..<6 {
      var packet = Samples.arp()
      packet[place] ^= 1
      check(Samples.frame(0x0806, packet)) { #expect($0.hasARP == false) }
    }
  }

  @Test("an IPv4 packet with options; padding does not belong to it")
  func ipv4() {
    let datagram = Samples.udp([1, 2, 3])
    let packet = Samples.ipv4(17, datagram, options: [7, 4, 4, 0])
    check(Samples.frame(0x0800, packet + [0, 0, 0, 0, 0])) { frame in
      #expect(frame.hasIP == true)
      guard let packet = frame.ipv4 else { return }
      #expect(packet.headerLength == 24 && packet.totalLength == 35 && !packet.isTruncated)
      #expect(packet.dscp == 46 && packet.ecn == 1 && packet.identification == 0x1234)
      #expect(packet.dontFragment && !packet.moreFragments && packet.fragmentOffset == 0)
      #expect(!packet.isFragment && packet.timeToLive == 64 && packet.nextProtocol == .udp)
      #expect(packet.source == IPv4Address(10, 0, 0, 1))
      #expect(packet.destination == IPv4Address(10, 0, 0, 2))
      #expect(Array(packet.options) == [7, 4, 4, 0] && Array(packet.payload) == datagram)
      #expect(packet.isChecksumValid && packet.isPayloadChecksumValid && packet.checksum != 0)
    }
  }

  @Test(
    "an IPv4 header with a wrong version or an impossible length has no view",
    arguments: [(0, 0x65), (0, 0x44), (0, 0x4f), (3, 19), (2, 0)])
  func malformedIPv4(_ change: (place: Int, value: UInt8)) {
    var packet = Samples.ipv4(17, [])
    packet[2] = change.place == 2 ? 0 : packet[2]
    packet[3] = change.place == 2 ? 0 : packet[3]
    packet[change.place] = change.value
    check(Samples.frame(0x0800, packet)) { #expect($0.hasIP == false) }
  }

  @Test("fragments have no transport header")
  func fragments() {
    let datagram = Samples.udp([1, 2, 3, 4, 5])
    let fields: [(field: UInt16, offset: Int, more: Bool)] = [(0x2000, 0, true), (3, 24, false)]
    for (field, offset, more) in fields {
      check(Samples.frame(0x0800, Samples.ipv4(17, datagram, fragment: field))) { frame in
        guard let packet = frame.ipv4 else { return Samples.fail("no packet") }
        #expect(packet.isFragment && packet.fragmentOffset == offset)
        #expect(packet.moreFragments == more && !packet.dontFragment)
        #expect(packet.udp?.length == nil && !packet.isPayloadChecksumValid)
        #expect(Array(packet.payload) == datagram)
      }
    }
  }

  @Test("a truncated packet has the payload bytes that are there")
  func truncated() {
    let packet = Samples.ipv4(17, Samples.udp([1, 2, 3, 4]))
    check(Samples.frame(0x0800, packet.dropLast(2))) { frame in
      guard let packet = frame.ipv4, let datagram = packet.udp else {
        return Samples.fail("no packet")
      }
      #expect(packet.isTruncated && packet.totalLength == 32 && !packet.isPayloadChecksumValid)
      #expect(datagram.isTruncated && datagram.length == 12)
      #expect(Array(datagram.payload) == [1, 2])
    }
  }

  @Test("an IPv6 packet; padding does not belong to it")
  func ipv6() {
    let datagram = Samples.udp([1, 2, 3], isIPv4: false)
    check(Samples.frame(0x86dd, Samples.ipv6(17, datagram) + [0, 0])) { frame in
      guard let packet = frame.ipv6 else { return Samples.fail("no packet") }
      #expect(packet.trafficClass == 0xb9 && packet.flowLabel == 0x12345 && packet.hopLimit == 60)
      #expect(packet.source == IPv6Address("fd00::1"))
      #expect(packet.destination == IPv6Address("fd00::2"))
      #expect(packet.headerLength == 40 && packet.payloadLength == 11 && !packet.isTruncated)
      #expect(packet.nextProtocol == .udp && !packet.isFragment)
      #expect(Array(packet.payload) == datagram && packet.isPayloadChecksumValid)
      #expect(packet.udp?.sourcePort == 1111 && packet.tcp?.window == nil)
    }
  }

  @Test("IPv6 extension headers are skipped")
  func extensions() {
    let segment = Samples.tcp([1, 2, 3], isIPv4: false)
    let packet = Samples.ipv6(6, segment, extensions: Samples.extensions)
    check(Samples.frame(0x86dd, packet)) { frame in
      guard let packet = frame.ipv6 else { return Samples.fail("no packet") }
      #expect(packet.headerLength == 40 + 16 + 8 + 24 && packet.nextProtocol == .tcp)
      #expect(Array(packet.payload) == segment && packet.tcp?.destinationPort == 8000)
      #expect(!packet.isFragment && packet.isPayloadChecksumValid)
    }
    // A header that is longer than the packet.
    let long = Samples.ipv6(6, segment, extensions: [(60, [0, 200, 0, 0, 0, 0, 0, 0])])
    check(Samples.frame(0x86dd, long)) { #expect($0.hasIP == false) }
    // The packet ends where an extension header should begin; what follows is padding.
    let none = Samples.ipv6(43, []) + [UInt8](repeating: 0, count: 20)
    check(Samples.frame(0x86dd, none)) { #expect($0.hasIP == false) }
    // Of nine headers, the last one is the payload.
    let nine = Samples.ipv6(
      6, segment, extensions: Array(repeating: (60, [UInt8](repeating: 0, count: 8)), count: 9))
    check(Samples.frame(0x86dd, nine)) { frame in
      #expect(frame.ipv6?.nextProtocol.rawValue == 60 && frame.ipv6?.headerLength == 104)
    }
  }

  @Test("an IPv6 fragment has no transport header")
  func fragmentIPv6() {
    let datagram = Samples.udp([1, 2, 3], isIPv4: false)
    for field: UInt8 in [1, 8] {
      let packet = Samples.ipv6(17, datagram, extensions: [(44, [0, 0, 0, field, 0, 0, 0, 1])])
      check(Samples.frame(0x86dd, packet)) { frame in
        guard let packet = frame.ipv6 else { return Samples.fail("no packet") }
        #expect(packet.isFragment && packet.nextProtocol == .udp && packet.udp?.length == nil)
        #expect(!packet.isPayloadChecksumValid && Array(packet.payload) == datagram)
      }
    }
  }

  private func check(_ bytes: [UInt8], _ body: (EthernetFrame) -> Void) {
    guard let frame = EthernetFrame(bytes.bytes) else {
      Issue.record("no frame")
      return
    }
    body(frame)
  }
}

extension EthernetFrame {
  fileprivate var hasIP: Bool { ipv4?.headerLength != nil || ipv6?.headerLength != nil }
  fileprivate var hasARP: Bool { arp?.operation != nil }
}
