import NetmapCore
import NetmapTestSupport
import Testing

@Suite("VALE modules: the load balancer")
struct BalancerTests {
  private let outputs = ["p2", "p3", "p4"]

  /// Sends a frame and returns the output that got it.
  private func output(of frame: IPFrame, from port: Int, on vale: TestSwitch) throws -> Int {
    vale[port].tx().putPacket(frame.bytes)
    vale[port].tx().sync()
    let arrived = vale.takeAll().enumerated().filter { !$1.isEmpty }
    try #require(arrived.count == 1, "\(arrived.map(\.0))")
    try #require(arrived[0].element == [frame.bytes])
    return arrived[0].offset
  }

  @Test(
    "both directions of a random flow go to the same output, and all outputs get flows",
    arguments: 0..<2 as Range<UInt64>)
  func symmetric(number: UInt64) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0xba1a_0000 + number
    var generator = SeededGenerator(seed: seed)
    let vale = try TestSwitch(5)
    try vale.choose(.balancer(outputs: outputs))
    var counts = [0, 0, 0, 0, 0]
    for _ in 0..<600 {
      let frame = IPFrame.random(&generator)
      let there = try output(of: frame, from: 0, on: vale)
      let back = try output(of: frame.reversed, from: 1, on: vale)
      try #require(there == back, "NETMAP_TEST_SEED=\(seed), \(frame)")
      // VLAN tags and extension headers do not make another flow.
      var plain = frame
      (plain.tags, plain.hasExtension) = ([], false)
      #expect(try output(of: plain, from: 0, on: vale) == there, "NETMAP_TEST_SEED=\(seed)")
      counts[there] += 1
    }
    #expect(counts[0] == 0 && counts[1] == 0)
    for place in 2...4 { #expect(counts[place] > 120, "\(counts)") }
  }

  @Test("all fragments of a packet go to the same output")
  func fragments() throws {
    let vale = try TestSwitch(5)
    try vale.choose(.balancer(outputs: outputs))
    for number in 0..<50 as Range<UInt8> {
      var frame = IPFrame()
      frame.isFragment = true
      frame.from = [10, 0, 0, number]
      let first = try output(of: frame, from: 0, on: vale)
      // Where the first fragment has ports, later fragments have payload.
      frame.ports = (40_000, 7)
      #expect(try output(of: frame, from: 0, on: vale) == first)
    }
  }

  @Test("flows of an output that closes go to others, and come back with it")
  func leaving() throws {
    var vale = try TestSwitch(5)
    try vale.choose(.balancer(outputs: outputs))
    let flows = (0..<60 as Range<UInt16>).map { number in
      var frame = IPFrame()
      frame.ports.0 = number
      return frame
    }
    let before = try flows.map { try output(of: $0, from: 0, on: vale) }
    vale.ports[3].close()
    vale.ports.remove(at: 3)
    for (flow, former) in zip(flows, before) {
      let now = try output(of: flow, from: 0, on: vale)
      // The port after the closed one has moved up in `vale.ports`.
      if former == 2 { #expect(now == 2) }
      if former == 4 { #expect(now == 3) }
      #expect(now == 2 || now == 3)
    }
    vale.ports.insert(try TestPort(vale.engine, "vale0:p3"), at: 3)
    #expect(try flows.map { try output(of: $0, from: 0, on: vale) } == before)
  }

  @Test("packets from outputs are forwarded as by a learning bridge")
  func answers() throws {
    let vale = try TestSwitch(5)
    try vale.choose(.balancer(outputs: outputs))
    _ = try output(of: IPFrame(), from: 0, on: vale)
    let answer = IPFrame().reversed
    vale[2].tx().putPacket(answer.bytes)
    vale[2].tx().sync()
    #expect(vale.takeAll() == [[answer.bytes], [], [], [], []], "the sender's address was learned")
  }

  @Test("without an output on the switch, packets are dropped and counted")
  func nobody() throws {
    let vale = try TestSwitch(2)
    try vale.choose(.balancer(outputs: ["later"]))
    vale[0].tx().putPacket(IPFrame().bytes)
    vale[0].tx().sync()
    #expect(vale[1].rx().isSilent)
    #expect(try vale.report()["dropped"] == 1)
    let later = try TestPort(vale.engine, "vale0:later")
    vale[0].tx().putPacket(IPFrame().bytes)
    vale[0].tx().sync()
    #expect(later.rx().takePackets() == [IPFrame().bytes])
  }

  @Test("no outputs, too many, or one twice is EINVAL")
  func malformed() throws {
    let vale = try TestSwitch(2)
    for outputs in [[], ["a", "a"], (0..<255).map { "o\($0)" }] {
      let error = #expect(throws: NetmapError.self) { try vale.choose(.balancer(outputs: outputs)) }
      #expect(error?.code == .invalidArgument)
    }
  }
}
