import CLinux
import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// Full rings, several rings, idle rings, and rings that an application has damaged.
@Suite(.serialized) struct PacketFlowTests {
  @Test("the kernel's drops while no reader runs are counted: sent = received + dropped")
  func kernelDrops() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture()
      var samples = SampleFrames(seed: 3)
      let frame = samples.padded(SampleFrames.ipv4(protocol: 17), to: 1000)
      let count = 20_000
      try fixture.send(Array(repeating: frame, count: count))
      let received = try fixture.receive(count).count
      let counters = fixture.receiver.statistics.receive
      #expect(received < count)
      #expect(counters.packets == UInt64(received))
      #expect(counters.drops[.kernel] == UInt64(count - received))
      #expect(counters.drops.total == counters.drops[.kernel])
      #expect(fixture.sender.statistics.transmit.packets == UInt64(count))
    }
  }

  @Test("two ring pairs: every frame arrives once, and the frames of a flow on one ring in order")
  func fanout() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture(queues: 2)
      #expect(fixture.receiver.receiveRingCount == 2)
      var arrived: [[[UInt8]]] = [[], []]
      for round in 0..<20 {
        var frames: [[UInt8]] = []
        for flow in 0..<32 {
          var frame = SampleFrames.datagram(port: 9000)
          frame[35] = UInt8(flow)
          frame[50] = UInt8(round)
          frames.append(frame)
        }
        try fixture.send(frames)
        var count = 0
        while count < frames.count,
          try !fixture.receiver.wait(for: .receive, timeout: .seconds(1)).isEmpty
        {
          for ring in 0..<2 {
            let packets = fixture.receiver.takePackets(ring: ring)
            arrived[ring] += packets
            count += packets.count
          }
        }
        #expect(count == frames.count)
      }
      #expect(arrived[0].count + arrived[1].count == 640)
      #expect(!arrived[0].isEmpty && !arrived[1].isEmpty)
      for flow in 0..<32 {
        let rounds = arrived.map { $0.filter { $0[35] == UInt8(flow) }.map { $0[50] } }
        #expect(rounds[0].isEmpty || rounds[1].isEmpty)
        #expect(rounds[0] + rounds[1] == Array(0..<20))
      }
    }
  }

  @Test("a ring pair that is opened later shares the packets that arrive")
  func laterPair() throws {
    try NetworkNamespace.run {
      let pair = try VethPair(queues: 2)
      let engine = try EmbeddedEngine()
      let sender = try NetmapPort("netmap:\(pair.first)-0@backend:name=packet", engine: engine)
      let one = try NetmapPort("netmap:\(pair.second)-1@backend:name=packet", engine: engine)
      for flow in 0..<16 {
        var frame = SampleFrames.datagram(port: 9000)
        frame[35] = UInt8(flow)
        #expect(sender.put(frame))
      }
      try sender.sync(.transmit)
      var received = 0
      while received < 16, try !one.wait(for: .receive, timeout: .seconds(1)).isEmpty {
        received += one.takePackets().count
      }
      #expect(received == 16)
      let other = try NetmapPort("netmap:\(pair.second)-0@backend:name=packet", engine: engine)
      for flow in 0..<16 {
        var frame = SampleFrames.datagram(port: 9000)
        frame[35] = UInt8(flow)
        #expect(sender.put(frame))
      }
      try sender.sync(.transmit)
      var (first, second) = (0, 0)
      let end = ContinuousClock.now + .seconds(10)
      while first + second < 16, ContinuousClock.now < end {
        usleep(1_000)
        try one.sync(.receive)
        try other.sync(.receive)
        first += one.takePackets().count
        second += other.takePackets().count
      }
      #expect(first + second == 16)
      #expect(first > 0 && second > 0)
    }
  }

  @Test("an idle receiver sleeps: almost no CPU time, no wake-ups")
  func idle() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture()
      let before = threadTime()
      #expect(try fixture.receiver.wait(for: .receive, timeout: .milliseconds(500)).isEmpty)
      #expect(threadTime() - before < 5_000_000)
      #expect(fixture.receiver.statistics.sleeps <= 2)
    }
  }

  @Test("a wait for more packets than fit the ring sleeps, although packets wait in the kernel")
  func fullAndWaiting() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture()
      try fixture.send(Array(repeating: SampleFrames.datagram(port: 9000), count: 3000))
      try fixture.receiver.wait(for: .receive, timeout: .seconds(1))
      while fixture.receiver.receiveRing(0).count < 1023 { try fixture.receiver.sync(.receive) }
      var ring = fixture.receiver.receiveRing(0)
      ring.waitForMore()
      let before = threadTime()
      #expect(try fixture.receiver.wait(for: .receive, timeout: .milliseconds(300)).isEmpty)
      #expect(threadTime() - before < 20_000_000)
      let held = fixture.receiver.takePackets().count
      #expect(held == 1023)
      // On a busy machine the kernel hands over blocks before they are full, and may run out of them.
      let rest = try fixture.receive(3000 - held).count
      let dropped = fixture.receiver.statistics.receive.drops[.kernel]
      #expect(held + rest + Int(dropped) == 3000)
    }
  }

  @Test("an interface that is down can be opened; frames wait until it is up", arguments: [1, 2])
  func openedWhileDown(queues: Int) throws {
    try NetworkNamespace.run {
      let pair = try VethPair(queues: queues)
      for name in [pair.first, pair.second] {
        try NetworkNamespace.run("ip", "link", "set", name, "down")
      }
      let fixture: PacketFixture
      do {
        fixture = try PacketFixture(over: pair)
      } catch let error as NetmapError where queues > 1 {
        // Older kernels do not let sockets join a fanout group while the interface is down.
        #expect(error.code.rawValue == ENETDOWN)
        #expect(error.description.contains("ip link set"))
        return
      }
      let frame = SampleFrames.datagram(port: 9000)
      try fixture.send([frame])
      #expect(try fixture.receiver.wait(for: .receive, timeout: .milliseconds(100)).isEmpty)
      try NetworkNamespace.setUp(pair.first, pair.second)
      try fixture.sender.sync(.transmit)
      #expect(try fixture.receive(1) == [frame])
    }
  }

  @Test("traffic resumes after an interface was down; meanwhile sleepers keep sleeping")
  func downAndUp() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture()
      try NetworkNamespace.run("ip", "link", "set", "v1", "down")
      let before = threadTime()
      #expect(try fixture.receiver.wait(for: .receive, timeout: .milliseconds(300)).isEmpty)
      #expect(threadTime() - before < 10_000_000)
      try NetworkNamespace.setUp("v0", "v1")
      let frame = SampleFrames.datagram(port: 9000)
      try fixture.send([frame])
      #expect(try fixture.receive(1) == [frame])
    }
  }

  @Test("the removal of an interface fails only its own rings, with EIO, and wakes their sleepers")
  func removed() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture()
      let others = try VethPair("w0", "w1")
      let sender = try NetmapPort(
        "netmap:\(others.first)@backend:name=packet", engine: fixture.engine)
      let receiver = try NetmapPort(
        "netmap:\(others.second)@backend:name=packet", engine: fixture.engine)
      try NetworkNamespace.run("ip", "link", "set", "v1", "name", "renamed")
      let frame = SampleFrames.datagram(port: 9000)
      try fixture.send([frame])
      #expect(try fixture.receive(1) == [frame])
      try NetworkNamespace.run("ip", "link", "delete", "renamed")
      #expect(
        try fixture.receiver.wait(for: .receive, timeout: .seconds(2)).contains(.error) == true)
      let error = #expect(throws: NetmapError.self) { try fixture.receiver.sync(.receive) }
      #expect(error?.code == .inputOutput)
      #expect(throws: NetmapError.self) { try fixture.sender.sync(.transmit) }
      #expect(sender.put(frame))
      try sender.sync(.transmit)
      try receiver.wait(for: .receive, timeout: .seconds(1))
      #expect(receiver.takePackets() == [frame])
    }
  }

  @Test("slots with an invalid index or length are made harmless, and counted")
  func badSlots() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture()
      let frame = SampleFrames.datagram(port: 9000)
      do {
        // Transmit: an index beyond the region, a reserved buffer, and lengths that no interface accepts.
        let ring = unsafe fixture.sender.transmitRing(0).unsafeRing
        let own = unsafe ring.slot(0).pointee.bufferIndex
        for _ in 0..<6 { #expect(fixture.sender.put(frame)) }
        unsafe ring.slot(0).pointee.bufferIndex = .max
        unsafe ring.slot(1).pointee.bufferIndex = 1
        unsafe ring.slot(2).pointee.length = 60_000
        unsafe ring.slot(3).pointee.length = 13
        unsafe ring.slot(4).pointee.length = 1515
        try fixture.sender.sync(.transmit)
        unsafe ring.slot(0).pointee.bufferIndex = own
        let drops = fixture.sender.statistics.transmit.drops
        #expect(drops[.badBufferIndex] == 2)
        // The slot of 60,000 bytes counts twice: cut to its buffer, it is still too long for the interface.
        #expect(drops[.badLength] == 4)
        #expect(fixture.sender.statistics.transmit.packets == 3)
        #expect(fixture.sender.transmitRing(0).space == 1023)
      }
      // The two slots with bad indexes sent buffer 0.
      let received = try fixture.receive(3)
      #expect(received.count == 3)
      #expect(received.last == frame)
      do {
        let ring = unsafe fixture.receiver.receiveRing(0).unsafeRing
        for index in unsafe 0..<ring.slotCount {
          unsafe ring.slot(index).pointee.bufferIndex = .max
        }
        try fixture.send([frame])
        _ = try fixture.receive(1)
        #expect(fixture.receiver.statistics.receive.drops[.badBufferIndex] == 1)
      }
    }
  }

  /// Nanoseconds of CPU time that the calling thread has used.
  private func threadTime() -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
