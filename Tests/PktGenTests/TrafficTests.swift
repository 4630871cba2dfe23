import Netmap
import Testing
import ToolSupport

@testable import PktGenCore

@Suite("Sending and receiving through a pipe")
struct TrafficTests {
  @Test(
    "sender and receiver report the same packets",
    arguments: [
      ("", 60), ("-l 1514", 1514), ("-F 2", 60), ("-l 9000", 9000), ("-6 -l 80", 80),
      ("-s 10.0.0.1-10.0.0.9", 60), ("-o 4", 60), ("-o 8 -l 1500", 1500), ("-z -Z", 60), ("-r", 60),
      ("-b 1", 60), ("-b 4096", 60), ("-o 1", 60), ("-H 12", 72), ("-M 20", 60),
      ("--busy-wait", 60),
      ("-l 65536", 65536), ("-l 16", 16),
    ])
  func counts(_ row: (options: String, size: Int)) throws {
    let engine = try EmbeddedEngine()
    let count = row.size > 9000 ? 300 : 3000
    // The receiver reports the packets that it has seen between two polls.
    let receiver = try Run("-i netmap:t}1 -f rx -n \(count)", engine)
    try receiver.waitFor("reading from netmap:t}1")
    let sender = try Run("-i netmap:t{1 -f tx -n \(count) \(row.options)", engine)
    #expect(receiver.wait() == 0)
    #expect(sender.wait() == 0)
    let bytes = count * row.size
    #expect(sender.output.has("Sent \(count) packets \(bytes) bytes "))
    #expect(sender.output.has(" \(row.size) bytes each in "))
    #expect(receiver.output.has("Received \(count) packets \(bytes) bytes "))
    #expect(sender.output.lines.last?.hasPrefix("Speed: ") == true)
    #expect(sender.log.count("main_thread") >= 1)
  }

  @Test("only a receiver that had no room reports drops at the end")
  func drops() throws {
    let engine = try EmbeddedEngine()
    let receiver = try Run("-i valepg:r@conf:slots=16 -f rx -n 15", engine)
    try receiver.waitFor("reading from valepg:r")
    let sender = try NetmapPort("valepg:s", engine: engine)
    for _ in 0..<100 { try sender.inject([UInt8](repeating: 0xff, count: 60)) }
    try sender.sync(.transmit)
    #expect(receiver.wait() == 0)
    #expect(receiver.log.has("85 packets were dropped: 85 ring_full"), "\(receiver.log.text)")
    let (a, b) = (
      try Run("-i netmap:t}1 -f rx -n 9", engine), try Run("-i netmap:t{1 -f tx -n 9", engine)
    )
    #expect(a.wait() == 0 && b.wait() == 0)
    #expect(!a.log.has("dropped") && !b.log.has("dropped"))
  }

  @Test("drops before the run do not count")
  func earlierDrops() throws {
    let engine = try EmbeddedEngine()
    let name = "valepg:r@conf:slots=16"
    // Keeps the port and its counters.
    let other = try NetmapPort(name, engine: engine)
    let sender = try NetmapPort("valepg:s", engine: engine)
    for _ in 0..<100 { try sender.inject([UInt8](repeating: 0xff, count: 60)) }
    try sender.sync(.transmit)
    #expect(other.statistics.receive.drops.total == 85)
    let quiet = try Run("-i valepg:r -f rx -n 15 --json", engine)
    #expect(quiet.wait() == 0)
    #expect(!quiet.log.has("dropped"), "\(quiet.log.text)")
    #expect(quiet.output.has("\"receive_drops\":{\"ring_full\":0,"))
  }

  @Test("lines at the start")
  func startLines() throws {
    let engine = try EmbeddedEngine()
    let receiver = try Run("-i netmap:t}1 -f rx -n 1 -W", engine)
    let sender = try Run("-i netmap:t{1 -f tx -n 1 -s 10.0.0.1-10.0.0.2 -r", engine)
    #expect(receiver.wait() == 0 && sender.wait() == 0)
    #expect(
      sender.output.lines.prefix(2) == [
        "Sending on netmap:t{1: 1 queues, 1 threads and 1 cpus.",
        "10.0.0.1-10.0.0.2 -> 10.1.0.1 (00:00:00:00:00:00 -> ff:ff:ff:ff:ff:ff)",
      ])
    #expect(
      receiver.output.lines[0] == "Receiving from netmap:t}1: 1 queues, 1 threads and 1 cpus.")
    for line in [
      "--- SPECIAL OPTIONS: copy rubbish", "Sending 512 packets every  0.000000000 s",
      "Wait 0 secs for phy reset", "Ready...", "start, fd -1 main_fd -1", "frags 1 frag_size 60",
      "flush tail ",
    ] { #expect(sender.log.has(line)) }
  }

  @Test(
    "random sizes stay in range, and the reported bytes are their sum", arguments: [false, true])
  func randomSizes(perPacket: Bool) throws {
    let engine = try EmbeddedEngine()
    let far = try NetmapPort("netmap:t}1", engine: engine)
    let flag = perPacket ? "--size-per-packet" : ""
    let sender = try Run("-i netmap:t{1 -f tx -n 900 -l 100 -l 62 -o 4096 -b 90 \(flag)", engine)
    let frames = try far.takeSlots(900).map(\.bytes)
    #expect(sender.wait() == 0)
    let sizes = frames.map(\.count)
    #expect(sizes.allSatisfy { (62..<100).contains($0) })
    #expect(frames.allSatisfy { DecodedFrame($0).isValid })
    #expect(sender.output.has("Sent 900 packets \(sizes.reduce(0, +)) bytes 10 events "))
    let changes = zip(sizes, sizes.dropFirst()).count { $0 != $1 }
    #expect(perPacket ? changes > 100 : changes < 10)
  }

  @Test("every packet of a range is valid, and the packets follow the range")
  func range() throws {
    let engine = try EmbeddedEngine()
    let far = try NetmapPort("netmap:t}1", engine: engine)
    let sender = try Run("-i netmap:t{1 -f tx -n 2500 -s 10.0.0.1:5-10.0.0.3:6", engine)
    let frames = try far.takeSlots(2500).map { DecodedFrame($0.bytes) }
    #expect(sender.wait() == 0)
    #expect(frames.count == 2500 && frames.allSatisfy { $0.isValid })
    for (index, frame) in frames.enumerated() where index < 20 || index > 2400 {
      #expect(frame.sourcePort == UInt16(5 + index % 2))
      #expect(frame.source[3] == UInt8(1 + index / 2 % 3))
    }
  }

  @Test(
    "buffers are filled once, or each time with -o 4", arguments: [("", true), ("-o 4", false)])
  func filledOnce(_ row: (options: String, staysMarked: Bool)) throws {
    let engine = try EmbeddedEngine()
    let far = try NetmapPort("netmap:t}1@conf:slots=16", engine: engine)
    let sender = try Run("-i netmap:t{1 -f tx -n 45 \(row.options)", engine)
    var round: [[UInt8]] = []
    while round.count < 15 {
      try far.wait(for: .receive, timeout: .seconds(1))
      var ring = far.receiveRing(0)
      let raw = unsafe ring.unsafeRing
      while round.count < 15, let packet = ring.nextSlot() {
        let index = packet.slot.bufferIndex
        round.append((0..<packet.bytes.byteCount).map { packet.bytes[$0] })
        // The receiver can mark the buffer, which is shared.
        unsafe raw.buffer(index).storeBytes(
          of: 0x99, toByteOffset: 50, as: UInt8.self)
      }
    }
    let later = try far.takeSlots(30).map(\.bytes)
    #expect(sender.wait() == 0)
    #expect(round.allSatisfy { DecodedFrame($0).isValid })
    #expect(later.count == 30)
    // Skips the slot that was empty in the first round, and is filled later than the others.
    #expect(later.dropFirst().prefix(14).allSatisfy { ($0[50] == 0x99) == row.staysMarked })
  }

  @Test("all but a packet's last slot have NS_MOREFRAG; a batch's last slot has NS_REPORT")
  func slotFlags() throws {
    let engine = try EmbeddedEngine()
    let far = try NetmapPort("netmap:t}1", engine: engine)
    let sender = try Run("-i netmap:t{1 -f tx -n 4 -F 3 -b 2 -l 100", engine)
    let slots = try far.takeSlots(12)
    #expect(sender.wait() == 0)
    #expect(slots.map(\.bytes.count) == [33, 33, 34, 33, 33, 34, 33, 33, 34, 33, 33, 34])
    let more = slots.map { $0.flags.contains(.moreFragments) }
    #expect(more == (0..<12).map { $0 % 3 != 2 })
    #expect(slots.map { $0.flags.contains(.report) } == (0..<12).map { $0 % 6 == 5 })
    #expect(DecodedFrame(Array(slots.prefix(3).map(\.bytes).joined())).isValid)
  }

  @Test("each thread has a ring, and the first one takes the remainder")
  func threads() throws {
    let engine = try EmbeddedEngine()
    let far = try NetmapPort("netmap:t}1@conf:rings=2", engine: engine)
    let sender = try Run("-i netmap:t{1 -f tx -n 1001 -p 2 --json", engine)
    let slots = try far.takeSlots(1001)
    #expect(sender.wait() == 0)
    #expect(slots.count == 1001)
    #expect(sender.output.has("Sending on netmap:t{1: 2 queues, 2 threads and 1 cpus."))
    #expect(sender.output.has("Sent 1001 packets 60060 bytes"))
    #expect(sender.output.has("\"threads\":2,"))
    #expect(engine.ports.first { $0.name == "t{1" } == nil)
  }

  @Test("several receiver threads together get every packet")
  func receiverThreads() throws {
    let engine = try EmbeddedEngine()
    let receiver = try Run("-i netmap:t}1@conf:rings=2 -f rx -p 2 -W", engine)
    try receiver.waitFor("Ready...")
    let sender = try Run("-i netmap:t{1 -f tx -n 2000 -p 2", engine)
    #expect(sender.wait() == 0)
    #expect(receiver.wait() == 0)
    #expect(receiver.output.has("Received 2000 packets 120000 bytes"))
  }

  @Test("a request to stop ends a sender that has no room, and a receiver that has no packets")
  func stops() throws {
    let engine = try EmbeddedEngine()
    let sender = try Run("-i netmap:t{1 -f tx", engine)
    let idle = try Run("-i netmap:t{2 -f rx", engine)
    // The message comes when the ring has been full for two seconds.
    try sender.waitFor("poll error on queue 0: timeout")
    try idle.waitFor("waiting for initial packets, poll returns 0 0")
    sender.stop()
    idle.stop()
    #expect(sender.wait() == 0)
    #expect(idle.wait() == 0)
    #expect(sender.output.has("Sent 1023 packets"))
    #expect(idle.output.lines.last == "Received nothing.")
  }

  @Test("the sender keeps to the rate")
  func rate() throws {
    let engine = try EmbeddedEngine()
    let far = try NetmapPort("netmap:t}1", engine: engine)
    var configuration = try Configuration(.tx, on: InterfaceName("t{1"))
    configuration.rate = 2000
    configuration.packetLimit = 1000
    configuration.alignsStart = false
    let (output, log) = (Recorder(), Recorder())
    let surroundings = Session.Surroundings(
      output: output.sink, log: ToolLog(to: log.sink), engine: engine)
    let session = configuration
    let thread = try #require(
      WorkerThread { _ = try? Session(session, surroundings).run() })
    let begin = Clock.monotonic()
    #expect(try far.takeSlots(1000).count == 1000)
    let seconds = Double(Clock.monotonic() - begin) / 1e9
    thread.join()
    #expect(log.has("Sending 6 packets every  0.003000000 s"))
    // Never early; a busy machine may make it late.
    #expect(seconds > 0.49 && seconds < 2)
    #expect(output.has("Sent 1000 packets"))
  }

  @Test("null accepts every packet, and always has more to receive")
  func null() throws {
    let engine = try EmbeddedEngine()
    let sender = try Run("-i null -f tx -n 10000 --json", engine)
    #expect(sender.wait() == 0)
    #expect(sender.output.has("Sent 10000 packets 600000 bytes 20 events 60 bytes each"))
    let json = try #require(sender.output.lines.last)
    #expect(json.hasPrefix(#"{"function":"tx","port":"null","threads":1,"failed_threads":0,"#))
    #expect(json.contains(#""packets":10000,"bytes":600000,"events":20,"#))
    let receiver = try Run("-i null -f rx -n 5000", engine)
    #expect(receiver.wait() == 0)
    #expect(receiver.output.has(" 60 bytes each"))
  }

  @Test("a packet from a file is sent unchanged")
  func packetFile() throws {
    let engine = try EmbeddedEngine()
    let far = try NetmapPort("netmap:t}1", engine: engine)
    let packet: [UInt8] = (0..<77).map { UInt8($0) }
    let header: [UInt8] =
      [0xd4, 0xc3, 0xb2, 0xa1] + [UInt8](repeating: 0, count: 20)
      + [UInt8](repeating: 0, count: 8) + [77, 0, 0, 0, 77, 0, 0, 0]
    try withFile(header + packet) { path in
      let sender = try Run("-i netmap:t{1 -f tx -n 3 -P \(path) -s 10.0.0.1-10.0.0.9 -H 10", engine)
      #expect(try far.takeSlots(3).map(\.bytes) == [packet, packet, packet])
      #expect(sender.wait() == 0)
      #expect(sender.output.has("77 bytes each"))
    }
  }

  @Test("dumped packets are on the standard output")
  func dump() throws {
    let engine = try EmbeddedEngine()
    let receiver = try Run("-i netmap:t}1 -f rx -n 2 -X", engine)
    let sender = try Run("-i netmap:t{1 -f tx -n 2 -X", engine)
    #expect(receiver.wait() == 0 && sender.wait() == 0)
    #expect(receiver.output.count("ring 0 cur ") == 2)
    #expect(sender.output.count("   48: ") == 2)
  }

  @Test(
    "unsupported requests are refused with a reason",
    arguments: [
      ("-i tap:x", 255, "cannot open tap x"), ("-i pcap:x", 255, "cannot open pcap on x"),
      ("-i vale0:a^", 255, "host rings"), ("-i netmap:nosuch", 255, "nosuch"),
      ("-i netmap:t{1@nonsense:1", 255, "nonsense"),
      ("-i t{1 -f tx -p 2", 255, "bad nthreads 2, have 1"),
      ("-i t{1 -f tx -p 0", 255, "bad nthreads 0"),
      ("-i t{1-0@conf:rings=2 -p 2", 255, "have 1 queues"),
      ("-i t{1 -f tx -I", 255, "indirect buffers (-I)"), ("-i t{1 -f tx -P /none", 255, "/none"),
      ("-i t{1 -f ping -p 2", 1, "can only ping with 1 thread"),
      ("-i t{1 -f pong -p 2", 1, "can only reply ping with 1 thread"),
      ("-i t{1 -f txseq -p 2", 1, "can only txseq ping with 1 thread"),
      ("-i t{1 -f ping -l 3000", 1, "must fit one buffer"),
      ("-i t{1@conf:slots=16 -f tx -l 65536", 1, "packets of 32 slots do not fit"),
      ("-i null -f tx -a 4000 -c 1 -n 1", 0, "Ready..."),
    ])
  func refusals(_ row: (line: String, status: CInt, message: String)) throws {
    let run = try Run(row.line, try EmbeddedEngine())
    #expect(run.wait() == row.status)
    #expect(run.log.has(row.message))
    if row.message.contains("must fit") {
      #expect(run.log.has("ouch, thread 0 exited with error"))
    }
  }
}
