import CLinux
import Netmap
import NetmapLinux
import NetmapTestSupport
import Testing

/// Syncs of interfaces' rings while a peer on the same port writes to all memory that it has mapped: cursors,
/// slots, the words of ring drivers, and the kernel's rings.
@Suite(.serialized) struct HostileSyncTests {
  /// The duration of each attack: long enough to write a million words.
  private static let seconds = Double(environmentNumber("NETMAP_HOSTILE_SECONDS") ?? 2)

  @Test(
    "a sync of an XDP ring ends and accesses only its memory, whatever a peer writes meanwhile",
    arguments: [false, true])
  func xdp(hasLane: Bool) throws {
    let backend = FakeSocketRings(hasLane: hasLane)
    if let lane = unsafe backend.lane { unsafe lane.mode = .joined }
    let port = try NetmapPort(
      "netmap:fake", engine: EmbeddedEngine(interfaces: FakeInterfaces(backend: backend)))
    var count = 0
    let syncs = HostilePeer(memory: backend.exposed).attack(seconds: Self.seconds) {
      count += 1
      try? port.sync(.receive)
      var received = port.receiveRing(0)
      received.skip(count % 7)
      var sent = port.transmitRing(0)
      for _ in 0..<count % 11 {
        _ = sent.append(length: 60, flags: count % 3 == 0 ? .moreFragments : [])
      }
      try? port.sync(.transmit)
    }
    print("HostileSyncTests: \(syncs) syncs, \(port.statistics.receive.packets) received")
    // The syncs passed their first checks.
    #expect(port.statistics.receive.packets > 0 && port.statistics.transmit.packets > 0)
  }

  @Test("a sync of a ring of blocks does too, whatever the blocks and its cursors contain")
  func blocks() throws {
    let backend = FakeBlocks()
    let port = try NetmapPort(
      "netmap:fake", engine: EmbeddedEngine(interfaces: FakeInterfaces(backend: backend)))
    let frames = (0..<8).map { number in
      FakeBlocks.Frame(
        bytes: SampleFrames.ipv4(protocol: 6) + Array(repeating: 0x50, count: 1000),
        tag: number == 0 ? (0x8100, 5) : nil,
        offload: (1, UInt8(number % 5), 100, 34, 16))
    }
    var count = 0
    let syncs = HostilePeer(memory: backend.exposed).attack(seconds: Self.seconds) {
      if count % 64 == 0 { backend.publish(count / 64 % backend.layout.blockCount, frames) }
      count += 1
      try? port.sync(.receive)
      var received = port.receiveRing(0)
      received.skip(count % 40)
    }
    print("HostileSyncTests: \(syncs) syncs, \(port.statistics.receive.packets) received")
    #expect(port.statistics.receive.packets > 0)
  }

  @Test("a sync does not look for the end of a packet beyond the receive ring")
  func endless() throws {
    let backend = FakeSocketRings()
    let port = try NetmapPort(
      "netmap:fake", engine: EmbeddedEngine(interfaces: FakeInterfaces(backend: backend)))
    backend.claimEndlessPacket()
    let clock = ContinuousClock()
    let start = clock.now
    for _ in 0..<100 { try port.sync(.receive) }
    #expect(clock.now - start < .seconds(1))
    let ring = port.receiveRing(0)
    let isEmpty = ring.isEmpty
    #expect(isEmpty)
  }
}
