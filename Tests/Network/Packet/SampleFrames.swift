/// Realistic frames, made from a seed.
struct SampleFrames {
  private var state: UInt64

  init(seed: UInt64) {
    state = seed | 1
  }

  private mutating func random(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int((state >> 33) % UInt64(bound))
  }

  /// `count` frames of 42 to 1518 bytes: VLAN-tagged frames, IPv4 and IPv6, UDP and TCP, and others.
  mutating func mixed(_ count: Int) -> [[UInt8]] {
    (0..<count).map { _ in
      switch random(6) {
      case 0: tagged(packet(Self.ipv4(protocol: 17), 42 + random(1473)), 1 + random(4094))
      case 1: tagged(packet(Self.ipv6(protocol: 6), 74 + random(1441)), 1 + random(4094))
      case 2: packet(Self.ipv6(protocol: 17), 62 + random(1453))
      case 3: packet(Self.ipv4(protocol: 6), 54 + random(1461))
      case 4: padded(Self.ethernet(type: 0x0806), to: 42)
      default: packet(Self.ipv4(protocol: 17), 42 + random(1473))
      }
    }
  }

  /// A packet whose IP header has the packet's length and a correct checksum.
  private mutating func packet(_ header: [UInt8], _ length: Int) -> [UInt8] {
    var frame = padded(header, to: length)
    func store(_ value: Int, _ offset: Int) {
      frame[offset] = UInt8(value >> 8)
      frame[offset + 1] = UInt8(value & 255)
    }
    if frame[12] == 0x08 {
      store(length - 14, 16)
      store(0, 24)
      store(Int(~Self.checksum(Array(frame[14..<34]))), 24)
    } else {
      store(length - 54, 18)
    }
    return frame
  }

  mutating func padded(_ header: [UInt8], to length: Int) -> [UInt8] {
    header + (0..<max(0, length - header.count)).map { _ in UInt8(random(256)) }
  }

  private mutating func tagged(_ frame: [UInt8], _ identifier: Int) -> [UInt8] {
    let priority = random(8) << 13
    let tag = [0x81, 0x00, UInt8((priority | identifier) >> 8), UInt8(identifier & 255)]
    return Array(frame[..<12]) + tag + Array(frame[12...])
  }

  /// An Ethernet header with the addresses that the tests use.
  static func ethernet(type: UInt16) -> [UInt8] {
    [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, UInt8(type >> 8), UInt8(type & 255)]
  }

  static func ipv4(protocol number: UInt8) -> [UInt8] {
    ethernet(type: 0x0800)
      + [0x45, 0, 0, 28, 0, 1, 0, 0, 64, number, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
      + [0x10, 0, 0, 9, 0, 8, 0, 0]
  }

  static func ipv6(protocol number: UInt8) -> [UInt8] {
    ethernet(type: 0x86dd)
      + [0x60, 0, 0, 0, 0, 8, number, 64]
      + [0xfd] + Array(repeating: 0, count: 14) + [1]
      + [0xfd] + Array(repeating: 0, count: 14) + [2]
      + [0x10, 0, 0, 9, 0, 8, 0, 0]
  }

  /// A UDP packet that the host behind the receiving end accepts.
  static func datagram(port: UInt16) -> [UInt8] {
    var frame = ipv4(protocol: 17) + Array(repeating: 0, count: 18)
    frame[36] = UInt8(port >> 8)
    frame[37] = UInt8(port & 255)
    frame[17] = 46
    frame[39] = 26
    let sum = ~checksum(Array(frame[14..<34]))
    frame[24] = UInt8(sum >> 8)
    frame[25] = UInt8(sum & 255)
    return frame
  }

  /// The sum of the Internet checksum, not complemented: 0xffff over data with a correct checksum.
  static func checksum(_ bytes: [UInt8]) -> UInt16 {
    var sum: UInt32 = 0
    for (index, byte) in bytes.enumerated() {
      sum += index % 2 == 0 ? UInt32(byte) << 8 : UInt32(byte)
    }
    while sum > 0xffff { sum = (sum & 0xffff) + (sum >> 16) }
    return UInt16(sum)
  }

  /// Whether the UDP or TCP checksum of an IPv4 packet and the checksum of its IP header are correct.
  static func checksumsAreRight(_ frame: [UInt8]) -> Bool {
    let length = Int(frame[16]) << 8 | Int(frame[17])
    guard frame.count >= 14 + length, length >= 28 else { return false }
    let segment = Array(frame[34..<(14 + length)])
    let pseudo =
      Array(frame[26..<34]) + [0, frame[23], UInt8(segment.count >> 8), UInt8(segment.count & 255)]
    return checksum(Array(frame[14..<34])) == 0xffff && checksum(pseudo + segment) == 0xffff
  }
}
