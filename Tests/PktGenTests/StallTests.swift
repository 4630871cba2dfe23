import Netmap
import Testing
import ToolSupport

@testable import PktGenCore

@Suite("A run that makes no progress says what it waits for")
struct StallTests {
  private let second: UInt64 = 1_000_000_000

  @Test("after a second, and once")
  func once() {
    var watch = StallWatch(InterfaceName("x{1"))
    func look(_ tenths: UInt64, _ packets: UInt64 = 7) -> String? {
      watch.message([.room], packets: packets, at: tenths * second / 10)
    }
    #expect(look(0) == nil && look(5) == nil && look(9) == nil)
    #expect(look(10) == "waiting for room in netmap:x{1: the other end takes no packets")
    #expect(watch.isOver)
    #expect(look(20) == nil && look(90, 8) == nil)
  }

  @Test("progress, a thread that does not wait, or no thread: the second begins again")
  func progress() {
    var watch = StallWatch(InterfaceName("x{1"))
    func look(_ tenths: UInt64, _ awaited: [Awaited], _ packets: UInt64 = 0) -> String? {
      watch.message(awaited, packets: packets, at: tenths * second / 10)
    }
    #expect(look(0, [.room, .room]) == nil)
    #expect(look(9, [.room, .room], 1) == nil)
    #expect(look(18, [.room, .room], 1) == nil)
    #expect(look(19, [.room, .nothing], 1) == nil)
    #expect(look(20, [.room, .room], 1) == nil)
    #expect(look(29, [], 1) == nil)
    #expect(look(30, [.departure], 1) == nil)
    #expect(look(39, [.departure], 1) == nil)
    #expect(look(40, [.departure], 1) != nil)
  }

  @Test(
    "what is waited for",
    arguments: [
      ("vale0:a", .room, "waiting for room in vale0:a"),
      ("eth0", .departure, "waiting for the last packets to leave netmap:eth0"),
      ("x}1", .packets, "waiting for packets on netmap:x}1"),
      ("eth0", .replies, "waiting for replies on netmap:eth0"),
    ] as [(String, Awaited, String)])
  func texts(_ row: (name: String, awaited: Awaited, text: String)) {
    var watch = StallWatch(InterfaceName(row.name))
    #expect(watch.message([row.awaited], packets: 0, at: 0) == nil)
    #expect(watch.message([row.awaited], packets: 0, at: second) == row.text)
  }

  @Test(
    "each function, with --json, says it in the log only",
    arguments: [
      ("tx -n 1", "waiting for the last packets to leave netmap:t{1: the other end takes no"),
      ("tx", "waiting for room in netmap:t{1: the other end takes no packets"),
      ("tx --busy-wait", "waiting for room in netmap:t{1: the other end takes no packets"),
      ("txseq", "waiting for room in netmap:t{1: the other end takes no packets"),
      ("rx", "waiting for packets on netmap:t{1"), ("rxseq", "waiting for packets on netmap:t{1"),
      ("pong", "waiting for packets on netmap:t{1"), ("ping", "waiting for replies on netmap:t{1"),
    ])
  func functions(_ row: (function: String, text: String)) throws {
    let run = try Run("-i netmap:t{1 --json -f \(row.function)", try EmbeddedEngine())
    try run.waitFor(row.text)
    // Time for another one, which must not come.
    Clock.sleep(nanoseconds: 2 * second)
    run.stop()
    #expect(run.wait() == 0)
    #expect(run.log.count(row.text) == 1)
    #expect(!run.output.has("waiting"))
    #expect(run.output.lines.last?.hasPrefix("{") == true)
  }

  @Test("a slow rate is no wait")
  func slowRate() throws {
    let engine = try EmbeddedEngine()
    let receiver = try Run("-i netmap:t}1 -f rx -n 3", engine)
    try receiver.waitFor("reading from")
    let sender = try Run("-i netmap:t{1 -f tx -R 1 -n 3", engine)
    #expect(sender.wait() == 0 && receiver.wait() == 0)
    #expect(!sender.log.has("waiting for"), "\(sender.log.text)")
  }
}
