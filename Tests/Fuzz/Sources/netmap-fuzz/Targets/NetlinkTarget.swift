@testable import NetmapCore
@testable import NetmapLinuxSetup

extension FuzzTarget {
  /// Two bytes of a number that is looked for, and what the kernel sent.
  static let netlink = FuzzTarget(
    name: "netlink", subject: "answers and reports of rtnetlink(7)"
  ) { bytes in
    var input = FuzzInput(bytes)
    let wanted = Int(input.number(UInt16.self))
    let answer = input.takeRest()
    let code = NetlinkMessage.acknowledgement(in: answer[...])
    require(code == nil || answer.count > 5, "a datagram without a type is no acknowledgement")
    let isGone = LinkMonitor.tells(answer[...], removalOf: UInt32(wanted))
    require(isGone == tellsSlowly(answer, UInt32(wanted)), "the report says the same read again")
    guard let link = try? LinkDescription(reply: answer, named: "eth0") else {
      require(answer.count < 32, "an answer with a header is read")
      return
    }
    let found = link.value(of: wanted).map { Array($0) }
    require(found == slowValue(of: wanted, in: Array(answer[32...])), "an attribute has one value")
    if let kind = link.kind { require(!kind.utf8.contains(0), "a kind ends at its NUL") }
  }

  /// A second reading of attributes, by offsets.
  private static func slowValue(of wanted: Int, in bytes: [UInt8]) -> [UInt8]? {
    var offset = 0
    while offset + 4 <= bytes.count {
      let length = Int(bytes[offset]) | Int(bytes[offset + 1]) << 8
      let type = Int(bytes[offset + 2]) | Int(bytes[offset + 3] & 0x3f) << 8
      if length < 4 || offset + length > bytes.count { return nil }
      if type == wanted { return Array(bytes[offset + 4..<offset + length]) }
      offset += (length + 3) / 4 * 4
    }
    return nil
  }

  /// A second reading of reports, by offsets.
  private static func tellsSlowly(_ bytes: [UInt8], _ interface: UInt32) -> Bool {
    func word(_ offset: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }
    var offset = 0
    while offset + 32 <= bytes.count {
      // RTM_DELLINK is 17.
      if word(offset + 4) & 0xffff == 17, word(offset + 20) == interface { return true }
      let length = Int(word(offset))
      if length < 16 { return false }
      offset += (length + 3) / 4 * 4
    }
    return false
  }
}
