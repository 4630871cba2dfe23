import Testing

/// Builds frames, header by header, with right lengths and checksums.
enum HeaderSamples {
  static let station: [UInt8] = [0x02, 0, 0, 0, 0, 1]
  static let other: [UInt8] = [0x02, 0, 0, 0, 0, 2]
  static let source4: [UInt8] = [10, 0, 0, 1]
  static let target4: [UInt8] = [10, 0, 0, 2]
  static let source6: [UInt8] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
  static let target6: [UInt8] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]

  static func words(_ words: UInt16...) -> [UInt8] {
    words.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
  }

  /// The checksum of RFC 1071, byte by byte.
  static func checksum(_ bytes: [UInt8]) -> UInt16 {
    var sum = 0
    for (place, byte) in bytes.enumerated() { sum += Int(byte) << (place % 2 == 0 ? 8 : 0) }
    while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
    return ~UInt16(sum)
  }

  /// A frame from ``other`` to ``station``.
  static func frame(_ type: UInt16, tags: [UInt16] = [], _ payload: [UInt8]) -> [UInt8] {
    station + other + tags.flatMap { words($0) } + words(type) + payload
  }

  static func ipv4(
    _ next: UInt8, _ payload: [UInt8], options: [UInt8] = [], fragment: UInt16 = 0x4000
  ) -> [UInt8] {
    let length = 20 + options.count
    var header = [0x40 | UInt8(length / 4), 0xb9] + words(UInt16(length + payload.count), 0x1234)
    header += words(fragment) + [64, next, 0, 0] + source4 + target4 + options
    header.replaceSubrange(10..<12, with: words(checksum(header)))
    return header + payload
  }

  /// A packet with `extensions`: the number of each extension header, and its bytes, of which the
  /// first one is replaced.
  static func ipv6(
    _ next: UInt8, _ payload: [UInt8], extensions: [(UInt8, [UInt8])] = []
  ) -> [UInt8] {
    let chain = extensions.map(\.0) + [next]
    let headers = extensions.enumerated().flatMap { place, header in
      [chain[place + 1]] + header.1.dropFirst()
    }
    return [0x6b, 0x91, 0x23, 0x45] + words(UInt16(headers.count + payload.count))
      + [chain[0], 60] + source6 + target6 + headers + payload
  }

  /// Writes the checksum of a transport header at `offset`.
  static func finish(_ bytes: [UInt8], at offset: Int, _ next: UInt8, isIPv4: Bool) -> [UInt8] {
    let addresses = isIPv4 ? source4 + target4 : source6 + target6
    let pseudo = next == 1 ? [] : addresses + words(UInt16(next), UInt16(bytes.count))
    var result = bytes
    result.replaceSubrange(offset..<offset + 2, with: words(checksum(pseudo + bytes)))
    return result
  }

  static func udp(_ payload: [UInt8], isIPv4: Bool = true) -> [UInt8] {
    let header = words(1111, 8000, UInt16(8 + payload.count), 0)
    return finish(header + payload, at: 6, 17, isIPv4: isIPv4)
  }

  static func tcp(_ payload: [UInt8], options: [UInt8] = [], isIPv4: Bool = true) -> [UInt8] {
    var header = words(1111, 8000, 0x0102, 0x0304, 0x0506, 0x0708)
    header += [UInt8((20 + options.count) / 4) << 4, 0x18] + words(0x2000, 0, 7) + options
    return finish(header + payload, at: 16, 6, isIPv4: isIPv4)
  }

  static func icmp(_ payload: [UInt8]) -> [UInt8] {
    finish([8, 0, 0, 0] + words(77, 3) + payload, at: 2, 1, isIPv4: true)
  }

  static func icmpv6(_ payload: [UInt8]) -> [UInt8] {
    finish([128, 0, 0, 0] + words(77, 3) + payload, at: 2, 58, isIPv4: false)
  }

  static func arp() -> [UInt8] {
    words(1, 0x0800, 0x0604, 1) + other + source4 + [UInt8](repeating: 0, count: 6) + target4
  }

  /// A hop-by-hop header, a fragment header of a whole packet, and an authentication header.
  static let extensions: [(UInt8, [UInt8])] = [
    (0, [0, 1] + [UInt8](repeating: 0, count: 14)), (44, [0, 0, 0, 0, 0, 0, 0, 9]),
    (51, [0, 4] + [UInt8](repeating: 7, count: 22)),
  ]

  /// One frame of each kind.
  static var all: [[UInt8]] {
    let data = Array("some payload".utf8)
    let options: [UInt8] = [1, 1, 1, 0]
    return [
      frame(0x0806, arp()), frame(0x0800, ipv4(17, udp(data))),
      frame(0x0800, tags: [0x8100, 0x2005], ipv4(6, tcp(data, options: options))),
      frame(0x0800, tags: [0x88a8, 7, 0x8100, 8], ipv4(1, icmp(data), options: options)),
      frame(0x0800, ipv4(17, udp(data), fragment: 0x2000)),
      frame(0x0800, ipv4(17, data, fragment: 3)),
      frame(0x86dd, ipv6(17, udp(data, isIPv4: false))),
      frame(0x86dd, ipv6(6, tcp(data, isIPv4: false), extensions: extensions)),
      frame(0x86dd, tags: [0x8100, 1], ipv6(58, icmpv6(data), extensions: extensions)),
      frame(
        0x86dd, ipv6(17, udp(data, isIPv4: false), extensions: [(44, [0, 0, 0, 9, 0, 0, 0, 1])])),
      frame(0x88cc, data),
    ]
  }

  /// Records that a view is unexpectedly nil.
  static func fail(_ text: Comment) { Issue.record(text) }
}
