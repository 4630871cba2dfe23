import Netmap
import PktGenCore
import Testing
import ToolSupport

@Suite("Ping and pong")
struct PingTests {
  @Test("requests are answered", arguments: ["", "-b 4", "-6", "-l 200", "--busy-wait", "-H 12"])
  func pingPong(options: String) throws {
    let engine = try EmbeddedEngine()
    let header = options == "-H 12" ? options : ""
    let pong = try Run("-i netmap:t}1 -f pong \(header)", engine)
    try pong.waitFor("Ready...")
    let ping = try Run("-i netmap:t{1 -f ping -n 20 --json \(options)", engine)
    #expect(ping.wait() == 0)
    pong.stop()
    #expect(pong.wait() == 0)
    #expect(ping.log.count("RTT over 20 packets: min ") == 1)
    #expect(ping.output.lines.first == "Working on netmap:t{1: 1 queues, 1 threads and 1 cpus.")
    #expect(
      ping.output.has(
        #""round_trips":{"sent":20,"replies":20,"lost":0,"duplicates":0,"foreign":0,"#))
    #expect(!ping.output.has("Sent ") && !pong.output.has("Sent "))
    #expect(ping.log.has("IPv6 not supported") == (options == "-6"))
  }

  @Test("requests are valid packets with number and time, and replies swap the addresses")
  func packets() throws {
    let engine = try EmbeddedEngine()
    let far = try NetmapPort("netmap:t}1", engine: engine)
    let before = Clock.wall() / 1_000_000_000
    let ping = try Run("-i netmap:t{1 -f ping -n 3 -b 3", engine)
    let frames = try far.takeSlots(3).map(\.bytes)
    // No pong answers.
    ping.stop()
    #expect(ping.wait() == 0)
    #expect(ping.log.has("RTT over 0 packets: min 0 av 0 ns"))
    for (index, frame) in frames.enumerated() {
      #expect(DecodedFrame(frame).isValid)
      #expect(Array(frame[42..<46]) == [UInt8(index), 0, 0, 0])
      let seconds = frame[46..<50].reversed().reduce(0) { $0 << 8 | UInt64($1) }
      #expect(seconds >= before && seconds <= before + 60)
    }

    let pong = try Run("-i netmap:u{1 -f pong -n 1", engine)
    let other = try NetmapPort("netmap:u}1", engine: engine)
    try other.inject(frames[0])
    let reply = try #require(try other.takeSlots(1).first).bytes
    #expect(pong.wait() == 0)
    #expect(pong.log.has("understood ponger 1 but don't know how to do it"))
    #expect(Array(reply[0..<6]) == Array(frames[0][6..<12]))
    let (sent, received) = (DecodedFrame(frames[0]), DecodedFrame(reply))
    #expect(received.isValid)
    #expect(received.source == sent.destination && received.destination == sent.source)
    #expect(received.sourcePort == sent.sourcePort)
  }

  @Test("pong keeps packets of several slots whole")
  func pongFragments() throws {
    let engine = try EmbeddedEngine()
    let pong = try Run("-i netmap:u{1 -f pong -n 1", engine)
    let other = try NetmapPort("netmap:u}1", engine: engine)
    try other.inject([UInt8](repeating: 7, count: 5000))
    let slots = try other.takeSlots(3)
    #expect(pong.wait() == 0)
    #expect(slots.map(\.bytes.count) == [2048, 2048, 904])
    #expect(slots.map { $0.flags.contains(.moreFragments) } == [true, true, false])
  }

  @Test("ping gives up a lost request after three seconds, and counts it")
  func lost() throws {
    let engine = try EmbeddedEngine()
    let far = try NetmapPort("netmap:t}1", engine: engine)
    let ping = try Run("-i netmap:t{1 -f ping -n 2 --json", engine)
    #expect(try far.takeSlots(1).count == 1)
    // ping sends the second request after it has given up the first.
    var second: [[UInt8]] = []
    while second.isEmpty { second = try far.takeSlots(1).map(\.bytes) }
    try far.inject(second[0])
    try far.inject(second[0])
    try far.sync(.transmit)
    #expect(ping.wait() == 0)
    #expect(ping.log.has("poll error on queue 0: timeout"))
    #expect(ping.output.has(#""sent":2,"replies":1,"lost":1,"duplicates":1,"#))
  }
}
