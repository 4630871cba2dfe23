import Netmap
import PktGenCore
import Testing

@Suite("Addresses: texts, ranges, odometers")
struct AddressTests {
  @Test(
    "IPv4 ranges, reversed ends swapped",
    arguments: [
      ("10.0.0.1", "10.0.0.1:1234 to 10.0.0.1:1234"),
      ("10.0.0.1:7", "10.0.0.1:7 to 10.0.0.1:7"),
      ("10.0.0.1-10.0.0.9", "10.0.0.1:1234 to 10.0.0.9:1234"),
      ("10.0.0.9:9-10.0.0.1:1", "10.0.0.1:1 to 10.0.0.9:9"),
      ("10.0.0.1:0x10-10.0.0.1:20", "10.0.0.1:16 to 10.0.0.1:20"),
      ("1.2.3.4:5-1.2.3.5", "1.2.3.4:5 to 1.2.3.5:5"),
    ])
  func ipv4(_ row: (text: String, range: String)) throws {
    #expect(try AddressRange(row.text, family: .ipv4).text == row.range)
  }

  @Test(
    "IPv6 ranges, with and without brackets, group and port",
    arguments: [
      ("fd00::1", "7@[fd00::1]:1234 to 7@[fd00::1]:1234"),
      ("[fd00::1]:9", "7@[fd00::1]:9 to 7@[fd00::1]:9"),
      ("3@fd00::1-3@fd00:0:0:5::1", "3@[fd00::1]:1234 to 3@[fd00:0:0:5::1]:1234"),
      ("0x6@[fd00::1]:5-[fd00::7:1]:6", "6@[fd00::1]:5 to 6@[fd00::7:1]:6"),
      ("99@fd00::2-fd00::1", "7@[fd00::1]:1234 to 7@[fd00::2]:1234"),
    ])
  func ipv6(_ row: (text: String, range: String)) throws {
    #expect(try AddressRange(row.text, family: .ipv6).text == row.range)
  }

  @Test(
    "invalid addresses are refused, with the usage text",
    arguments: [
      ("10.0.0", Family.ipv4), ("10.0.0.1:x", .ipv4), ("10.0.0.1:65536", .ipv4), ("", .ipv4),
      ("10.0.0.1-", .ipv4), ("10.0.0.1", .ipv6), ("[fd00::1", .ipv6), ("[fd00::1]9", .ipv6),
      ("x@fd00::1", .ipv6), ("1@fd00::1-2@fd00::2", .ipv6), ("fd00::1", .ipv4),
    ])
  func refused(_ row: (text: String, family: Family)) {
    let error = #expect(throws: Refusal.self) { try AddressRange(row.text, family: row.family) }
    #expect(error?.status == 255)
    #expect(error?.showsUsage == true)
  }

  @Test(
    "Ethernet addresses as ether_aton(3) reads them",
    arguments: [
      ("aa:bb:cc:dd:ee:0f", [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0x0f]),
      ("2:0:0:0:0:1", [2, 0, 0, 0, 0, 1]),
      ("2:0:0:0:0", nil), ("2:0:0:0:0:1:2", nil), ("2:0:0:0:0:100", nil), ("2:0:0:0:0:x", nil),
      ("2:0:0:0:0:", nil), ("2:0:0:0:0:+1", nil),
    ] as [(String, [UInt8]?)])
  func mac(_ row: (text: String, bytes: [UInt8]?)) {
    #expect(MACAddress(row.text)?.bytes == row.bytes)
  }

  private func frames(
    _ count: Int, _ source: String, _ destination: String, _ family: Family,
    _ options: GenerationOptions = []
  ) throws -> [DecodedFrame] {
    let mac = try #require(MACAddress("2:0:0:0:0:1"))
    let (from, to) = (
      try AddressRange(source, family: family), try AddressRange(destination, family: family)
    )
    let layout = FrameLayout(family)
    let template = FrameTemplate(
      layout.frame(size: 90, from: from, mac, to: to, mac, banner: "text"), size: 90,
      virtioLength: 0, layout: layout)
    var odometer = AddressOdometer(layout, from, to, options, seed: 42)
    return (0..<count).map { _ in
      defer { unsafe odometer.advance(template.frame) }
      return DecodedFrame(template.bytes)
    }
  }

  @Test(
    "source port, source address, destination port and destination address advance in this order")
  func order() throws {
    let frames = try frames(17, "10.0.0.255:1-10.0.1.0:2", "10.1.0.1:5-10.1.0.2:6", .ipv4)
    #expect(frames.allSatisfy { $0.isValid })
    let texts = frames.map {
      "\($0.source[2]).\($0.source[3]):\($0.sourcePort) \($0.destination[3]):\($0.destinationPort)"
    }
    let sources = ["0.255:1", "0.255:2", "1.0:1", "1.0:2"]
    let expected = ["1:5", "1:6", "2:5", "2:6"].flatMap { end in sources.map { "\($0) \(end)" } }
    #expect(texts == expected + expected.prefix(1))
  }

  @Test("IPv6: only the chosen group counts up")
  func group() throws {
    let frames = try frames(5, "6@fd00::a:1-fd00::c:9", "fd00::1", .ipv6)
    #expect(frames.allSatisfy { $0.isValid })
    #expect(frames.map { $0.source[13] } == [0xa, 0xb, 0xc, 0xa, 0xb])
    #expect(frames.allSatisfy { $0.source[15] == 1 && $0.source[12] == 0 })
  }

  @Test(
    "incrementally updated checksums equal recomputed ones",
    arguments: [
      ("10.0.0.1-10.255.255.255", "10.1.0.1:1-10.1.0.3:65535", Family.ipv4, 0),
      ("0.0.0.0:0-255.255.255.255:65535", "0.0.0.0-0.0.255.255", .ipv4, 512),
      ("10.0.0.1", "10.1.0.1", .ipv4, 512 + 1024), ("10.0.0.1", "10.1.0.1", .ipv4, 1024),
      ("0@::-ffff::", "::1", .ipv6, 0), ("::1", "::2", .ipv6, 512 + 1024),
      ("[::1]:1-[::ffff]:9", "7@[::]:1-[::ff]:5", .ipv6, 0),
    ])
  func checksums(_ row: (source: String, destination: String, family: Family, options: Int)) throws
  {
    let frames = try frames(
      20000, row.source, row.destination, row.family, GenerationOptions(rawValue: row.options))
    #expect(frames.allSatisfy { $0.isValid })
  }

  @Test(
    "-z: the destination advances with every packet; -Z: only after each round of sources")
  func random() throws {
    let sources = try frames(6, "10.0.0.1", "10.1.0.1-10.1.0.3", .ipv4, .randomSource)
    #expect(Set(sources.dropFirst().map(\.source)).count == 5)
    #expect(sources.map { $0.destination[3] } == [1, 2, 3, 1, 2, 3])
    let destinations = try frames(
      7, "10.0.0.1-10.0.0.3", "10.1.0.1", .ipv4, .randomDestination)
    #expect(destinations.map { $0.source[3] } == [1, 2, 3, 1, 2, 3, 1])
    #expect(Set(destinations.map(\.destination)).count == 3)
  }
}
