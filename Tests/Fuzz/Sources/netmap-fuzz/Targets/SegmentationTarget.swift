@testable import NetmapCore

extension FuzzTarget {
  /// The protocol, the offset of the IP header, the size of segments, how much of the frame can be read, and the frame.
  static let segmentation = FuzzTarget(
    name: "segmentation",
    subject: "super-packets that a switch or a packet socket cuts into segments"
  ) { bytes in
    var input = FuzzInput(bytes)
    let transport: Segmentation.Transport = input.flag() ? .tcp : .udp
    let skipsExtensions = input.flag()
    let network = 14 + Int(input.byte() & 31)
    let isFrame = input.flag()
    let number = Int(input.number(UInt16.self))
    let hidden = Int(input.byte())
    let frame = input.takeRest()
    let available = max(0, frame.count - hidden)
    // The headers lie in memory of their own, of exactly the length that may be read.
    let headers = Array(frame.prefix(available))
    unsafe headers.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress,
        let found = unsafe Segmentation(
          headers: start, available: available, total: frame.count, network: network,
          transport: transport, skipsExtensions: skipsExtensions,
          size: isFrame ? .frame(number) : .payload(number))
      else { return }
      check(found, frame, headers)
    }
  }

  private static func check(_ found: Segmentation, _ frame: [UInt8], _ headers: [UInt8]) {
    require(found.headerBytes <= headers.count, "all headers can be read")
    require(found.headerBytes + found.payloadTotal == frame.count, "the rest is payload")
    var payload: [UInt8] = []
    var taken = 0
    var count = 0
    while taken < found.payloadTotal {
      let length = found.length(after: taken)
      require((1...found.payloadBytes).contains(length), "a segment has payload")
      let part = Array(frame[(found.headerBytes + taken)..<(found.headerBytes + taken + length)])
      var header = [UInt8](repeating: 0, count: found.headerBytes)
      let written = unsafe header.withUnsafeMutableBytes { header in
        unsafe headers.withUnsafeBytes { headers in
          unsafe part.withUnsafeBytes { part -> Int in
            guard let to = header.baseAddress, let from = headers.baseAddress,
              let bytes = part.baseAddress
            else { return 0 }
            return unsafe found.write(header: to, from: from, payload: bytes, after: taken)
          }
        }
      }
      require(written == length, "the length is the same")
      checkSegment(found, header, part, taken)
      payload += part
      taken += length
      count += 1
      // Thousands of tiny segments say nothing new.
      if count == 64 { return }
    }
    require(count == found.count, "the number of segments is known before")
    require(payload == Array(frame[found.headerBytes...]), "the segments carry the payload")
  }

  /// The checksums and lengths of a segment, checked in a slow and simple way.
  private static func checkSegment(
    _ found: Segmentation, _ header: [UInt8], _ part: [UInt8], _ taken: Int
  ) {
    let (network, transport) = (found.network, found.transport)
    func pair(_ offset: Int) -> Int { Int(header[offset]) << 8 | Int(header[offset + 1]) }
    let byteCount = found.headerBytes - transport + part.count
    guard byteCount < 60_000 else { return }
    if found.isIPv4 {
      require(slowSum(header[network..<transport]) == 0xffff, "the header's checksum is valid")
      require(pair(network + 2) == transport - network + byteCount, "the header has the length")
    } else {
      require(
        pair(network + 4) == transport - network - 40 + byteCount, "the header has the length")
    }
    let addresses = header[(network + (found.isIPv4 ? 12 : 8))...].prefix(found.isIPv4 ? 8 : 32)
    let pseudo =
      Array(addresses) + [0, found.isTCP ? 6 : 17]
      + [UInt8(truncatingIfNeeded: byteCount >> 8), UInt8(truncatingIfNeeded: byteCount)]
    require(
      slowSum(pseudo + header[transport...] + part) == 0xffff, "the segment's checksum is valid")
    if !found.isTCP { require(pair(transport + 4) == byteCount, "the datagram has the length") }
  }
}
