import NetmapCore
import Testing

@Suite("Port specifications: subsystem, name and mode")
struct PortSpecificationTests {
  struct Reading: Sendable, CustomTestStringConvertible {
    let text: String
    let name: String
    let selection: RingSelection
    let flags: BindingFlags
    let memoryID: UInt16?

    init(
      _ text: String, _ name: String, _ selection: RingSelection = .allHardware,
      _ flags: BindingFlags = [], memory memoryID: UInt16? = nil
    ) {
      self.text = text
      self.name = name
      self.selection = selection
      self.flags = flags
      self.memoryID = memoryID
    }

    var testDescription: String { text }

    var value: PortSpecification {
      get throws {
        PortSpecification(
          try PortName(name), selection: selection, flags: flags, memoryID: memoryID)
      }
    }
  }

  /// The texts that upstream's parser test accepts, without those that end in an unknown option.
  static let upstream = [
    Reading("netmap:eth0", "eth0"),
    Reading("netmap:eth0-1", "eth0", .oneHardware(1)),
    Reading("netmap:eth0/x", "eth0", .allHardware, .exclusive),
    Reading("netmap:eth0/z", "eth0", .allHardware, .zeroCopyMonitor),
    Reading("netmap:eth0/r", "eth0", .allHardware, .monitorReceive),
    Reading("netmap:eth0/t", "eth0", .allHardware, .monitorTransmit),
    Reading("netmap:eth0-2/Tx", "eth0", .oneHardware(2), [.transmitOnly, .exclusive]),
    Reading("netmap:eth0*", "eth0", .hardwareAndHost),
    Reading("netmap:eth0^", "eth0", .host),
    Reading("netmap:eth0@2", "eth0", memory: 2),
    Reading("netmap:eth0@2/R", "eth0", .allHardware, .receiveOnly, memory: 2),
    Reading("netmap:eth0@2/R@2", "eth0", .allHardware, .receiveOnly, memory: 2),
    Reading("vale0:0", "vale0:0"),
    Reading("vale:0", "vale:0"),
    Reading("valeXXX:YYY", "valeXXX:YYY"),
    Reading("valeXXX:YYY-4", "valeXXX:YYY", .oneHardware(4)),
    Reading("netmap:14", "14"),
    Reading("netmap:pipe{0", "pipe{0"),
    Reading("netmap:pipe{in", "pipe{in"),
    Reading("netmap:pipe{in-7", "pipe{in", .oneHardware(7)),
    Reading("vale0:0{0", "vale0:0{0"),
    // Upstream's table expects these two to fail; its parser accepts them.
    Reading("netmap:vale0:0", "vale0:0"),
    Reading("netmap:eth0&", "eth0&"),
  ]

  static let more = [
    Reading("netmap:eth0.100", "eth0.100"),
    Reading("netmap:eth0}p", "eth0}p"),
    Reading("netmap:eth0^0", "eth0", .oneHost(0)),
    Reading("netmap:eth0^12", "eth0", .oneHost(12)),
    Reading("netmap:eth0-0", "eth0", .oneHardware(0)),
    Reading("netmap:eth0-0007", "eth0", .oneHardware(7)),
    Reading("netmap:eth0-4094", "eth0", .oneHardware(4094)),
    Reading("netmap:eth0^/x", "eth0", .host, .exclusive),
    Reading("netmap:eth0*@3/x", "eth0", .hardwareAndHost, .exclusive, memory: 3),
    Reading(
      "netmap:eth0/xztrRT", "eth0", .allHardware,
      [
        .exclusive, .zeroCopyMonitor, .monitorTransmit, .monitorReceive, .receiveOnly,
        .transmitOnly,
      ]),
    Reading("netmap:eth0/xx", "eth0", .allHardware, .exclusive),
    Reading("netmap:eth0/x/t", "eth0", .allHardware, [.exclusive, .monitorTransmit]),
    Reading("netmap:eth0/x@2/t", "eth0", .allHardware, [.exclusive, .monitorTransmit], memory: 2),
    Reading("netmap:eth0/@2", "eth0", memory: 2),
    Reading("netmap:eth0@1", "eth0", memory: 1),
    Reading("netmap:eth0@65535", "eth0", memory: 65535),
    Reading("vale_a1:x", "vale_a1:x"),
    Reading("vale0:", "vale0:"),
    Reading("netmap:ørsted", "ørsted"),
  ]

  @Test("reads what libnetmap reads", arguments: upstream + more)
  func reads(_ reading: Reading) throws {
    #expect(try PortSpecification.parse(reading.text) == reading.value)
  }

  @Test(
    "a quoted name is taken literally; mode and options follow",
    arguments: [
      Reading("netmap:'br-lan'", "br-lan"),
      Reading("netmap:'br-lan'-1/x@2", "br-lan", .oneHardware(1), .exclusive, memory: 2),
      Reading("netmap:'br-lan'^", "br-lan", .host),
      Reading("netmap:'br-lan'*", "br-lan", .hardwareAndHost),
      Reading("netmap:'br-lan{1'-2", "br-lan{1", .oneHardware(2)),
      Reading("netmap:'a{b}c'", "a{b}c"),
      Reading("netmap:'a^*/@-b'", "a^*/@-b"),
      Reading("netmap:'it''s'", "it's"),
      Reading("netmap:''''", "'"),
      Reading("netmap:eth'0", "eth'0"),
      Reading("vale0:'br-lan'/R", "vale0:br-lan", .allHardware, .receiveOnly),
    ])
  func quoted(_ reading: Reading) throws {
    #expect(try PortSpecification.parse(reading.text) == reading.value)
    let options = try PortSpecification.parse(reading.text + "@conf:slots=8")
    #expect(options.name.rawValue == reading.name)
    #expect(options.conf.transmitSlots == 8)
  }

  @Test("quoted names are not looked up")
  func quotedIsFinal() throws {
    let parsed = try PortSpecification.parse("netmap:'a-1'-2") { name in
      Issue.record("asked about \(name)")
      return true
    }
    #expect(parsed.name.rawValue == "a-1")
  }

  struct Dashes: Sendable, CustomTestStringConvertible {
    let interfaces: Set<String>
    let reading: Reading

    init(_ interfaces: Set<String>, _ reading: Reading) {
      self.interfaces = interfaces
      self.reading = reading
    }

    var testDescription: String { "\(reading.text) on a host with \(interfaces.sorted())" }
  }

  @Test(
    "a '-' belongs to the name when the whole is an interface and the part before -N is not",
    arguments: [
      Dashes([], Reading("netmap:Te1-0", "Te1", .oneHardware(0))),
      Dashes(["Te1"], Reading("netmap:Te1-0", "Te1", .oneHardware(0))),
      Dashes(["Te1-0"], Reading("netmap:Te1-0", "Te1-0")),
      Dashes(["Te1", "Te1-0"], Reading("netmap:Te1-0", "Te1", .oneHardware(0))),
      Dashes(["Te1-0"], Reading("netmap:Te1-0-3", "Te1-0", .oneHardware(3))),
      Dashes(["Te1-0", "Te1-0-3"], Reading("netmap:Te1-0-3", "Te1-0", .oneHardware(3))),
      Dashes(["Te1-0-3"], Reading("netmap:Te1-0-3", "Te1-0-3")),
      Dashes(["br-lan"], Reading("netmap:br-lan", "br-lan")),
      Dashes(["br", "br-lan"], Reading("netmap:br-lan", "br-lan")),
      Dashes(["br-lan"], Reading("netmap:br-lan-1", "br-lan", .oneHardware(1))),
      Dashes(["br-lan"], Reading("netmap:br-lan^2/x", "br-lan", .oneHost(2), .exclusive)),
      Dashes(["br-lan"], Reading("netmap:br-lan*@7", "br-lan", .hardwareAndHost, memory: 7)),
      Dashes(["br-lan"], Reading("netmap:br-lan{p", "br-lan{p")),
      Dashes(["br-lan"], Reading("netmap:br-lan}p-1", "br-lan}p", .oneHardware(1))),
      Dashes(["br-lan"], Reading("vale0:br-lan", "vale0:br-lan")),
      Dashes(["a-"], Reading("netmap:a-", "a-")),
      Dashes(["a{p-1"], Reading("netmap:a{p-1", "a{p", .oneHardware(1))),
    ])
  func dashes(_ dashes: Dashes) throws {
    let parsed = try PortSpecification.parse(
      dashes.reading.text, interfaceExists: dashes.interfaces.contains)
    #expect(try parsed == dashes.reading.value)
  }

  @Test("a ring of a switch port with an empty name has a text that no interface's name changes")
  func emptyNameBeforeRing() throws {
    let value = PortSpecification(try PortName("vale0:"), selection: .oneHardware(1))
    #expect(value.description == "vale0:''-1")
    for exists in [false, true] {
      #expect(try PortSpecification.parse(value.description) { _ in exists } == value)
    }
  }

  @Test("only names with '-' are looked up", arguments: ["netmap:eth0^1/x@2", "vale0:a{p-3"])
  func noLookup(text: String) throws {
    _ = try PortSpecification.parse(text) { name in
      Issue.record("asked about \(name)")
      return true
    }
  }

  @Test("the empty name is never looked up", arguments: ["netmap:-1", "netmap:-{p"])
  func noEmptyLookup(text: String) {
    #expect(throws: NetmapError.self) {
      try PortSpecification.parse(text) { name in
        #expect(!name.isEmpty)
        return name.isEmpty
      }
    }
  }

  @Test("bytes that are not UTF-8 stay in names")
  func opaqueBytes() throws {
    let parsed = try PortSpecification.parse(bytes: [UInt8]("netmap:a".utf8) + [0xff, 0x2d, 0x31])
    #expect(parsed.name.bytes == [0x61, 0xff])
    #expect(parsed.selection == .oneHardware(1))
    #expect(try PortSpecification.parse(bytes: parsed.bytes) == parsed)
  }

  @Test("memory region 0 means none, as in netmap")
  func noMemoryRegion() throws {
    var specification = PortSpecification(try PortName("eth0"), memoryID: 0)
    #expect(specification.memoryID == nil)
    specification.memoryID = 3
    specification.memoryID = 0
    #expect(specification.memoryID == nil)
  }

  @Test(
    "text without a known subsystem is not a port specification",
    arguments: [
      ("netmap:eth0", true), ("netmap:", true), ("netmapXXX:eth0", true), ("vale0:a", true),
      ("vale", true), ("valeXXX", true), ("eth0", false), ("netmap", false), ("netmap0", false),
      ("netmap0@conf:rings=1", false), ("", false), ("tap:t0", false), ("Netmap:eth0", false),
    ])
  func notMine(text: String, isMine: Bool) {
    #expect(PortSpecification.isPortSpecification(text) == isMine)
    if !isMine { #expect(throws: NetmapError.self) { try PortSpecification.parse(text) } }
  }
}
