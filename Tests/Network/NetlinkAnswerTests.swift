import CLinux
import Glibc
import NetmapCore
import Testing

@testable import NetmapLinuxSetup

/// Answers of rtnetlink(7) as bytes, without a socket.
@Suite("Netlink: answers")
struct NetlinkAnswerTests {
  private func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  private func message(_ type: Int, index: UInt32, length: UInt32? = nil) -> [UInt8] {
    bytes(length ?? 32) + bytes(UInt16(type)) + [UInt8](repeating: 0, count: 14) + bytes(index)
      + [UInt8](repeating: 0, count: 8)
  }

  @Test("an acknowledgement gives the errno; any other message gives none")
  func acknowledgements() {
    func acknowledgement(_ code: Int32) -> Int32? {
      let header = bytes(UInt32(36)) + bytes(UInt16(NLMSG_ERROR)) + [UInt8](repeating: 0, count: 10)
      return NetlinkMessage.acknowledgement(in: (header + bytes(code))[...])
    }
    #expect(acknowledgement(0) == 0)
    #expect(acknowledgement(-EPERM) == EPERM)
    // No kernel sends this number, whose negation does not exist.
    #expect(acknowledgement(.min) == .min)
    #expect(NetlinkMessage.acknowledgement(in: message(RTM_NEWLINK, index: 1)[...]) == nil)
    #expect(NetlinkMessage.acknowledgement(in: []) == nil)
  }

  @Test("a report of a removal counts for its interface, wherever it stands among others")
  func removals() {
    let other = message(RTM_NEWLINK, index: 5)
    let removal = message(RTM_DELLINK, index: 5)
    func tells(_ messages: [UInt8], _ index: UInt32 = 5) -> Bool {
      LinkMonitor.tells(messages[...], removalOf: index)
    }
    #expect(tells(removal) && tells(other + removal) && tells(removal + other))
    #expect(!tells(other) && !tells(removal, 6) && !tells([]))
    // A message that ends early, and one with an impossible length.
    #expect(!tells(Array(removal.prefix(31))))
    #expect(!tells(message(RTM_NEWLINK, index: 5, length: 15) + removal))
    #expect(!tells(message(RTM_NEWLINK, index: 5, length: .max) + removal))
  }

  @Test("an answer without a header is EIO; attributes end at the first malformed one")
  func descriptions() throws {
    #expect(throws: NetmapError.self) {
      _ = try LinkDescription(reply: [UInt8](repeating: 0, count: 31), named: "eth0")
    }
    let header = message(RTM_NEWLINK, index: 5)
    let name = bytes(UInt16(9)) + bytes(UInt16(3)) + Array("eth0".utf8) + [0, 0, 0, 0]
    let link = try LinkDescription(
      reply: header + name + [3, 0, 4, 0] + name.prefix(4), named: "eth0")
    #expect(link.value(of: 3).map { Array($0) } == Array("eth0".utf8) + [0])
    #expect(link.value(of: 4) == nil)
    #expect(link.kind == nil)
  }
}
