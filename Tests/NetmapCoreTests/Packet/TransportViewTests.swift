import NetmapCore
import Testing

@Suite("Views of UDP, TCP and ICMP headers")
struct TransportViewTests {
  private typealias Samples = HeaderSamples

  @Test("a UDP datagram; bytes behind it do not belong to it")
  func udp() {
    let bytes = Samples.udp([1, 2, 3]) + [9, 9]
    guard let datagram = UDPDatagram(bytes.bytes) else { return Samples.fail("no datagram") }
    #expect(datagram.sourcePort == 1111 && datagram.destinationPort == 8000)
    #expect(datagram.length == 11 && datagram.bytes.byteCount == 11 && !datagram.isTruncated)
    #expect(datagram.checksum != 0 && Array(datagram.payload) == [1, 2, 3])
    for length: UInt8 in 0..<8 {
      var short = bytes
      short[5] = length
      #expect(UDPDatagram(short.bytes)?.length == nil)
    }
  }

  @Test("a TCP segment with options")
  func tcp() {
    let bytes = Samples.tcp([1, 2, 3], options: [2, 4, 5, 0xb4])
    guard let segment = TCPSegment(bytes.bytes) else { return Samples.fail("no segment") }
    #expect(segment.sourcePort == 1111 && segment.destinationPort == 8000)
    #expect(segment.sequence == 0x0102_0304 && segment.acknowledgment == 0x0506_0708)
    #expect(segment.flags == [.ack, .psh] && segment.window == 0x2000)
    #expect(segment.urgentPointer == 7)
    #expect(segment.dataOffset == 24 && Array(segment.options) == [2, 4, 5, 0xb4])
    #expect(Array(segment.payload) == [1, 2, 3])
    for offset: UInt8 in [0, 4, 7, 15] {
      var wrong = bytes
      wrong[12] = offset << 4
      #expect(TCPSegment(wrong.bytes)?.dataOffset == nil)
    }
  }

  @Test("the flags of a TCP segment")
  func flags() {
    let all: TCPSegment.Flags = [.fin, .syn, .rst, .psh, .ack, .urg, .ece, .cwr]
    #expect(all.rawValue == 0xff)
    #expect(TCPSegment.Flags.syn.rawValue == 2 && TCPSegment.Flags.ack.rawValue == 16)
  }

  @Test("ICMP and ICMPv6 messages")
  func icmp() {
    let bytes = Samples.icmp([1, 2])
    guard let message = ICMPMessage(bytes.bytes) else { return Samples.fail("no message") }
    #expect(message.type == ICMPMessage.echoRequest && message.code == 0 && message.checksum != 0)
    #expect(message.identifier == 77 && message.sequence == 3 && Array(message.payload) == [1, 2])
    let frame = Samples.frame(0x86dd, Samples.ipv6(58, Samples.icmpv6([1])))
    #expect(EthernetFrame(frame.bytes)?.ipv6?.icmp?.type == ICMPMessage.echoRequestV6)
    // Each version of IP has its own ICMP.
    let wrong = Samples.frame(0x86dd, Samples.ipv6(1, Samples.icmp([1])))
    #expect(EthernetFrame(wrong.bytes)?.ipv6?.icmp?.type == nil)
  }

  @Test("checksums of payloads: right ones, ones with a flipped bit, and absent ones")
  func checksums() {
    for frame in Samples.all {
      guard let (isValid, isWhole, start) = payload(of: frame) else { continue }
      #expect(isValid == isWhole)
      for place in start..<frame.count where isWhole {
        var damaged = frame
        damaged[place] ^= 0x10
        #expect(payload(of: damaged)?.isValid != true)
      }
    }
    var four = Samples.frame(0x0800, Samples.ipv4(17, Samples.udp([1])))
    four.replaceSubrange(40..<42, with: [0, 0])
    #expect(payload(of: four)?.isValid == true)
    var six = Samples.frame(0x86dd, Samples.ipv6(17, Samples.udp([1], isIPv4: false)))
    six.replaceSubrange(60..<62, with: [0, 0])
    #expect(payload(of: six)?.isValid == false)
  }

  private func payload(of bytes: [UInt8]) -> (isValid: Bool, isWhole: Bool, start: Int)? {
    guard let frame = EthernetFrame(bytes.bytes) else { return nil }
    if let packet = frame.ipv4 {
      let start = frame.headerLength + packet.headerLength
      return (packet.isPayloadChecksumValid, !packet.isFragment, start)
    }
    guard let packet = frame.ipv6 else { return nil }
    let start = frame.headerLength + packet.headerLength
    return (packet.isPayloadChecksumValid, !packet.isFragment, start)
  }
}
