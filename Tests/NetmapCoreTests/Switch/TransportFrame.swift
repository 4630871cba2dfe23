/// A TCP or UDP packet, and a check of its received copies and segments.
struct TransportFrame {
  var isIPv4 = true
  var isTCP = true
  var tags = 0
  /// Bytes of options of the IPv4 and of the TCP header, multiples of 4.
  var options = (ip: 0, tcp: 0)
  var payload: [UInt8] = []
  /// PSH, FIN, ACK and CWR.
  var flags: UInt8 = 0x99

  var network: Int { 14 + 4 * tags }
  var transport: Int { network + (isIPv4 ? 20 + options.ip : 40) }
  var headerLength: Int { transport + (isTCP ? 20 + options.tcp : 8) }

  /// The frame with the pseudo-header sum in the transport's checksum field, as a sender leaves it.
  var bytes: [UInt8] {
    var frame = Address.station(2).bytes + Address.station(1).bytes
    for _ in 0..<tags { frame += [0x81, 0x00, 0x00, 0x05] }
    frame += isIPv4 ? [0x08, 0x00] : [0x86, 0xdd]
    let length = headerLength - transport + payload.count
    let number: UInt8 = isTCP ? 6 : 17
    if isIPv4 {
      let total = 20 + options.ip + length
      frame += [0x40 | UInt8(5 + options.ip / 4), 0] + Self.pair(total) + [0xff, 0xfe, 0, 0]
      frame += [64, number, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
      frame += [UInt8](repeating: 1, count: options.ip)
    } else {
      frame += [0x60, 0, 0, 0] + Self.pair(length) + [number, 64]
      frame += [0xfd] + [UInt8](repeating: 0, count: 14) + [1]
      frame += [0xfd] + [UInt8](repeating: 0, count: 14) + [2]
    }
    frame += [0x10, 0, 0, 9]
    if isTCP {
      frame += [0, 0, 0xff, 0xff, 0, 0, 0, 1, UInt8(5 + options.tcp / 4) << 4, flags]
      frame += [1, 0, 0, 0, 0, 0] + [UInt8](repeating: 1, count: options.tcp)
    } else {
      frame += Self.pair(length) + [0, 0]
    }
    frame += payload
    let pseudo = Self.sum(frame, pseudoHeaderOf: self, length)
    frame.replaceSubrange(field..<field + 2, with: Self.pair(Int(pseudo)))
    return frame
  }

  /// The offset of the transport's checksum.
  var field: Int { transport + (isTCP ? 16 : 6) }

  /// A virtio-net header that requests the checksum, and segmentation of the given type.
  func header(_ length: Int, type: UInt8 = 0, flags: UInt8 = 1) -> [UInt8] {
    func little(_ value: Int) -> [UInt8] { [UInt8(value & 255), UInt8(value >> 8)] }
    let fields =
      [flags, type] + little(headerLength) + little(1460) + little(transport)
      + little(field - transport)
    return Array((fields + [0, 0]).prefix(length))
  }

  private static func pair(_ value: Int) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }

  /// The sum of RFC 1071, computed in a slow and simple way.
  static func sum(_ bytes: some Sequence<UInt8>, _ initial: UInt32 = 0) -> UInt32 {
    var (sum, isHigh) = (initial, true)
    for byte in bytes {
      sum += isHigh ? UInt32(byte) << 8 : UInt32(byte)
      isHigh.toggle()
      sum = (sum & 0xffff) + sum >> 16
    }
    return sum
  }

  private static func sum(
    _ frame: [UInt8], pseudoHeaderOf description: TransportFrame, _ length: Int
  ) -> UInt32 {
    let addresses =
      description.isIPv4
      ? frame[(description.network + 12)..<(description.network + 20)]
      : frame[(description.network + 8)..<(description.network + 40)]
    return sum(addresses, sum(pair(length), UInt32(description.isTCP ? 6 : 17)))
  }

  /// Whether all checksums of a received packet with this packet's headers are right.
  func isSound(_ frame: [UInt8]) -> Bool {
    if isIPv4, Self.sum(frame[network..<transport]) != 0xffff { return false }
    let length = frame.count - transport
    return Self.sum(frame[transport...], Self.sum(frame, pseudoHeaderOf: self, length)) == 0xffff
  }
}

/// A number in network byte order.
func big(_ bytes: [UInt8], _ offset: Int, _ count: Int = 2) -> UInt32 {
  bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt32($1) }
}
