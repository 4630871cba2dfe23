import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// Frames over a veth pair, in every mode that veth supports.
@Suite(.serialized) struct XDPTransferTests {
  static let modes = ["copy", "generic"]

  @Test(
    "frames of every size arrive complete, in order, and once",
    arguments: modes)
  func sizes(mode: String) throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let sender = try NetmapPort(
        "netmap:\(pair.first)@backend:name=xdp,mode=\(mode)", engine: engine)
      let receiver = try NetmapPort(
        "netmap:\(pair.second)@backend:name=xdp,mode=\(mode)", engine: engine)
      #expect(sender.backend?.name == "xdp")
      #expect(sender.backend?.mode == mode)
      let frames = (42...1518).map {
        numberedFrame($0, length: $0, vlan: $0 % 3 == 0 ? 100 : nil)
      }
      // The MTU of 1500 allows 1514 bytes, 1518 with a tag.
      let legal = frames.filter { $0.count <= 1514 || $0[12] == 0x81 }
      for start in stride(from: 0, to: legal.count, by: 200) {
        let batch = Array(legal[start..<min(start + 200, legal.count)])
        try sender.send(batch)
        let received = try receiver.receive(batch.count)
        #expect(received.count == batch.count)
        #expect(received == batch)
      }
      #expect(sender.statistics.transmit.packets == UInt64(legal.count))
      #expect(receiver.statistics.receive.packets == UInt64(legal.count))
      #expect(receiver.statistics.receive.bytes == UInt64(legal.reduce(0) { $0 + $1.count }))
      #expect(receiver.statistics.receive.drops.total == 0)
    }
  }
}

extension XDPTransferTests {
  @Test(
    "frames pass in the regions of switch ports, which have other cache colors",
    arguments: modes)
  func otherCacheColors(mode: String) throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair(mtu: 3000)
      let backend = "@backend:name=xdp,mode=\(mode)@conf:slots=256"
      let receiver = try NetmapPort("netmap:\(pair.second)\(backend)", engine: engine)
      let lengths = Array(stride(from: 42, through: 1536, by: 9)) + [1537, 1792, 2048, 2049, 3014]
      let frames = lengths.map { numberedFrame($0, length: $0) }
      // Consecutive private regions have all cache colors.
      var neighbours: [NetmapPort] = []
      for number in 0..<5 {
        neighbours.append(try NetmapPort("vale0:p\(number)@conf:slots=1024", engine: engine))
        let sender = try NetmapPort(
          "netmap:\(pair.first)@share=vale0:p\(number)\(backend)", engine: engine)
        #expect(sender.memoryID == neighbours[number].memoryID)
        for start in stride(from: 0, to: frames.count, by: 100) {
          let batch = Array(frames[start..<min(start + 100, frames.count)])
          try sender.send(batch)
          #expect(try receiver.receive(batch.count) == batch)
          try receiver.send(batch)
          #expect(try sender.receive(batch.count) == batch)
        }
        // Frames arrive at the right offset: none was moved.
        #expect(sender.statistics.receive.moves == 0)
        #expect(sender.statistics.receive.drops.total == 0)
        sender.close()
      }
    }
  }

  @Test("a jumbo frame is several slots with NS_MOREFRAG, both ways", arguments: modes)
  func jumbo(mode: String) throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair(mtu: 9000)
      let sender = try NetmapPort(
        "netmap:\(pair.first)@backend:name=xdp,mode=\(mode)", engine: engine)
      let receiver = try NetmapPort(
        "netmap:\(pair.second)@backend:name=xdp,mode=\(mode)", engine: engine)
      let frames = [60, 1792, 1793, 2048, 2049, 5000, 9014].map { numberedFrame($0, length: $0) }
      // In slots of a whole buffer, which the kernel sees as two pieces, and in smaller slots.
      for slotLength in [2048, 1792, 1000] {
        try sender.send(frames, slotLength: slotLength)
        let received = try receiver.receive(frames.count)
        #expect(received.map(\.count) == frames.map(\.count))
        #expect(received == frames)
      }
    }
  }

  @Test("packets forwarded between two interfaces by swapping buffers arrive complete")
  func forwardBySwapping() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let (left, right) = try (VethPair("l0", "l1"), VethPair("r0", "r1"))
      let source = try NetmapPort("netmap:\(left.first)", engine: engine)
      let (input, output) = try (
        NetmapPort("netmap:\(left.second)", engine: engine),
        NetmapPort("netmap:\(right.first)", engine: engine)
      )
      let sink = try NetmapPort("netmap:\(right.second)", engine: engine)
      #expect(input.memoryID == 1)
      #expect(output.memoryID == 1)
      // More than three times around every ring, so that each buffer has been everywhere.
      for round in 0..<40 {
        let frames = (0..<100).map { numberedFrame(round * 100 + $0, length: 60 + $0) }
        try source.send(frames)
        var moved = 0
        while moved < frames.count {
          guard try input.wait(for: .receive, timeout: .seconds(1)) == .receive else { break }
          var from = input.receiveRing(0)
          var to = output.transmitRing(0)
          moved += from.forward(to: &to)
          try output.sync(.transmit)
        }
        #expect(try sink.receive(frames.count) == frames)
      }
    }
  }

  @Test(
    "invalid buffer indexes, and duplicate ones in receive slots, are counted, and the ring goes on"
  )
  func badIndexes() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let sender = try NetmapPort("netmap:\(pair.first)@backend:name=xdp", engine: engine)
      let receiver = try NetmapPort("netmap:\(pair.second)@backend:name=xdp", engine: engine)
      func fill(_ count: Int) {
        var ring = sender.transmitRing(0)
        for number in 0..<count {
          _ = unsafe ring.append(numberedFrame(number, length: 60).span.bytes)
        }
      }
      let raw = unsafe sender.transmitRing(0).unsafeRing
      fill(4)
      let good = (1..<4 as Range<UInt32>).map { unsafe raw.slot($0).pointee.bufferIndex }
      // The first slot's buffer again, which is sent twice, an invalid index, and a reserved buffer.
      unsafe raw.slot(1).pointee.bufferIndex = raw.slot(0).pointee.bufferIndex
      unsafe raw.slot(2).pointee.bufferIndex = 4_000_000
      unsafe raw.slot(3).pointee.bufferIndex = 0
      try sender.sync(.transmit)
      #expect(try receiver.receive(2).count == 2)
      #expect(sender.statistics.transmit.drops[.badBufferIndex] == 2)
      for slot: UInt32 in 1..<4 {
        unsafe raw.slot(slot).pointee.bufferIndex = good[Int(slot) - 1]
      }
      for _ in 0..<30 {
        while sender.transmitRing(0).space < 100 { _ = try sender.wait(for: .transmit) }
        fill(100)
        try sender.sync(.transmit)
        #expect(try receiver.receive(100).count == 100)
      }
      #expect(sender.statistics.transmit.drops[.badBufferIndex] == 2)
      // The same on the receiving side: a returned slot names a buffer that is already lent.
      let received = unsafe receiver.receiveRing(0).unsafeRing
      fill(2)
      try sender.sync(.transmit)
      #expect(try receiver.wait(for: .receive, timeout: .seconds(1)) == .receive)
      let head = unsafe received.head
      unsafe received.slot(head).pointee.bufferIndex =
        received.slot(received.next(head)).pointee
        .bufferIndex
      _ = try receiver.receive(2)
      for _ in 0..<30 {
        while sender.transmitRing(0).space < 100 { _ = try sender.wait(for: .transmit) }
        fill(100)
        try sender.sync(.transmit)
        #expect(try receiver.receive(100).count == 100)
      }
      #expect(receiver.statistics.receive.drops[.badBufferIndex] == 1)
    }
  }

  @Test("packets that a full receiver loses are counted as dropped by the kernel")
  func kernelDrops() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let sender = try NetmapPort("netmap:\(pair.first)@backend:name=xdp", engine: engine)
      let receiver = try NetmapPort("netmap:\(pair.second)@backend:name=xdp", engine: engine)
      for _ in 0..<3 { try sender.send((0..<500).map { numberedFrame($0, length: 60) }) }
      let end = ContinuousClock.now + .seconds(10)
      repeat {
        usleep(1_000)
        try receiver.sync(.receive)
      } while receiver.statistics.receive.drops[.kernel] < 1500 - 1023 && ContinuousClock.now < end
      #expect(receiver.statistics.receive.packets == 1023)
      #expect(receiver.statistics.receive.drops[.kernel] == 1500 - 1023)
    }
  }
}
