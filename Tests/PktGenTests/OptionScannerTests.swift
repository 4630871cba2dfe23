import Netmap
import Testing
import ToolSupport

@Suite("Options as getopt(3) reads them")
struct OptionScannerTests {
  private func items(_ line: String) -> [OptionScanner.Item] {
    var scanner = OptionScanner(
      line.split(separator: " ").map(String.init), short: "vAi:l:",
      long: ["json": false, "to": true])
    var result: [OptionScanner.Item] = []
    while let item = scanner.next() { result.append(item) }
    return result
  }

  @Test(
    "clusters, attached and separate values, operands, end of options",
    arguments: [
      ("-vAi vale:a", [.short("v", nil), .short("A", nil), .short("i", "vale:a")]),
      ("-l60 -l 70", [.short("l", "60"), .short("l", "70")]),
      ("-l -v", [.short("l", "-v")]),
      ("x -v", [.operand("x"), .short("v", nil)]),
      ("-v -- -A", [.short("v", nil), .operand("-A")]),
      ("- -v", [.operand("-"), .short("v", nil)]),
      ("--json --to=a --to b", [.long("json", nil), .long("to", "a"), .long("to", "b")]),
      ("-vq", [.short("v", nil), .invalid("-q")]),
      ("-i", [.invalid("-i, which needs a value")]),
      ("--nope", [.invalid("--nope")]),
      ("--to", [.invalid("--to, which needs a value")]),
      ("--json=1", [.invalid("--json, which takes no value")]),
    ] as [(String, [OptionScanner.Item])])
  func table(_ row: (line: String, items: [OptionScanner.Item])) {
    #expect(items(row.line) == row.items)
  }

  @Test(
    "numbers as atoi(3) reads them",
    arguments: [
      ("60", 60, false), (" 60", 60, false), ("60x", 60, true), ("word", 0, true),
      ("-5", -5, false),
      ("+7", 7, false), ("", 0, true), ("99999999999999999999", .max, false), ("1.5", 1, true),
    ])
  func leadingNumbers(_ row: (text: String, value: Int, trailing: Bool)) {
    let number = LeadingNumber(row.text)
    #expect(number.value == row.value)
    #expect(number.hasTrailingText == row.trailing)
  }

  @Test(
    "numbers with a suffix",
    arguments: [
      ("60", 60), (" 60", 60), ("-5k", -5000), ("+7", 7), ("1k", 1000), ("2K", 2000),
      ("3M", 3_000_000), ("4G", 4_000_000_000), ("99999999999999999999", .max),
      ("-9999999999G", .min),
      ("", nil), ("k", nil), ("word", nil), ("1m", nil), ("1g", nil), ("1 k", nil), ("1kk", nil),
      ("1.5", nil), ("1.5M", nil), ("60x", nil), ("0x10", nil),
    ] as [(String, Int?)])
  func scaledNumbers(_ row: (text: String, value: Int?)) {
    #expect(LeadingNumber.scaled(row.text) == row.value)
  }

  @Test("numbers in any base")
  func anyBase() {
    #expect(LeadingNumber.unsigned(anyBase: "0x10") == 16)
    #expect(LeadingNumber.unsigned(anyBase: "010") == 8)
    #expect(LeadingNumber.unsigned(anyBase: "10") == 10)
    #expect(LeadingNumber.unsigned(anyBase: "0") == 0)
    #expect(LeadingNumber.unsigned(anyBase: "0x") == nil)
    #expect(LeadingNumber.unsigned(anyBase: "1x") == nil)
    #expect(LeadingNumber.unsigned(anyBase: "-1") == nil)
  }

  @Test("the ring configuration string")
  func ringConfiguration() {
    let one = RingConfiguration("512").hints
    #expect(one.transmitSlots == 512 && one.receiveSlots == 512 && one.transmitRings == 0)
    let all = RingConfiguration("1,2,3,4,5,6")
    #expect(all.hints.transmitSlots == 1 && all.hints.receiveSlots == 2)
    #expect(all.hints.transmitRings == 3 && all.hints.receiveRings == 4)
    #expect(all.ignored == ["5", "6"])
    let three = RingConfiguration("0,0,2").hints
    #expect(three.transmitRings == 2 && three.receiveRings == 2)
  }
}
