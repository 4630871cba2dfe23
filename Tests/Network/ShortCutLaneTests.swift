import Glibc
import Netmap
import NetmapTestSupport
import Testing

@testable import NetmapCore
@testable import NetmapLinux

/// The lane of a veth short cut beside the kernel's rings, over rings that the test fills in place of the kernel. The port
/// sends to itself.
@Suite struct ShortCutLaneTests {
  @safe
  private struct Fixture {
    let backend = FakeSocketRings(hasLane: true)
    let engine: Engine
    let port: RawPort
    let lane: ShortCutLane

    init() throws {
      engine = try Engine(interfaces: FakeInterfaces(backend: backend))
      port = try RawPort(engine, "fake")
      unsafe lane = unsafe try #require(backend.lane)
    }

    func hold(lookedAgo nanoseconds: Int64 = 0) {
      unsafe lane.lastLook =
        ShortCutLane.coarseNanoseconds() &- UInt64(bitPattern: nanoseconds)
      unsafe lane.mode = .held
    }

    /// Ends a hold: what the kernel has delivered by now was sent before.
    func endHold(_ mode: ShortCutLane.Mode) {
      unsafe lane.barrier = backend.writtenFrames
      unsafe lane.mode = mode
    }

    func send(_ numbers: Range<Int>) {
      for number in numbers { port.put(numberedFrame(number, length: 60)) }
      port.sync(.transmit)
    }

    /// Takes all packets: the numbers of those that came by the lane, nil for the kernel's.
    func take() -> [Int?] {
      var result: [Int?] = []
      port.sync(.receive)
      let ring = unsafe port.receive
      while unsafe ring.head != ring.tail {
        let slot = unsafe ring.load(ring.head)
        result.append(numberInFrame(unsafe port.bytes(ring, slot.bufferIndex, Int(slot.length))))
        unsafe port.handOver(ring)
      }
      port.sync(.receive)
      return result
    }

    var freeSlots: UInt32 {
      unsafe port.transmit.distance(from: port.transmit.head, to: port.transmit.tail)
    }
  }

  @Test("packets sent while a lane is held wait in it, and come after what was sent before")
  func held() throws {
    let fixture = try Fixture()
    fixture.hold()
    fixture.send(0..<3)
    // The sender has its slots back, and nothing was given to the kernel.
    #expect(fixture.freeSlots == 61 && fixture.backend.takeSent() == [])
    #expect(fixture.take() == [])
    fixture.backend.deliver(in: [0, 1])
    #expect(fixture.take() == [nil, nil])
    fixture.backend.deliver(in: [0])
    fixture.endHold(.joined)
    #expect(fixture.take() == [nil, 0, 1, 2])
    fixture.send(3..<5)
    fixture.backend.deliver(in: [0])
    #expect(fixture.take() == [nil, 3, 4])
    #expect(fixture.port.counters(.transmit).shortCutPackets == 5)
    #expect(fixture.port.counters(.receive).shortCutPackets == 5)
    #expect(fixture.port.counters(.receive).packets == 9)
    #expect(fixture.engine.check().findings == [])
  }

  @Test("a hold that ends with the kernel: earlier frames, the lane's packets, later ones")
  func withdrawnWhileHeld() throws {
    let fixture = try Fixture()
    for round in 0..<5 {
      fixture.hold()
      fixture.send(0..<3)
      fixture.backend.deliver(in: [0, 1])
      fixture.endHold(.kernel)
      fixture.send(3..<5)
      let sent = fixture.backend.takeSent()
      #expect(sent.count == 2)
      fixture.backend.complete(sent)
      fixture.backend.deliver(in: [0, 1])
      #expect(fixture.take() == [nil, nil, 0, 1, 2, nil, nil], "round \(round)")
    }
    #expect(fixture.engine.check().findings == [])
  }

  @Test("a lane that fills while it is held holds the sender up, loses nothing, and goes on")
  func fills() throws {
    let fixture = try Fixture()
    fixture.hold()
    var next = 0
    for _ in 0..<4 {
      let room = Int(fixture.freeSlots)
      fixture.send(next..<next + room)
      next += room
    }
    #expect(next == 64 && fixture.freeSlots == 0)
    #expect(fixture.take() == [])
    fixture.endHold(.joined)
    var taken: [Int?] = []
    for _ in 0..<10 {
      taken += fixture.take()
      let room = Int(fixture.freeSlots)
      fixture.send(next..<next + room)
      next += room
    }
    #expect(taken.count > 200)
    #expect(taken == Array(0..<taken.count))
    #expect(fixture.engine.check().findings == [])
  }

  @Test("when the engine has ended during a hold, the receiver takes the packets after a second")
  func forsaken() throws {
    let fixture = try Fixture()
    // Looked just now; a moment ago; a stamp that a peer has garbled.
    for age in [0, 500_000_000, -1_000_000_000_000] as [Int64] {
      fixture.hold(lookedAgo: age)
      fixture.send(0..<1)
      #expect(fixture.take() == [], "\(age)")
      fixture.endHold(.joined)
      #expect(fixture.take() == [0], "\(age)")
    }
    fixture.hold(lookedAgo: 2_000_000_000)
    fixture.send(0..<2)
    fixture.backend.deliver(in: [0])
    #expect(fixture.take() == [nil, 0, 1])
  }

  @Test("a closed lane shows nothing, and its sender gives packets to the kernel")
  func closed() throws {
    let fixture = try Fixture()
    fixture.hold()
    fixture.send(0..<3)
    unsafe fixture.lane.mode = .closed
    fixture.send(3..<5)
    #expect(fixture.backend.takeSent().count == 2)
    fixture.backend.deliver(in: [0])
    #expect(fixture.take() == [nil])
  }

  @Test("a sleeper sees the end of a hold, although nobody wakes it", .timeLimit(.minutes(15)))
  func sleeps() throws {
    let backend = FakeSocketRings(hasLane: true)
    let port = try NetmapPort(
      "netmap:fake", engine: EmbeddedEngine(interfaces: FakeInterfaces(backend: backend)))
    let lane = unsafe try #require(backend.lane)
    unsafe lane.lastLook = UInt64(Int64.max)
    unsafe lane.mode = .held
    do {
      var ring = port.transmitRing(0)
      _ = ring.append(length: 60)
    }
    try port.sync(.transmit)
    #expect(try port.wait(for: .receive, timeout: .milliseconds(100)) == [])
    let end = try NamespaceThread {
      usleep(100_000)
      if let lane = unsafe backend.lane { unsafe lane.mode = .joined }
    }.start()
    let clock = ContinuousClock()
    let start = clock.now
    #expect(try port.wait(for: .receive, timeout: .seconds(60)) == .receive)
    #expect(clock.now - start < .seconds(30))
    try end.join()
  }

  @Test("numbers of a recipe that a peer has garbled are refused, or describe a lane in its memory")
  func recipes() throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 1...99_999)
    var generator = SeededGenerator(seed: seed)
    var recipe = XDPRecipe(
      .transmit, stateOffset: 0,
      layout: XDPPairLayout(transmitSlots: 1024, receiveSlots: 1024, bufferCount: 4096),
      ringSize: 2048, memoryOffset: 4096, chunkSize: 2048, headroom: RegionLayout.kernelHeadroom,
      longestChain: 18, mayOverlap: true)
    recipe.stateOffset = recipe.layout.byteCount
    recipe.shortCut = ShortCutRecipe(
      layout: try #require(ShortCutLayout(pairs: 2, slots: 1024)), side: 1)
    let honest = recipe.numbers
    #expect(XDPRecipe(.transmit, honest) == recipe)
    #expect(XDPRecipe(.transmit, Array(honest.dropLast())) == nil)
    #expect(XDPRecipe(.transmit, honest + [0]) == nil)
    let values: [UInt64] = [
      0, 1, 2, 3, 512, 1023, 1024, 2048, 4096, 4097, 65_536, 1 << 24, UInt64(Int32.max) * 64,
      .max,
    ]
    var accepted = 0
    for _ in 0..<20_000 {
      var numbers = honest
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        numbers[Int.random(in: 0..<numbers.count, using: &generator)] =
          values[Int.random(in: 0..<values.count, using: &generator)]
      }
      guard let made = XDPRecipe(.transmit, numbers) else { continue }
      accepted += 1
      let cut = try #require(made.shortCut, "seed \(seed): \(numbers)")
      #expect((0...1).contains(cut.side) && (0..<cut.layout.pairs).contains(made.queue))
      #expect(cut.layout.slots == made.layout.receiveSlots, "seed \(seed): \(numbers)")
      // The last lane ends in the memory: cells and origins behind a header.
      let lanes = 2 * cut.layout.pairs * (384 + 16 * cut.layout.slots)
      #expect(cut.layout.byteCount >= lanes, "seed \(seed): \(numbers)")
    }
    #expect(accepted > 100, "seed \(seed)")
  }
}
