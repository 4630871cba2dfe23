import Glibc
import Testing
import ToolSupport

@testable import PktGenCore

@Suite("Packets: layout, sizes, slots, files")
struct FrameTests {
  private func frame(_ family: Family, _ size: Int) throws -> [UInt8] {
    var configuration = try Configuration(.tx, on: .null)
    configuration.family = family
    configuration.size = size
    configuration.source = try AddressRange(family.defaultSource, family: family)
    configuration.destination = try AddressRange(family.defaultDestination, family: family)
    return try FrameTemplate.make(for: configuration, sourceMAC: "2:0:0:0:0:1").bytes
  }

  @Test("an IPv4 frame, header by header")
  func ipv4() throws {
    let frame = try frame(.ipv4, 60)
    #expect(frame.count == 60)
    #expect(Array(frame[0..<14]) == [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 0])
    #expect(Array(frame[14..<24]) == [0x45, 0x10, 0, 46, 0, 0, 0x40, 0, 64, 17])
    #expect(Array(frame[26..<34]) == [10, 0, 0, 1, 10, 1, 0, 1])
    #expect(Array(frame[34..<40]) == [0x04, 0xd2, 0x04, 0xd2, 0, 26])
    #expect(frame.last == 0)
    #expect(DecodedFrame(frame).isValid)
  }

  @Test("an IPv6 frame, header by header")
  func ipv6() throws {
    let frame = try frame(.ipv6, 80)
    #expect(Array(frame[12..<22]) == [0x86, 0xdd, 0x60, 0, 0, 0, 0, 26, 17, 64])
    #expect(DecodedFrame(frame).isValid)
  }

  @Test("frames of all sizes have valid checksums", arguments: [42, 43, 61, 1514, 9000, 65536])
  func sizes(_ size: Int) throws {
    #expect(DecodedFrame(try frame(.ipv4, size)).isValid)
    if size >= 62 { #expect(DecodedFrame(try frame(.ipv6, size)).isValid) }
  }

  @Test("a size within the headers cuts them off")
  func truncated() throws {
    let frame = try frame(.ipv4, 16)
    #expect(frame.count == 16)
    #expect(Array(frame[12..<16]) == [8, 0, 0x45, 0x10])
  }

  @Test(
    "a frame may have the MTU plus the Ethernet header, and 4 bytes more with a tag",
    arguments: [
      (1514, 0x0800, true), (1515, 0x0800, false), (1518, 0x8100, true), (1519, 0x8100, false),
      (1518, 0x88a8, true), (10, 0, true),
    ])
  func mtu(_ row: (size: Int, type: Int, fits: Bool)) {
    var frame = [UInt8](repeating: 0, count: row.size)
    if row.size > 14 { (frame[12], frame[13]) = (UInt8(row.type >> 8), UInt8(row.type & 0xff)) }
    do throws(Refusal) {
      try Opening.check(frame, mtu: 1500)
      #expect(row.fits)
    } catch {
      #expect(!row.fits)
      #expect(error.message.hasPrefix("pkt_size (\(row.size)) must be <= mtu (1500)"))
      #expect(error.status == 255)
    }
  }

  @Test(
    "the number and size of a packet's slots",
    arguments: [
      (60, 1, nil, 2048, 1, 60), (100, 3, nil, 2048, 3, 33), (9000, 1, nil, 2048, 5, 2048),
      (4096, 2, nil, 2048, 2, 2048), (4097, 2, nil, 2048, 3, 2048), (100, 1, 30, 2048, 4, 30),
      (16, 63, nil, 2048, 16, 1), (65536, 1, nil, 2048, 32, 2048), (100, 1, 4096, 64, 2, 64),
    ] as [(Int, Int, Int?, Int, Int, Int)])
  func fragments(_ row: (Int, Int, Int?, Int, Int, Int)) {
    let plan = FragmentPlan(length: row.0, wanted: row.1, limit: row.2, bufferSize: row.3)
    #expect(plan.count == row.4)
    #expect(plan.size == row.5)
  }

  @Test("the first packet of a capture, in both byte orders")
  func capture() throws {
    let packet: [UInt8] = Array(0..<20)
    let little: [UInt8] =
      [0xd4, 0xc3, 0xb2, 0xa1] + [UInt8](repeating: 0, count: 20)
      + [UInt8](repeating: 0, count: 8) + [20, 0, 0, 0, 99, 0, 0, 0]
    let big: [UInt8] =
      [0xa1, 0xb2, 0x3c, 0x4d] + [UInt8](repeating: 0, count: 20)
      + [UInt8](repeating: 0, count: 8) + [0, 0, 0, 20, 0, 0, 0, 99]
    for header in [little, big] {
      try withFile(header + packet + [1, 2, 3]) { path in
        let first = try PacketFile.firstPacket(of: path)
        #expect(first == packet)
      }
    }
  }

  @Test("captures that cannot be used are refused with a reason")
  func badCaptures() throws {
    let header: [UInt8] = [0xd4, 0xc3, 0xb2, 0xa1] + [UInt8](repeating: 0, count: 20)
    let record: [UInt8] = [UInt8](repeating: 0, count: 8) + [20, 0, 0, 0, 20, 0, 0, 0]
    let cases: [([UInt8], String)] = [
      ([], "not a capture"), ([UInt8](repeating: 7, count: 64), "not a capture"),
      (header, "no packet"), (header + record, "ends within the packet"),
      (header + [UInt8](repeating: 0, count: 16), "outside"),
      (header + [UInt8](repeating: 0xff, count: 16), "outside"),
    ]
    for (bytes, reason) in cases {
      try withFile(bytes) { path in
        let error = #expect(throws: Refusal.self) { try PacketFile.firstPacket(of: path) }
        #expect(error?.message.contains(reason) == true)
        #expect(error?.status == 255)
      }
    }
    #expect(throws: Refusal.self) { try PacketFile.firstPacket(of: "/nonexistent") }
  }
}

/// Runs `body` with the path of a temporary file.
func withFile(_ bytes: [UInt8], _ body: (String) throws -> Void) throws {
  var template = Array("/tmp/pkt-gen-test-XXXXXX".utf8CString)
  let file = unsafe mkstemp(&template)
  try #require(file >= 0)
  let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  defer {
    close(file)
    unsafe unlink(path)
  }
  #expect(unsafe write(file, bytes, bytes.count) == bytes.count)
  try body(path)
}
