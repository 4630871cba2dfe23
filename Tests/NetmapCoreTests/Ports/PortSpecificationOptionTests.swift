import NetmapCore
import Testing

@Suite("Port specifications: options and canonical text")
struct PortSpecificationOptionTests {
  typealias Specification = PortSpecification

  private func parse(_ options: String) throws -> Specification {
    try Specification.parse("netmap:eth0" + options, enabling: [.offset])
  }

  @Test(
    "conf: a key for both directions, overridden by one for each",
    arguments: [
      ("@conf=4", RingGeometryHints(transmitRings: 4, receiveRings: 4)),
      ("@conf:rings=4", RingGeometryHints(transmitRings: 4, receiveRings: 4)),
      ("@conf:rings=0", .none),
      ("@conf:rings=4,tx-rings=2", RingGeometryHints(transmitRings: 2, receiveRings: 4)),
      ("@conf:tx-rings=2,rings=4", RingGeometryHints(transmitRings: 2, receiveRings: 4)),
      ("@conf:rx_rings=65535", RingGeometryHints(receiveRings: 65535)),
      ("@conf:host-rings=3", RingGeometryHints(hostTransmitRings: 3, hostReceiveRings: 3)),
      (
        "@conf:host_tx-rings=1,host-rx_rings=2",
        RingGeometryHints(hostTransmitRings: 1, hostReceiveRings: 2)
      ),
      ("@conf:slots=512", RingGeometryHints(transmitSlots: 512, receiveSlots: 512)),
      (
        "@conf:tx-slots=4294967295,rx_slots=007",
        RingGeometryHints(transmitSlots: .max, receiveSlots: 7)
      ),
      (
        "@conf:rings=2@conf:slots=8@conf:tx-rings=1",
        RingGeometryHints(
          transmitSlots: 8, receiveSlots: 8, transmitRings: 1, receiveRings: 2)
      ),
      ("@conf:tx-rings=1@conf=2", RingGeometryHints(transmitRings: 2, receiveRings: 2)),
    ])
  func conf(options: String, expected: RingGeometryHints) throws {
    #expect(try parse(options).conf == expected)
  }

  @Test("extmem: file is the default key, sizes default to 0")
  func extmem() throws {
    let expected = try Specification.ExternalMemory(
      file: "/dev/shm/a=b", interfaces: .init(count: 1, size: 2), rings: .init(count: 3, size: 4),
      buffers: .init(count: 5, size: 6))
    let text =
      "@extmem:if-num=1,if_size=2,file=/dev/shm/a=b,ring-num=3,ring_size=4,buf_num=5,buf-size=6"
    #expect(try parse(text).extmem == expected)
    #expect(try parse("@extmem=/a,b:c").extmem == .init(file: "/a,b:c"))
    #expect(try parse("@extmem=a:'b@conf=1").extmem == .init(file: "a:'b"))
    #expect(try parse("@extmem:file=a").extmem?.buffers == .init(count: 0, size: 0))
    #expect(try parse("").extmem == nil)
  }

  @Test("extmem refuses file names that have no text form", arguments: ["", "a@b", "a,b", "NUL"])
  func unwritableFile(file: String) {
    let file = file == "NUL" ? "\0" : file
    let error = #expect(throws: NetmapError.self) {
      try Specification.ExternalMemory(file: file, rings: .init(count: 1))
    }
    #expect(error?.code == .invalidArgument)
    #expect(error?.reason.contains("file name") == true)
  }

  @Test("offset: initial is the default key, bits default to the whole field")
  func offset() throws {
    #expect(try parse("@offset=64").offset == .init(initial: 64))
    #expect(try parse("@offset:bits=16,initial=64").offset == .init(initial: 64, bits: 16))
    #expect(try parse("@offset=0").offset == .init(initial: 0))
    #expect(throws: NetmapError.self) { try Specification.PayloadOffset(initial: 0, bits: 65) }
  }

  @Test("backpressure: has no keys")
  func backpressure() throws {
    #expect(try parse("").backpressure == false)
    #expect(try parse("@backpressure").backpressure)
    #expect(try parse("@conf=2@backpressure@share=vale0:a").backpressure)
  }

  @Test(
    "backend: name is the default key, and both keys are optional",
    arguments: [
      ("@backend=xdp", .init(.xdp)),
      ("@backend:name=xdp,mode=zerocopy", .init(.xdp, mode: .zerocopy)),
      ("@backend:mode=copy,name=capture", .init(.capture, mode: .copy)),
      ("@backend=packet", .init(.packet)),
      ("@backend:name=netmap", .init(.netmap)),
      ("@backend:mode=generic", .init(mode: .generic)),
    ] as [(String, Specification.BackendChoice)])
  func backend(options: String, expected: Specification.BackendChoice) throws {
    #expect(try parse(options).backend == expected)
  }

  @Test(
    "share: names a port, quoted if necessary, and its mode is ignored",
    arguments: [
      ("@share=netmap:eth1", "netmap:eth1"),
      ("@share:port=vale0:a", "vale0:a"),
      ("@share=netmap:eth1-2/x", "netmap:eth1"),
      ("@share=netmap:'a@b'@conf=1", "netmap:'a@b'"),
      ("@share=netmap:'a,''b'", "netmap:'a,''b'"),
      ("@share=netmap:eth1{p@share=netmap:eth1{p", "netmap:eth1{p"),
      ("", nil),
    ] as [(String, String?)])
  func share(options: String, expected: String?) throws {
    let parsed = try parse(options)
    #expect(parsed.share == expected)
    #expect(try parsed.share.map { try Specification.parse($0).name } == parsed.sharedPort)
  }

  @Test("share looks up names with '-' as well")
  func sharedDash() throws {
    let parsed = try Specification.parse("netmap:a@share=netmap:br-lan") { $0 == "br-lan" }
    #expect(parsed.share == "netmap:'br-lan'")
  }

  @Test("options may come in any order, after the mode")
  func order() throws {
    let parsed = try parse("-1/x@3@backend=xdp@conf=2@offset=8@share=vale0:a@extmem=f")
    #expect(parsed.selection == .oneHardware(1))
    #expect(parsed.flags == .exclusive)
    #expect(parsed.memoryID == 3)
    #expect(
      parsed.description == "netmap:eth0-1/x@3@share=vale0:a@conf:rings=2@extmem=f@offset=8"
        + "@backend=xdp")
  }

  @Test(
    "the canonical text is the shortest that libnetmap reads as the same request",
    arguments: [
      ("netmap:eth0-007/Tx", "netmap:eth0-7/xT"),
      ("netmap:eth0/x@2/t@2", "netmap:eth0/xt@2"),
      ("netmap:'eth0'", "netmap:eth0"),
      ("netmap:'a''b'", "netmap:'a''b'"),
      ("netmap:'a{p'", "netmap:a{p"),
      ("netmap:'a{p{q'", "netmap:'a{p{q'"),
      ("netmap:'a{p q'", "netmap:'a{p q'"),
      ("netmap:vale0:a", "vale0:a"),
      ("netmap:vale", "netmap:vale"),
      ("netmap:'vale-0:a'", "netmap:'vale-0:a'"),
      ("vale0:'br-lan'^3", "vale0:'br-lan'^3"),
      ("netmap:eth0@conf=4", "netmap:eth0@conf:rings=4"),
      ("netmap:eth0@conf:tx_rings=4,rx-rings=4", "netmap:eth0@conf:rings=4"),
      ("netmap:eth0@conf:slots=8,tx-rings=4,rings=0", "netmap:eth0@conf:tx-rings=4,slots=8"),
      ("netmap:eth0@extmem:file=a", "netmap:eth0@extmem=a"),
      ("netmap:eth0@extmem:buf_num=1,file=a", "netmap:eth0@extmem:file=a,buf-num=1"),
      ("netmap:eth0@offset:bits=0,initial=9", "netmap:eth0@offset=9"),
      ("netmap:eth0@backend:name=xdp", "netmap:eth0@backend=xdp"),
      ("vale0:a@backpressure@conf=2", "vale0:a@conf:rings=2@backpressure"),
      ("netmap:eth0@backend:mode=copy,name=xdp", "netmap:eth0@backend:name=xdp,mode=copy"),
    ])
  func canonical(text: String, expected: String) throws {
    let parsed = try Specification.parse(text, enabling: [.offset])
    #expect(parsed.description == expected)
    #expect(try Specification.parse(expected, enabling: [.offset]) == parsed)
  }

  @Test("values without a text form are omitted")
  func wordless() throws {
    var specification = try parse("/x")
    specification.flags.formUnion([.noTransmitPoll, .acceptVirtioNetHeader, .doReceivePoll])
    #expect(specification.description == "netmap:eth0/x")
    specification.selection = .null
    #expect(specification.description == "netmap:eth0/x")
  }
}
