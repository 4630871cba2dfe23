import NetmapCore
import Testing

@Suite("Editing packets in place")
struct MutablePacketTests {
  private typealias Samples = HeaderSamples

  /// Frames with IPv4 packets that are whole: UDP, TCP with a VLAN tag, ICMP with two tags and
  /// options.
  private var packets: [[UInt8]] { Array(Samples.all[1..<4]) }

  private func isValid(_ bytes: [UInt8]) -> Bool {
    guard let packet = EthernetFrame(bytes.bytes)?.ipv4 else { return false }
    return packet.isChecksumValid && packet.isPayloadChecksumValid
  }

  /// Edits the packet in each frame, and checks that its checksums are still right.
  private func edit(
    _ frames: [[UInt8]], _ body: (inout MutableIPv4Packet) -> Void,
    then check: (IPv4Packet) -> Void
  ) {
    for frame in frames {
      var copy = frame
      var bytes = copy.mutableBytes
      guard var ethernet = MutableEthernetFrame(&bytes), var packet = ethernet.ipv4 else {
        Issue.record("no packet")
        continue
      }
      body(&packet)
      check(packet.view)
      #expect(isValid(copy))
    }
  }

  @Test("an Ethernet header")
  func ethernet() {
    var bytes = Samples.frame(0x88cc, tags: [0x8100, 7], [1, 2, 3])
    var span = bytes.mutableBytes
    guard var frame = MutableEthernetFrame(&span) else { return Samples.fail("no frame") }
    #expect(frame.etherType.rawValue == 0x88cc && frame.headerLength == 18)
    frame.swapAddresses()
    #expect(frame.destination.bytes == Samples.other && frame.source.bytes == Samples.station)
    frame.destination = .broadcast
    frame.source = MACAddress(1, 2, 3, 4, 5, 6)
    var payload = frame.payload
    payload[0] = 9
    #expect(frame.view.vlan?.id == 7 && frame.view.source == MACAddress(1, 2, 3, 4, 5, 6))
    #expect(bytes[..<12] == [255, 255, 255, 255, 255, 255, 1, 2, 3, 4, 5, 6])
    #expect(bytes[12...] == [0x81, 0, 0, 7, 0x88, 0xcc, 9, 2, 3])
  }

  @Test("the reply to an ARP request")
  func arp() {
    var bytes = Samples.frame(0x0806, Samples.arp())
    var span = bytes.mutableBytes
    guard var frame = MutableEthernetFrame(&span), var packet = frame.arp else {
      return Samples.fail("no packet")
    }
    let address = MACAddress(2, 0, 0, 0, 0, 7)
    packet.reply(with: address)
    #expect(packet.operation == .reply && packet.senderHardwareAddress == address)
    #expect(packet.senderAddress == IPv4Address(10, 0, 0, 2))
    #expect(packet.targetHardwareAddress.bytes == Samples.other)
    #expect(packet.targetAddress == IPv4Address(10, 0, 0, 1))
    #expect(Array(bytes[14..<22]) == Samples.words(1, 0x0800, 0x0604, 2))
  }

  @Test("swapped addresses and ports")
  func swap() {
    edit(packets) { packet in
      packet.swapAddresses()
      packet.swapPorts()
    } then: { packet in
      #expect(packet.source == IPv4Address(10, 0, 0, 2))
      #expect(packet.destination == IPv4Address(10, 0, 0, 1))
      #expect(packet.udp?.sourcePort ?? 8000 == 8000)
      #expect(packet.tcp?.sourcePort ?? 8000 == 8000)
      #expect(packet.icmp?.type ?? 8 == ICMPMessage.echoRequest)
    }
  }

  @Test("new addresses")
  func addresses() {
    for number: UInt32 in [0, 1, 0x0a00_0001, 0x7fff_ffff, 0xffff_0000, .max] {
      edit(packets) { packet in
        packet.source = IPv4Address(rawValue: number)
        packet.destination = IPv4Address(rawValue: ~number)
      } then: { packet in
        #expect(packet.source.rawValue == number && packet.destination.rawValue == ~number)
      }
    }
  }

  @Test("a UDP datagram without a checksum stays without one")
  func noChecksum() {
    var bytes = packets[0]
    bytes.replaceSubrange(40..<42, with: [0, 0])
    edit([bytes]) { packet in
      packet.source = IPv4Address(1, 2, 3, 4)
    } then: { packet in
      #expect(packet.udp?.checksum == 0)
    }
  }

  @Test("the time to live counts down to 1")
  func timeToLive() {
    var forwarded = 0
    edit(packets) { packet in
      while packet.decrementTimeToLive() { forwarded += 1 }
    } then: { packet in
      #expect(packet.timeToLive == 1)
    }
    #expect(forwarded == 63 * packets.count)
    for value: UInt8 in [0, 1, 64, 255] {
      edit(packets) { packet in
        packet.timeToLive = value
        #expect(packet.decrementTimeToLive() == (value > 1))
      } then: { packet in
        #expect(packet.timeToLive == (value > 1 ? value - 1 : value))
      }
    }
  }

  @Test("checksums that are computed anew")
  func recomputed() {
    for frame in packets {
      var damaged = frame
      damaged[frame.count - 1] ^= 0xff
      guard let header = EthernetFrame(frame.bytes)?.headerLength else { continue }
      damaged[header + 8] = 3
      damaged.replaceSubrange(header + 10..<header + 12, with: [0x12, 0x34])
      #expect(!isValid(damaged))
      edit([damaged]) { packet in
        packet.updateChecksums()
      } then: { packet in
        #expect(packet.timeToLive == 3)
      }
    }
  }

  @Test("a checksum over zeros only")
  func zeros() {
    var bytes = Samples.frame(0x0800, Samples.ipv4(1, [UInt8](repeating: 0, count: 12)))
    #expect(!isValid(bytes))
    edit([bytes]) { packet in
      packet.updateChecksums()
    } then: { packet in
      #expect(packet.icmp?.checksum == 0xffff)
    }
    bytes[23] = 17
    bytes[39] = 12
    edit([bytes]) { packet in
      packet.updateChecksums()
    } then: { packet in
      #expect(packet.udp?.checksum != 0)
    }
  }

  @Test("updateChecksums() leaves the payload of a fragment or a truncated packet unchanged")
  func fragments() {
    let datagram = Samples.udp([1, 2, 3, 4, 5, 6, 7, 8])
    let later = Samples.frame(0x0800, Samples.ipv4(17, datagram, fragment: 3))
    let cut = Array(Samples.frame(0x0800, Samples.ipv4(17, datagram)).dropLast(3))
    for frame in [later, cut] {
      var copy = frame
      var bytes = copy.mutableBytes
      guard var ethernet = MutableEthernetFrame(&bytes), var packet = ethernet.ipv4 else {
        return Samples.fail("no packet")
      }
      packet.timeToLive = 9
      packet.updateChecksums()
      if frame == later {
        packet.swapPorts()
        packet.source = .any
      }
      #expect(packet.view.isChecksumValid == true)
      #expect(copy[34...] == frame[34...])
    }
  }

  @Test("the first fragment has the ports, and the checksum of the whole datagram")
  func firstFragment() {
    let datagram = Samples.udp([UInt8](0..<24))
    let first = Samples.frame(
      0x0800, Samples.ipv4(17, Array(datagram.prefix(16)), fragment: 0x2000))
    var copy = first
    var bytes = copy.mutableBytes
    guard var ethernet = MutableEthernetFrame(&bytes), var packet = ethernet.ipv4 else {
      return Samples.fail("no packet")
    }
    packet.source = IPv4Address(1, 2, 3, 4)
    packet.swapPorts()
    #expect(Array(copy[34..<38]) == Samples.words(8000, 1111))
    // The datagram put together again.
    var whole = Samples.ipv4(17, Array(copy[34...]) + datagram[16...])
    whole.replaceSubrange(12..<16, with: [1, 2, 3, 4])
    #expect(IPv4Packet(whole.bytes)?.isPayloadChecksumValid == true)
  }
}
