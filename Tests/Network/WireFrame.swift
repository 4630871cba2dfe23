/// A frame as a wire carries it, read by the most direct code: VLAN tags, the IP packet, and its checksums.
struct WireFrame {
  /// Type and control information of each VLAN tag, outermost first.
  private(set) var tags: [[UInt16]] = []
  /// The bytes behind the UDP or TCP header.
  let payload: [UInt8]
  /// The checksum in the UDP or TCP header.
  let checksum: UInt16
  /// Whether the checksums of the IP header and of the UDP or TCP packet are right.
  let isRight: Bool

  /// Nil for anything but UDP and TCP over IPv4 without options, or over IPv6 without extension headers.
  init?(_ frame: [UInt8]) {
    func field(_ offset: Int) -> Int { Int(frame[offset]) << 8 | Int(frame[offset + 1]) }
    var at = 12
    while at + 4 <= frame.count, field(at) == 0x8100 || field(at) == 0x88a8 {
      tags.append([UInt16(field(at)), UInt16(field(at + 2))])
      at += 4
    }
    at += 2
    guard at + 28 <= frame.count else { return nil }
    let (transport, end, number, addresses): (Int, Int, UInt8, [UInt8])
    var headerIsRight = true
    switch field(at - 2) {
    case 0x0800 where frame[at] == 0x45:
      (transport, end, number) = (at + 20, at + field(at + 2), frame[at + 9])
      addresses = Array(frame[(at + 12)..<(at + 20)])
      headerIsRight = SampleFrames.checksum(Array(frame[at..<transport])) == 0xffff
    case 0x86dd where at + 48 <= frame.count:
      (transport, end, number) = (at + 40, at + 40 + field(at + 4), frame[at + 6])
      addresses = Array(frame[(at + 8)..<(at + 40)])
    default: return nil
    }
    let (header, place): (Int, Int)
    switch number {
    case 17: (header, place) = (8, transport + 6)
    case 6 where transport + 13 <= frame.count:
      (header, place) = (Int(frame[transport + 12] >> 4) * 4, transport + 16)
    default: return nil
    }
    guard place + 2 <= transport + header, transport + header <= end, end <= frame.count
    else { return nil }
    checksum = UInt16(field(place))
    payload = Array(frame[(transport + header)..<end])
    let packet = Array(frame[transport..<end])
    let pseudo = addresses + [0, number, UInt8(packet.count >> 8), UInt8(packet.count & 255)]
    // 0 means that a UDP packet has no checksum, which IPv6 does not allow (RFC 8200).
    let isMissing = number == 17 && checksum == 0
    isRight = headerIsRight && !isMissing && SampleFrames.checksum(pseudo + packet) == 0xffff
  }
}
