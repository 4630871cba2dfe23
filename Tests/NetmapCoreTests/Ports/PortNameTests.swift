import NetmapCore
import Testing

@Suite("Kernel names of ports")
struct PortNameTests {
  struct Reading: Sendable, CustomTestStringConvertible {
    let name: String
    let base: String
    let pipe: (role: PortName.Pipe.Role, id: String)?

    init(_ name: String, base: String? = nil, pipe: (PortName.Pipe.Role, String)? = nil) {
      self.name = name
      self.base = base ?? name
      self.pipe = pipe.map { ($0.0, $0.1) }
    }

    var testDescription: String { name }
  }

  @Test(
    "the last '{' divides parent and pipe, or else the last '}'",
    arguments: [
      Reading("eth0"),
      Reading("eth0.100"),
      Reading("vale0:a"),
      Reading("vale:"),
      Reading("vale0:br-lan^"),
      Reading("eth0{p", base: "eth0", pipe: (.master, "p")),
      Reading("eth0}p", base: "eth0", pipe: (.slave, "p")),
      Reading("vale0:a{x", base: "vale0:a", pipe: (.master, "x")),
      Reading("a{b{c", base: "a{b", pipe: (.master, "c")),
      Reading("a}b}c", base: "a}b", pipe: (.slave, "c")),
      Reading("a}b{c", base: "a}b", pipe: (.master, "c")),
      Reading("a{b}c", base: "a", pipe: (.master, "b}c")),
      Reading("eth0{any id, really", base: "eth0", pipe: (.master, "any id, really")),
    ])
  func reading(_ reading: Reading) throws {
    let name = try PortName(reading.name)
    #expect(name.base.rawValue == reading.base)
    #expect(name.pipe?.role == reading.pipe?.role)
    #expect(name.pipe?.id == reading.pipe?.id)
  }

  @Test("a parent may be a pipe end itself")
  func nested() throws {
    let name = try PortName("eth0}a}b{c")
    #expect(name.pipe?.id == "c")
    #expect(name.base.pipe?.id == "b")
    #expect(name.base.base.pipe?.id == "a")
    #expect(name.base.base.base == (try PortName("eth0")))
    #expect(name.base.base.base.pipe == nil)
  }

  @Test("raw value, description and bytes round trip", arguments: ["eth0", "vale0:a{x", "ø{é"])
  func roundTrip(text: String) throws {
    let name = try PortName(text)
    #expect(name.rawValue == text)
    #expect(name.description == text)
    #expect(try PortName(bytes: name.bytes) == name)
  }

  @Test(
    "a pipe needs a parent and an identifier",
    arguments: [
      ("{", "no parent port"), ("{x", "no parent port"), ("}x", "no parent port"),
      ("a{", "empty pipe name"), ("a}", "empty pipe name"), ("a{b{", "empty pipe name"),
      ("{a{b", "no parent port"), ("a}{b", "empty pipe name"),
    ])
  func malformedPipe(text: String, reason: String) throws {
    let error = #expect(throws: NetmapError.self) { try PortName(text) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.subject == text)
    #expect(error?.reason.contains(reason) == true)
  }

  @Test("a name has 1 to 63 bytes, counted as bytes")
  func length() throws {
    #expect(throws: NetmapError.self) { try PortName("") }
    #expect(try PortName(String(repeating: "a", count: 63)).bytes.count == PortName.byteCountMax)
    #expect(try PortName(String(repeating: "é", count: 31)).bytes.count == 62)
    for tooLong in [String(repeating: "a", count: 64), String(repeating: "é", count: 32)] {
      let error = #expect(throws: NetmapError.self) { try PortName(tooLong) }
      #expect(error?.code == .invalidArgument)
      #expect(error?.reason == "name '\(tooLong)' too long: 64 bytes")
    }
  }

  @Test("NUL is refused, and the message stays on one line")
  func nul() {
    let error = #expect(throws: NetmapError.self) { try PortName("a\0\n") }
    #expect(error?.subject == #"a\u{0}\u{a}"#)
    #expect(error?.reason.contains("NUL") == true)
  }

  @Test("names are compared byte by byte, not as Unicode text")
  func bytewise() throws {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}")
    #expect(composed == decomposed)
    #expect(try PortName(composed) != PortName(decomposed))
    #expect(try PortName("a{" + composed).pipe != PortName("a{" + decomposed).pipe)
  }

  @Test("bytes that are not UTF-8 are kept")
  func opaqueBytes() throws {
    let (first, second) = (try PortName(bytes: [0x61, 0xff]), try PortName(bytes: [0x61, 0xfe]))
    #expect(first.bytes == [0x61, 0xff])
    #expect(first != second)
    #expect(first.rawValue == second.rawValue)
  }

  @Test(
    "the prefix vale reserves a name for switches",
    arguments: [
      ("vale0:a", true), ("vale:a", true), ("valence", true), ("vale0:a{x", true),
      ("val0:a", false), ("eth0", false), ("xvale0:a", false),
    ])
  func vale(text: String, expected: Bool) throws {
    #expect(try PortName(text).isVale == expected)
  }

  @Test("a pipe end can be named from its parent", arguments: PortName.Pipe.Role.allCases)
  func appendingPipe(role: PortName.Pipe.Role) throws {
    let parent = try PortName("vale0:a")
    let name = try parent.appendingPipe(role, id: "7")
    #expect(name.rawValue == (role == .master ? "vale0:a{7" : "vale0:a}7"))
    #expect(name.base == parent)
    #expect(name.pipe?.role.opposite != role)
  }

  @Test(
    "a pipe end whose name would parse as another one is refused",
    arguments: [
      ("a{b", PortName.Pipe.Role.slave, "c"), ("a", .master, "x{y"), ("a", .slave, "x{y"),
      ("a", .slave, "x}y"), ("a", .master, ""),
    ])
  func misread(parent: String, role: PortName.Pipe.Role, id: String) throws {
    let parent = try PortName(parent)
    let error = #expect(throws: NetmapError.self) { try parent.appendingPipe(role, id: id) }
    #expect(error?.code == .invalidArgument)
  }
}
