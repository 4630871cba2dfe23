import NetmapCore
import Testing

@Suite("Addresses and protocol numbers")
struct AddressTextTests {
  @Test(
    "Ethernet addresses",
    arguments: [
      ("02:00:00:00:00:01", "02:00:00:00:00:01"), ("2:0:0:0:0:1", "02:00:00:00:00:01"),
      ("FF:ff:FF:ff:FF:ff", "ff:ff:ff:ff:ff:ff"), ("aa:bb:cc:dd:ee:0f", "aa:bb:cc:dd:ee:0f"),
    ])
  func mac(_ row: (text: String, canonical: String)) throws {
    let address = try #require(MACAddress(row.text))
    #expect(address.description == row.canonical)
    #expect(MACAddress(row.canonical) == address)
  }

  @Test(
    "text that is no Ethernet address",
    arguments: [
      "", ":", "02:00:00:00:00", "02:00:00:00:00:01:02", "02:00:00:00:00:100", "02:00:00:00:00:x",
      "02:00:00:00:00:", ":02:00:00:00:00:01", "02:00:00:00:00:+1", "02-00-00-00-00-01",
      "02:00:00:00:00:01\0", "02:00:00:00:00:é",
    ])
  func noMAC(_ text: String) { #expect(MACAddress(text) == nil) }

  @Test("the parts of an Ethernet address")
  func macParts() {
    let address = MACAddress(0x02, 0x11, 0x22, 0x33, 0x44, 0x55)
    #expect(address.rawValue == 0x5544_3322_1102)
    #expect(address.bytes == [0x02, 0x11, 0x22, 0x33, 0x44, 0x55])
    #expect(address.isLocallyAdministered && !address.isMulticast && !address.isBroadcast)
    #expect(MACAddress(0x01, 0, 0x5e, 0, 0, 1).isMulticast)
    #expect(MACAddress.broadcast.isMulticast && MACAddress.broadcast.isBroadcast)
    #expect(!MACAddress(0x00, 0x1b, 0x21, 0, 0, 1).isLocallyAdministered)
    #expect(MACAddress(rawValue: .max) == .broadcast)
    #expect(MACAddress.zero.description == "00:00:00:00:00:00")
  }

  @Test(
    "IPv4 addresses",
    arguments: [
      ("0.0.0.0", 0), ("10.0.0.1", 0x0a00_0001), ("255.255.255.255", .max),
      ("192.168.1.254", 0xc0a8_01fe),
    ] as [(String, UInt32)])
  func ipv4(_ row: (text: String, number: UInt32)) throws {
    let address = try #require(IPv4Address(row.text))
    #expect(address.rawValue == row.number && address.description == row.text)
    let bytes = address.bytes
    #expect(IPv4Address(bytes[0], bytes[1], bytes[2], bytes[3]) == address)
  }

  @Test(
    "text that is no IPv4 address",
    arguments: [
      "", "10.0.0", "10.0.0.256", "10.0.0.1 ", "10.0.0.1\0", "10.0.0.1/8", "a.b.c.d", "::1",
      "10.0.0.-1", "1",
    ])
  func noIPv4(_ text: String) { #expect(IPv4Address(text) == nil) }

  @Test(
    "IPv6 addresses",
    arguments: [
      ("::", "::", 0, 0), ("::1", "::1", 0, 1), ("FD00::1", "fd00::1", 0xfd00 << 48, 1),
      ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", 0x2001_0db8 << 32, 0x0001_0000_0000_0001),
      ("::ffff:10.0.0.1", "::ffff:10.0.0.1", 0, 0xffff_0a00_0001),
    ] as [(String, String, UInt64, UInt64)])
  func ipv6(_ row: (text: String, canonical: String, high: UInt64, low: UInt64)) throws {
    let address = try #require(IPv6Address(row.text))
    #expect(address == IPv6Address(high: row.high, low: row.low))
    #expect(address.description == row.canonical)
    #expect(IPv6Address(row.canonical) == address)
    #expect(address.bytes.bytes.uint64(at: 0) == row.high)
    #expect(address.bytes.bytes.uint64(at: 8) == row.low)
  }

  @Test(
    "text that is no IPv6 address",
    arguments: ["", ":", "fd00", "fd00::1%lo", "fd00::1/64", "10.0.0.1", "::1\0", "1::2::3", "::g"])
  func noIPv6(_ text: String) { #expect(IPv6Address(text) == nil) }

  @Test("random addresses survive as text")
  func roundTrips() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<1000 {
      let mac = MACAddress(rawValue: random.next())
      #expect(MACAddress(mac.description) == mac)
      let four = IPv4Address(rawValue: random.next())
      #expect(IPv4Address(four.description) == four)
      let six = IPv6Address(high: random.next(), low: random.next() >> UInt64.random(in: 0..<64))
      #expect(IPv6Address(six.description) == six)
    }
  }

  @Test("order and kinds of IP addresses")
  func kinds() throws {
    #expect(IPv4Address(9, 255, 0, 0) < IPv4Address(10, 0, 0, 0))
    #expect(IPv4Address(239, 0, 0, 1).isMulticast && !IPv4Address(192, 0, 0, 1).isMulticast)
    #expect(!IPv4Address.broadcast.isMulticast && IPv4Address.any.rawValue == 0)
    #expect(IPv6Address.any < .loopback && IPv6Address.loopback.description == "::1")
    #expect(IPv6Address(high: 1, low: 0) > IPv6Address(high: 0, low: .max))
    #expect(try #require(IPv6Address("ff02::1")).isMulticast)
    #expect(try #require(IPv6Address("fe80::1")).isLinkLocal)
    #expect(try #require(IPv6Address("febf::1")).isLinkLocal)
    #expect(try !#require(IPv6Address("fec0::1")).isLinkLocal)
  }

  @Test("protocol numbers and VLAN tags")
  func numbers() {
    #expect(EtherType.ipv4.description == "IPv4")
    #expect(EtherType(rawValue: 0xcc).description == "0x00cc")
    #expect(EtherType.vlan.isVLAN && EtherType.serviceVLAN.isVLAN && !EtherType.arp.isVLAN)
    #expect(IPProtocol.tcp.description == "TCP" && IPProtocol(rawValue: 89).description == "89")
    let tag = VLANTag(id: 0xfff5, priority: 5, isDropEligible: true)
    #expect(tag.id == 0xff5 && tag.priority == 5 && tag.isDropEligible)
    #expect(tag.rawValue == 0xbff5 && VLANTag(id: 7).rawValue == 7)
  }
}
