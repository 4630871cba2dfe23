import Glibc
import Netmap
import NetmapCore
import NetmapLinuxSetup
import NetmapTestSupport
import Synchronization
import Testing

/// The short cut between two ends of a veth that one engine drives.
@Suite(.serialized) struct ShortCutTests {
  /// Packets that the kernel has seen on an interface, in both directions.
  private func kernelPackets(_ name: String) throws -> UInt64 {
    let counters = try InterfaceCounters(name)
    return counters.received + counters.sent
  }

  private func send(_ port: RawPort, _ numbers: Range<Int>) {
    for number in numbers { port.put(numberedFrame(number, length: 60 + number % 1400)) }
    port.sync(.transmit)
  }

  /// Takes the frames of ``send(_:_:)``, and expects them in order.
  private func expect(_ port: RawPort, takes numbers: Range<Int>) {
    let frames = port.take(numbers.count)
    #expect(frames.count == numbers.count)
    let wrong = zip(frames, numbers).first { frame, number in
      frame != numberedFrame(number, length: 60 + number % 1400)
    }
    #expect(
      wrong == nil, "frame \(wrong.flatMap { numberInFrame($0.0) } ?? -1), not \(wrong?.1 ?? -1)")
  }

  @Test("packets between two namespaces pass in order, and not through the kernel")
  func passes() throws {
    try NetworkNamespace.run {
      let fixture = try ShortCutFixture()
      let near = try RawPort(fixture.engine, "near")
      let far = try fixture.openFar()
      fixture.expectJoined(2, "both ends are open")
      let before = try kernelPackets("near")
      var next = 0
      for _ in 0..<100 {
        send(near, next..<next + 50)
        expect(far, takes: next..<next + 50)
        send(far, next..<next + 50)
        expect(near, takes: next..<next + 50)
        next += 50
      }
      #expect(try kernelPackets("near") == before)
      #expect(near.counters(.transmit).packets == 5000)
      #expect(far.counters(.receive).packets == 5000)
      near.close()
      far.close()
      #expect(fixture.engine.check().findings == [])
    }
  }

  /// Numbered frames from one port to another, at most 256 under way. The receiver checks order and contents.
  private final class Traffic: Sendable {
    private let isDone = Atomic(false)
    private let hasSentAll = Atomic(false)
    private let received = Atomic(0)
    private let sent = Atomic(0)
    private let failure = Mutex<String?>(nil)
    private let allowsLoss: Bool

    init(allowsLoss: Bool = false) { self.allowsLoss = allowsLoss }

    var count: Int { received.load(ordering: .acquiring) }

    private func bytes(_ number: Int) -> [UInt8] {
      numberedFrame(number, length: 60 + number % 900)
    }

    func send(on port: RawPort) {
      var next = 0
      while !isDone.load(ordering: .acquiring) {
        let room = min(256 - (next - count), 256)
        let ring = unsafe port.transmit
        for _ in 0..<max(room, 0) where unsafe ring.head != ring.tail {
          port.put(bytes(next))
          next += 1
          sent.store(next, ordering: .releasing)
        }
        port.sync(.transmit)
        if room <= 0 { usleep(20) }
      }
      port.flush()
      hasSentAll.store(true, ordering: .releasing)
    }

    func receive(on port: RawPort) {
      var next = 0
      var quietSince = ContinuousClock.now
      while true {
        port.sync(.receive)
        let ring = unsafe port.receive
        if unsafe ring.head == ring.tail {
          usleep(20)
          if hasSentAll.load(ordering: .acquiring) {
            if !allowsLoss, next == sent.load(ordering: .acquiring) { return }
            // A second without packets, or twenty where none may be lost.
            let limit = Duration.seconds(allowsLoss ? 1 : 20)
            if ContinuousClock.now - quietSince > limit { return }
          }
          // Lost frames must not stop the sender.
          if allowsLoss {
            received.store(
              max(next, sent.load(ordering: .acquiring) - 128, count), ordering: .releasing)
          }
          continue
        }
        quietSince = .now
        while unsafe ring.head != ring.tail {
          let slot = unsafe ring.load(ring.head)
          let found = unsafe port.bytes(ring, slot.bufferIndex, Int(slot.length))
          var expected = next
          if allowsLoss, let number = numberInFrame(found), number > next { expected = number }
          if found != bytes(expected), failure.withLock({ $0 == nil }) {
            let text = "frame \(next) expected, \(numberInFrame(found) ?? -1) found"
            failure.withLock { $0 = text }
          }
          next = expected + 1
          received.store(max(next, count), ordering: .releasing)
          unsafe port.handOver(ring)
        }
      }
    }

    func stop() { isDone.store(true, ordering: .releasing) }

    var problem: String? { failure.withLock { $0 } }
    var all: (sent: Int, received: Int) {
      (sent.load(ordering: .acquiring), received.load(ordering: .acquiring))
    }
  }

  private struct Handover: @unchecked Sendable { let port: RawPort }

  /// Runs `body` while traffic passes, and checks it.
  private func underTraffic(
    _ fixture: ShortCutFixture, allowsLoss: Bool = false, _ body: ((Int) -> Void) throws -> Void
  ) throws {
    let near = try Handover(port: RawPort(fixture.engine, "near"))
    let far = try Handover(port: fixture.openFar())
    fixture.expectJoined(2, "both ends are open")
    let out = Traffic(allowsLoss: allowsLoss)
    let threads = try [
      NamespaceThread { out.send(on: near.port) }.start(),
      NamespaceThread { out.receive(on: far.port) }.start(),
    ]
    defer { out.stop() }
    // Returns when so many more frames have arrived.
    try body { more in
      let target = out.count + more
      let end = ContinuousClock.now + .seconds(60)
      while out.count < target, out.problem == nil, ContinuousClock.now < end { usleep(500) }
      #expect(out.count >= target)
    }
    out.stop()
    for thread in threads { try thread.join() }
    #expect(out.problem == nil)
    if !allowsLoss { #expect(out.all.sent == out.all.received) }
    near.port.close()
    far.port.close()
    #expect(fixture.engine.check().findings == [])
  }

  @Test("withdrawing and joining under traffic loses, doubles and reorders nothing")
  func underTraffic() throws {
    try NetworkNamespace.run {
      let fixture = try ShortCutFixture()
      let rights = OwnInterfaceRights()
      let interface = try #require(try rights.interface(named: "near"))
      try underTraffic(fixture) { passes in
        for round in 0..<5 {
          passes(2000)
          // A filter of tc on a clsact qdisc. It sees no packets of ports, with or without the short cut.
          var filter: (any AttachedIngressDrop)? = try rights.ingressDrop(
            interface, avoidingLinks: true)
          withExtendedLifetime(filter) {
            fixture.expectJoined(0, "a filter is on the interface, round \(round)")
            passes(2000)
          }
          filter = nil
          fixture.expectJoined(2, "the filter is gone, round \(round)")
          passes(2000)
          try fixture.runThere("tc", "qdisc", "add", "dev", "far", "root", "pfifo")
          fixture.expectJoined(0, "a qdisc is on the peer, round \(round)")
          passes(2000)
          try fixture.runThere("tc", "qdisc", "del", "dev", "far", "root")
          fixture.expectJoined(2, "the qdisc is gone, round \(round)")
          passes(2000)
          try fixture.runThere("ip", "link", "set", "far", "mtu", "1400")
          fixture.expectJoined(0, "the MTUs differ, round \(round)")
          passes(2000)
          try NetworkNamespace.run("ip", "link", "set", "near", "mtu", "1400")
          fixture.expectJoined(2, "the MTUs agree, round \(round)")
          passes(2000)
          try fixture.runThere("ip", "link", "set", "far", "mtu", "1500")
          try NetworkNamespace.run("ip", "link", "set", "near", "mtu", "1500")
          fixture.expectJoined(2, "the MTUs agree again, round \(round)")
          // The host's own rings have a way of their own.
          let host = try RawPort(fixture.engine, "near^")
          passes(2000)
          host.close()
          fixture.expectJoined(2, "the host rings are closed, round \(round)")
        }
      }
    }
  }

  @Test("a link that goes down and up withdraws and joins; nothing is doubled or reordered")
  func downAndUp() throws {
    try NetworkNamespace.run {
      let fixture = try ShortCutFixture()
      try underTraffic(fixture, allowsLoss: true) { passes in
        for _ in 0..<3 {
          passes(1000)
          try fixture.runThere("ip", "link", "set", "far", "down")
          fixture.expectJoined(0, "an end is down")
          try fixture.runThere("ip", "link", "set", "far", "up")
          fixture.expectJoined(2, "both ends are up")
          passes(1000)
        }
      }
    }
  }

  @Test("who insists on a backend, at either end, gets the kernel's path")
  func demanded() throws {
    try NetworkNamespace.run {
      let fixture = try ShortCutFixture()
      let choices: [(String?, String?)] = [
        ("xdp,mode=copy", nil), (nil, "xdp,mode=copy"), (nil, "packet"),
      ]
      for choices in choices {
        let near = try RawPort(fixture.engine, "near", choices.0)
        let far = try fixture.openFar(choices.1)
        #expect(fixture.interfaces.joinedLanes == 0)
        send(near, 0..<50)
        expect(far, takes: 0..<50)
        near.close()
        far.close()
      }
    }
  }

  @Test(
    "packets that the sender's port has sent arrive after it was closed, and before those of the next port"
  )
  func senderCloses() throws {
    try NetworkNamespace.run {
      let fixture = try ShortCutFixture()
      let far = try fixture.openFar()
      var next = 0
      // The second and the third port find a receiver that has not taken everything, and send through the kernel.
      for joined in [2, 1, 1] {
        let near = try RawPort(fixture.engine, "near")
        #expect(fixture.interfaces.joinedLanes == joined)
        send(near, next..<next + 300)
        near.close()
        next += 300
      }
      expect(far, takes: 0..<next)
      #expect(fixture.engine.check().findings == [])
      far.close()
      #expect(fixture.engine.check().findings == [])
    }
  }

  @Test(
    "a receiver that closes takes its packets with it, and no buffer is lost or given out twice")
  func receiverCloses() throws {
    try NetworkNamespace.run {
      let fixture = try ShortCutFixture()
      let near = try RawPort(fixture.engine, "near")
      for round in 0..<10 {
        let far = try fixture.openFar()
        fixture.expectJoined(2, "round \(round)")
        send(near, 0..<500)
        expect(far, takes: 0..<100)
        far.sync(.receive)
        #expect(fixture.engine.check().findings == [], "round \(round)")
        far.close()
        #expect(fixture.interfaces.joinedLanes == 0)
        #expect(fixture.engine.check().findings == [], "round \(round)")
        // To the kernel.
        let before = try kernelPackets("near")
        send(near, 0..<10)
        near.flush()
        #expect(try kernelPackets("near") >= before + 10)
      }
      near.close()
      #expect(fixture.engine.check().findings == [])
    }
  }

  @Test("equal indexes in different namespaces are not taken for a pair")
  func equalIndexes() throws {
    try NetworkNamespace.run {
      // Three namespaces, in each of which the veths have the same indexes.
      let fixture = try ShortCutFixture()
      let near = try RawPort(fixture.engine, "near")
      // The end `far` of another pair, in a namespace of its own, has the index and the name of the right one.
      let other = try TestProgram([
        "unshare", "-n", "sh", "-c",
        "ip link add near type veth peer name far && ip link set near up && ip link set far up"
          + " && echo ready; exec sleep 1000",
      ])
      defer { other.kill(SIGKILL) }
      #expect(other.readLine() == "ready\n")
      let stranger = try fixture.open("far", of: other.process)
      #expect(fixture.interfaces.joinedLanes == 0)
      let far = try fixture.openFar()
      fixture.expectJoined(2, "the real peer is open")
      stranger.close()
      far.close()
      near.close()
    }
  }

  @Test("a peer that moves to another namespace ends the short cut, and the rings of its port")
  func moved() throws {
    try NetworkNamespace.run {
      let fixture = try ShortCutFixture()
      let near = try RawPort(fixture.engine, "near")
      let far = try fixture.openFar()
      fixture.expectJoined(2, "both ends are open")
      try fixture.runThere("ip", "link", "set", "far", "netns", "\(getpid())")
      fixture.expectJoined(0, "the peer has moved")
      // Another watch stops the rings.
      let end = ContinuousClock.now + .seconds(20)
      while far.sync(.receive) != .stopped, ContinuousClock.now < end { usleep(1000) }
      #expect(far.sync(.receive) == .stopped)
      // To the kernel; nobody listens.
      send(near, 0..<10)
      far.close()
      near.close()
      #expect(fixture.engine.check().findings == [])
    }
  }
}
