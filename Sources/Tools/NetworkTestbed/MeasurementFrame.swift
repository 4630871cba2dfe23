/// The frame of the measurements: a UDP packet over IPv4 with a payload of zeros.
package enum MeasurementFrame {
  /// - Parameter length: Bytes in the frame, without the Ethernet checksum: 60...1514.
  /// - Returns: The frame, with a correct IPv4 checksum and no UDP checksum.
  package static func udp(length: Int) -> [UInt8] {
    let payload = length - 14
    var frame: [UInt8] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]
    frame += [0x45, 0] + bigEndian(payload) + [0, 0, 0, 0, 64, 17, 0, 0]
    frame += [10, 0, 0, 1, 10, 0, 0, 2]
    let sum = stride(from: 14, to: 34, by: 2).reduce(0) {
      $0 + Int(frame[$1]) << 8 + Int(frame[$1 + 1])
    }
    let folded = (sum & 0xffff) + sum >> 16
    frame.replaceSubrange(24..<26, with: bigEndian(~folded & 0xffff))
    frame += bigEndian(1000) + bigEndian(2000) + bigEndian(payload - 20) + [0, 0]
    return frame + [UInt8](repeating: 0, count: length - frame.count)
  }

  private static func bigEndian(_ value: Int) -> [UInt8] {
    [UInt8(value >> 8 & 0xff), UInt8(value & 0xff)]
  }
}
