import NetmapCore
import Testing

@Suite("Port specifications: refusals")
struct PortSpecificationErrorTests {
  struct Refusal: Sendable, CustomTestStringConvertible {
    let text: String
    let reason: String
    let remedy: String

    init(_ text: String, _ reason: String, _ remedy: String) {
      self.text = text
      self.reason = reason
      self.remedy = remedy
    }

    var testDescription: String { text }
  }

  static let names = [
    Refusal("", "prefix unknown or missing", "netmap: or vale"),
    Refusal("eth0", "prefix unknown or missing", "netmap: or vale"),
    Refusal("Netmap:eth0", "prefix unknown or missing", "netmap: or vale"),
    Refusal("netmap", "missing ':'", "netmap:<interface>"),
    Refusal("vale0", "missing ':'", "vale<id>:<port>"),
    Refusal("netmapXXX:eth0", "no identifier allowed between 'netmap' and ':'", "netmap:"),
    Refusal("vale-1:a", "invalid identifier '-1'", "letters, digits or '_'"),
    Refusal("valeø:a", "invalid identifier 'ø'", "letters, digits or '_'"),
    Refusal("netmap:", "invalid empty port name", "eth0"),
    Refusal("netmap:^", "invalid empty port name", "eth0"),
    Refusal("netmap:@2", "invalid empty port name", "eth0"),
    Refusal("netmap:''", "invalid empty port name", "eth0"),
    Refusal("netmap:{", "invalid empty pipe name", "parent{id"),
    Refusal("netmap:{x", "no parent port", "parent{id"),
    Refusal("netmap:a}", "invalid empty pipe name", "parent{id"),
    Refusal("netmap:a{^", "invalid empty pipe name", "parent{id"),
    Refusal("netmap:pipe{1}2", "invalid pipe name '1}2'", "netmap:'pipe{1}2'"),
    Refusal("netmap:pipe{ø", "invalid pipe name 'ø'", "netmap:'pipe{ø'"),
    Refusal("netmap:'eth0", "no closing quote after 'eth0", "close the name"),
    Refusal("netmap:'", "no closing quote after '", "close the name"),
    Refusal("netmap:'a''", "no closing quote after 'a''", "close the name"),
    Refusal("netmap:'a'b", "unknown modifier: 'b' at offset 10", "after the name"),
    Refusal("netmap:'a'{1", "unknown modifier: '{' at offset 10", "inside the quotes"),
    Refusal("netmap:" + String(repeating: "a", count: 64), "too long: 64 bytes", "63 bytes"),
    Refusal("vale0:" + String(repeating: "a", count: 58), "too long: 64 bytes", "63 bytes"),
  ]

  static let modes = [
    Refusal("netmap:eth0-", "got '' while expecting a number", "netmap:'eth0-'"),
    Refusal("netmap:br-lan", "got 'lan' while expecting a number", "netmap:'br-lan'"),
    Refusal("netmap:br-lan{p", "got 'lan{p' while expecting a number", "netmap:'br-lan{p'"),
    Refusal("vale0:br-lan/x", "got 'lan/x' while expecting a number", "vale0:'br-lan'"),
    Refusal("netmap:eth0--1", "got '-1' while expecting a number", "netmap:'eth0--1'"),
    Refusal("netmap:'a'-b", "got 'b' while expecting a number", "a ring number follows '-'"),
    Refusal("netmap:eth0-4095", "'4095' out of range [0, 4095)", "lower"),
    Refusal("netmap:eth0^4095", "'4095' out of range [0, 4095)", "lower"),
    Refusal(
      "netmap:eth0-99999999999999999999999", "'99999999999999999999999' out of range [0, 4095)",
      "lower"),
    // 2^64 + 1: a number that wraps around is out of range too.
    Refusal("netmap:eth0-18446744073709551617", "'18446744073709551617' out of range", "lower"),
    Refusal("netmap:eth0@18446744073709551617", "invalid mem_id: '18446744073709551617'", "65535"),
    Refusal("netmap:eth0-1-2", "unexpected character: '-' at offset 13", "quote a name"),
    Refusal("netmap:eth0-1x", "unexpected character: 'x' at offset 13", "after the name"),
    Refusal("netmap:eth0^*", "unexpected character: '*' at offset 12", "after the name"),
    Refusal("netmap:eth0*1", "unexpected character: '1' at offset 12", "after the name"),
    Refusal("netmap:eth0*ø", "unexpected character: 'ø' at offset 12", "after the name"),
    Refusal("netmap:eth0@2-1", "unexpected character: '-' at offset 13", "after the name"),
    Refusal("netmap:eth0/q", "unrecognized flag: 'q' at offset 12", "x, z, t, r, R, T and i"),
    Refusal("netmap:eth0/x-1", "unrecognized flag: '-' at offset 13", "x, z, t, r, R, T and i"),
    Refusal("netmap:eth0//x", "unrecognized flag: '/' at offset 12", "x, z, t, r, R, T and i"),
    Refusal("netmap:eth0/x/", "unexpected end of request", "x, z, t, r, R, T and i"),
    Refusal("netmap:eth0/", "unexpected end of request", "x, z, t, r, R, T and i"),
    Refusal("netmap:eth0@", "invalid empty mem_id", "@1 or above"),
    Refusal("vale0:0@", "invalid empty mem_id", "@1 or above"),
    Refusal("netmap:eth0@0", "invalid mem_id: '0'", "1 to 65535"),
    Refusal("netmap:eth0@65536", "invalid mem_id: '65536'", "1 to 65535"),
    Refusal(
      "netmap:eth0@2/R@3", "invalid setting of mem_id to 3 (already set to 2)",
      "one memory region"),
  ]

  static let options = [
    Refusal(
      "netmap:eth0@@conf=1", "invalid empty option",
      "share, conf, extmem, offset, backend, backpressure"),
    Refusal("netmap:eth0@conf=1@", "invalid empty option", "share, conf, extmem"),
    Refusal("netmap:eth0@=1", "invalid empty option", "share, conf, extmem"),
    Refusal("netmap:eth0/R@xxx", "unknown option: 'xxx'", "share, conf, extmem"),
    Refusal("netmap:eth0@netmap:lo/R", "unknown option: 'netmap'", "share, conf, extmem"),
    Refusal("vale0:0/Tx@opt", "unknown option: 'opt'", "share, conf, extmem"),
    Refusal("netmap:eth0@Conf=1", "unknown option: 'Conf'", "share, conf, extmem"),
    Refusal("netmap:eth0@conf=1@2", "unknown option: '2'", "@2 goes in front"),
    Refusal("netmap:eth0@conf", "missing body after 'conf'", "@conf=<rings>"),
    Refusal("netmap:eth0@conf=", "missing value for option 'conf'", "@conf=<rings>"),
    Refusal("netmap:eth0@conf:", "missing value for option 'conf'", "tx-rings"),
    Refusal("netmap:eth0@conf:ring=1", "unknown key: 'ring'", "rings, tx-rings"),
    Refusal("netmap:eth0@conf:file=1", "unknown key: 'file'", "rings, tx-rings"),
    Refusal("netmap:eth0@conf:=1", "unknown key: ''", "rings, tx-rings"),
    Refusal("netmap:eth0@conf:rings=1,", "unknown key: ''", "rings, tx-rings"),
    Refusal("netmap:eth0@conf:rings", "missing '=value' for key 'rings'", "rings=value"),
    Refusal("netmap:eth0@conf:rings=", "missing '=value' for key 'rings'", "rings=value"),
    Refusal(
      "netmap:eth0@conf:rx_slots=1,rx-slots=2", "duplicate key 'rx-slots', already set to '1'",
      "once"),
    Refusal(
      "netmap:eth0@conf=four", "key 'rings': got 'four' while expecting a number", "decimal"),
    Refusal("netmap:eth0@conf=4x", "got '4x' while expecting a number", "decimal"),
    Refusal("netmap:eth0@conf=-1", "got '-1' while expecting a number", "decimal"),
    Refusal("netmap:eth0@conf=65536", "'65536' out of range [0, 65536)", "lower"),
    Refusal(
      "netmap:eth0@conf:host-tx-rings=70000", "key 'host-tx-rings': '70000' out of range",
      "lower"),
    Refusal(
      "netmap:eth0@conf:slots=4294967296", "'4294967296' out of range [0, 4294967296)", "lower"),
    Refusal("netmap:eth0@extmem", "missing body after 'extmem'", "@extmem=<file>"),
    Refusal("netmap:eth0@extmem=", "missing value for option 'extmem'", "@extmem=<file>"),
    Refusal("netmap:eth0@extmem:if-num=3", "mandatory key 'file' not assigned", "@extmem=<file>"),
    Refusal("netmap:eth0@extmem:file=a,buf-num=x", "key 'buf-num': got 'x'", "decimal"),
    Refusal("netmap:eth0@extmem=a@extmem=a", "'extmem' is given twice", "once"),
    Refusal("netmap:eth0@share=", "missing value for option 'share'", "@share=<port>"),
    Refusal("netmap:eth0@share=eth1", "port eth1: prefix unknown or missing", "netmap:"),
    Refusal("netmap:eth0@share=netmap:a/q", "port netmap:a/q: unrecognized flag: 'q'", "x, z"),
    Refusal("netmap:eth0@share=netmap:'a@2", "no closing quote after 'a@2", "close the name"),
    Refusal("netmap:eth0@share=netmap:a@share=netmap:b", "'share' is given twice", "once"),
    Refusal("netmap:eth0@backend=afxdp", "unknown value 'afxdp'", "xdp, capture, packet, netmap"),
    Refusal("netmap:eth0@backend=XDP", "unknown value 'XDP'", "xdp, capture, packet, netmap"),
    Refusal(
      "netmap:eth0@backend:mode=drv", "key 'mode': unknown value 'drv'", "zerocopy, copy, generic"),
    Refusal("netmap:eth0@backend:attach=shared", "unknown key: 'attach'", "name, mode"),
    Refusal("vale0:a@backpressure=1", "'backpressure' takes no value", "write @backpressure"),
    Refusal("vale0:a@backpressure:", "'backpressure' takes no value", "write @backpressure"),
    Refusal("vale0:a@backpressure@backpressure", "'backpressure' is given twice", "once"),
    Refusal("netmap:eth0@backend=xdp@backend=xdp", "'backend' is given twice", "once"),
    Refusal("netmap:eth0@offset:bits=8", "mandatory key 'initial' not assigned", "<initial>"),
    Refusal("netmap:eth0@offset:initial=1,bits=65", "'65' out of range [0, 65)", "lower"),
    Refusal("netmap:eth0@offset=1@offset=1", "'offset' is given twice", "once"),
  ]

  @Test(
    "EINVAL names the whole request, the offending part and the accepted values",
    arguments: names + modes + options)
  func refuses(_ refusal: Refusal) throws {
    let error = try #require(
      #expect(throws: NetmapError.self) {
        try PortSpecification.parse(refusal.text, enabling: [.offset])
      })
    #expect(error.code == .invalidArgument)
    #expect(error.operation == "parse")
    #expect(error.reason.contains(refusal.reason), "\(error)")
    #expect(error.remedy.contains(refusal.remedy), "\(error)")
    #expect(error.subject == (refusal.text.isEmpty ? "''" : refusal.text))
  }

  @Test("a disabled option is EOPNOTSUPP, offset by default", arguments: PortOption.allCases)
  func disabledOption(option: PortOption) throws {
    let text = "netmap:eth0@\(option)=netmap:b"
    let error = try #require(
      #expect(throws: NetmapError.self) {
        try PortSpecification.parse(text, disabling: [option])
      })
    #expect(error.code == .unsupported)
    #expect(error.subject == text)
    #expect(error.reason == "option '\(option)' is not supported")
    #expect(PortOption.standard.contains(option) == (option != .offset))
  }

  @Test("messages stay on one line, whatever the request contains")
  func oneLine() throws {
    let error = try #require(
      #expect(throws: NetmapError.self) {
        try PortSpecification.parse("netmap:eth0*\n\u{1b}[2J\u{2028}")
      })
    #expect(error.subject == #"netmap:eth0*\u{a}\u{1b}[2J\u{2028}"#)
    #expect(error.reason == #"unexpected character: '\u{a}' at offset 12"#)
    let lineCount = error.description.split(whereSeparator: \.isNewline).count
    #expect(lineCount == 1)
  }

  @Test("NUL is refused anywhere", arguments: ["netmap:", "netmap:'", "netmap:a@share="])
  func nul(start: String) throws {
    let error = try #require(
      #expect(throws: NetmapError.self) { try PortSpecification.parse(start + "\0b") })
    #expect(error.code == .invalidArgument)
    #expect(error.subject == start + #"\u{0}b"#)
    #expect(error.reason == "NUL byte at offset \(start.utf8.count)")
  }

  @Test("an extmem file name must be UTF-8")
  func fileEncoding() throws {
    let error = #expect(throws: NetmapError.self) {
      try PortSpecification.parse(bytes: [UInt8]("netmap:a@extmem=f".utf8) + [0xff])
    }
    #expect(error?.reason.contains("not UTF-8") == true)
  }
}
