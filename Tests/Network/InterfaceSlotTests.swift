import Glibc
import Netmap
import NetmapCore
import NetmapLinuxSetup
import NetmapTestSupport
import Testing

/// What programs rely on that read and write the slots of an interface's rings by themselves.
@Suite("Slots of interfaces", .serialized)
struct InterfaceSlotTests {
  static let choices = ["xdp,mode=copy", "xdp,mode=generic", "packet"]

  /// Two ports at the ends of a veth pair, with the same backend.
  private struct Ends {
    let engine: Engine
    let pair: VethPair
    let sender: RawPort
    let receiver: RawPort

    init(_ choice: String, mtu: Int = 1500) throws {
      engine = try Engine(interfaces: LinuxInterfaces())
      pair = try VethPair(mtu: mtu)
      sender = try RawPort(engine, pair.first, choice)
      receiver = try RawPort(engine, pair.second, choice)
    }

    func send(_ frames: [[UInt8]]) {
      for frame in frames { sender.put(frame) }
      sender.flush()
    }
  }

  @Test(
    "a program that remembers the buffer of each receive slot sees every packet for ten turns of the ring",
    arguments: choices)
  func remembered(choice: String) throws {
    try NetworkNamespace.run {
      let ends = try Ends(choice)
      let ring = unsafe ends.receiver.receive
      let buffers = unsafe (0..<ring.slotCount).map { unsafe ring.load($0).bufferIndex }
      let turn = unsafe Int(ring.slotCount)
      var number = 0
      while number < 10 * turn {
        let frames = (0..<min(200, 10 * turn - number)).map {
          numberedFrame(number + $0, length: 60 + ($0 * 7) % 1000)
        }
        ends.send(frames)
        var arrived: [[UInt8]] = []
        _ = ends.receiver.take(frames.count) { index, slot in
          let buffer = buffers[Int(index)]
          arrived.append(unsafe ends.receiver.bytes(ring, buffer, Int(slot.length)))
          #expect(!slot.flags.contains(.bufferChanged))
        }
        try #require(arrived == frames, "after \(number) packets")
        number += frames.count
      }
      #expect(unsafe (0..<ring.slotCount).map { unsafe ring.load($0).bufferIndex } == buffers)
    }
  }

  @Test(
    "a program that swaps buffers at random, in the middle of a ring, sees every packet",
    arguments: choices)
  func swapping(choice: String) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 1...99_999)
    var generator = SeededGenerator(seed: seed)
    try NetworkNamespace.run {
      let ends = try Ends(choice)
      let (receive, transmit) = unsafe (ends.receiver.receive, ends.receiver.transmit)
      let slots = unsafe receive.slotCount
      // What the program believes about each slot; only NS_BUF_CHANGED may change it.
      var known = (0..<slots).map { unsafe receive.load($0).bufferIndex }
      var number = 0
      while number < 4 * Int(slots) {
        let frames = (0..<100).map { numberedFrame(number + $0, length: 60 + $0) }
        ends.send(frames)
        var arrived: [[UInt8]] = []
        while arrived.count < frames.count {
          // A part of the packets at a time.
          let count = Int.random(in: 1...min(20, frames.count - arrived.count), using: &generator)
          let before = arrived.count
          _ = ends.receiver.take(count) { index, slot in
            if slot.flags.contains(.bufferChanged) { known[Int(index)] = slot.bufferIndex }
            let buffer = known[Int(index)]
            arrived.append(unsafe ends.receiver.bytes(receive, buffer, Int(slot.length)))
            guard Bool.random(using: &generator) else { return }
            // With a free transmit slot, as a program that forwards without copying does.
            let other = unsafe transmit.index(
              transmit.head, advancedBy: Int.random(in: 0..<50, using: &generator))
            let free = unsafe transmit.load(other).bufferIndex
            unsafe transmit.place(other).store(bufferIndex: slot.bufferIndex)
            unsafe receive.place(index).store(bufferIndex: free)
            unsafe receive.place(index).store(flags: .bufferChanged)
            known[Int(index)] = free
          }
          try #require(arrived.count == before + count, "seed \(seed)")
        }
        try #require(arrived == frames, "seed \(seed), after \(number) packets")
        number += frames.count
      }
      #expect(ends.engine.check().findings.isEmpty)
    }
  }

  @Test(
    "a buffer that several transmit slots name is sent as often as it is named",
    arguments: choices)
  func repeated(choice: String) throws {
    try NetworkNamespace.run {
      let ends = try Ends(choice)
      let ring = unsafe ends.sender.transmit
      let own = unsafe (0..<ring.slotCount).map { unsafe ring.load($0).bufferIndex }
      let frame = numberedFrame(1, length: 400)
      for round in 0..<20 {
        // More often than there are values of a byte, and next to packets in other buffers.
        let count = round == 0 ? 400 : 30
        let named = unsafe ring.load(ring.head).bufferIndex
        var expected: [[UInt8]] = []
        for part in 0..<count {
          if part % 3 == 2 {
            expected.append(numberedFrame(part, length: 100))
            ends.sender.put(numberedFrame(part, length: 100))
            continue
          }
          expected.append(frame)
          if part == 0 {
            ends.sender.put(frame)
            continue
          }
          unsafe ring.place(ring.head).store(
            Slot(bufferIndex: named, length: 400, flags: [.bufferChanged, .report]))
          unsafe ends.sender.handOver(ring)
        }
        ends.sender.flush()
        #expect(ends.receiver.take(count) == expected)
        // Every slot is back with the buffer that the program named.
        for slot in unsafe 0..<ring.slotCount {
          let now = unsafe ring.load(slot)
          #expect(now.bufferIndex == named || now.bufferIndex == own[Int(slot)])
          #expect(!now.flags.contains(.bufferChanged) && !now.flags.contains(.report))
          unsafe ring.place(slot).store(bufferIndex: own[Int(slot)])
        }
        #expect(ends.engine.check().findings.isEmpty)
      }
      #expect(ends.sender.counters(.transmit).drops.total == 0)
    }
  }

  @Test("a buffer that slots of two interfaces name is sent by both", arguments: choices, choices)
  func twoInterfaces(first: String, second: String) throws {
    try NetworkNamespace.run {
      let engine = try Engine(interfaces: LinuxInterfaces())
      let (left, right) = try (VethPair("l0", "l1"), VethPair("r0", "r1"))
      let (one, two) = try (
        RawPort(engine, left.first, first), RawPort(engine, right.first, second)
      )
      let (sinkOne, sinkTwo) = try (
        RawPort(engine, left.second, first), RawPort(engine, right.second, second)
      )
      for number in 0..<2000 {
        let frame = numberedFrame(number, length: 200)
        let buffer = unsafe one.transmit.load(one.transmit.head).bufferIndex
        one.put(frame)
        let ring = unsafe two.transmit
        let (index, own) = unsafe (ring.head, ring.load(ring.head).bufferIndex)
        unsafe ring.place(index).store(
          Slot(bufferIndex: buffer, length: 200, flags: .bufferChanged))
        unsafe two.handOver(ring)
        if number % 2 == 0 {
          one.sync(.transmit)
          two.sync(.transmit)
        } else {
          two.sync(.transmit)
          one.sync(.transmit)
        }
        let arrived = (sinkOne.take(1), sinkTwo.take(1))
        try #require(arrived.0 == [frame] && arrived.1 == [frame], "packet \(number)")
        one.flush()
        two.flush()
        unsafe ring.place(index).store(bufferIndex: own)
      }
      #expect(one.counters(.transmit).drops.total == 0)
      #expect(two.counters(.transmit).drops.total == 0)
      for port in [one, two, sinkOne, sinkTwo] { port.close() }
      #expect(engine.check().findings.isEmpty)
    }
  }

  @Test(
    "a program that forwards without swapping buffers harms itself only", arguments: choices)
  func withoutSwapping(choice: String) throws {
    try NetworkNamespace.run {
      let engine = try Engine(interfaces: LinuxInterfaces())
      let (left, right) = try (VethPair("l0", "l1"), VethPair("r0", "r1"))
      let source = try RawPort(engine, left.first, choice)
      let (input, output) = try (
        RawPort(engine, left.second, choice), RawPort(engine, right.first, choice)
      )
      let sink = try RawPort(engine, right.second, choice)
      var sent = 0
      for round in 0..<60 {
        let frames = (0..<100).map { numberedFrame(round * 100 + $0, length: 60) }
        for frame in frames { source.put(frame) }
        source.flush()
        _ = input.take(frames.count) { _, slot in
          let ring = unsafe output.transmit
          unsafe ring.place(ring.head).store(
            Slot(bufferIndex: slot.bufferIndex, length: slot.length, flags: .bufferChanged))
          unsafe output.handOver(ring)
        }
        output.sync(.transmit)
        input.sync(.receive)
        output.flush()
        sent += sink.take(frames.count).filter { frames.contains($0) }.count
      }
      // Each packet was sent before the receive ring used its buffer again.
      #expect(sent == 6000)
      #expect(input.counters(.receive).drops.total == 0)
      #expect(output.counters(.transmit).drops.total == 0)
      input.close()
      output.close()
      // Nobody else is harmed: new ports find buffers, and packets pass.
      let again = try RawPort(engine, left.second, choice)
      let frames = (0..<500).map { numberedFrame($0, length: 60) }
      for frame in frames { source.put(frame) }
      source.flush()
      #expect(again.take(frames.count) == frames)
    }
  }

  @Test("NS_INDIRECT means nothing in an interface's transmit slot", arguments: choices)
  func indirect(choice: String) throws {
    try NetworkNamespace.run {
      let ends = try Ends(choice)
      let ring = unsafe ends.sender.transmit
      let index = unsafe ring.head
      unsafe ring.place(index).store(pointer: 0xdead_beef_dead_beef)
      let frame = numberedFrame(7, length: 90)
      ends.sender.put(frame, flags: .indirect)
      ends.sender.flush()
      #expect(ends.receiver.take(1) == [frame])
      #expect(unsafe ring.load(index).pointer == 0xdead_beef_dead_beef)
      #expect(ends.sender.counters(.transmit).drops.total == 0)
    }
  }

  @Test(
    "a receive slot does not keep the flags and the pointer's meaning of an earlier packet",
    arguments: choices)
  func staleFlags(choice: String) throws {
    try NetworkNamespace.run {
      let ends = try Ends(choice, mtu: 9000)
      let ring = unsafe ends.receiver.receive
      let slots = unsafe Int(ring.slotCount)
      // Long packets first, in several slots; then a whole turn of short ones.
      let long = (0..<slots / 10).map { numberedFrame($0, length: 5000) }
      for frame in long {
        for start in stride(from: 0, to: frame.count, by: 1500) {
          let end = min(start + 1500, frame.count)
          ends.sender.put(Array(frame[start..<end]), flags: end < frame.count ? .moreFragments : [])
        }
      }
      ends.sender.flush()
      var isFragment = false
      let arrived = ends.receiver.take(long.count) { _, slot in
        isFragment = isFragment || slot.flags.contains(.moreFragments)
      }
      #expect(arrived == long)
      #expect(isFragment)
      // The program leaves flags behind, too.
      for slot in 0..<UInt32(slots) {
        unsafe ring.place(slot).store(flags: [.moreFragments, .report, .forward, .bufferChanged])
      }
      for round in 0..<10 {
        let frames = (0..<slots / 8).map { numberedFrame(round * 1000 + $0, length: 60) }
        ends.send(frames)
        let arrived = ends.receiver.take(frames.count) { _, slot in
          #expect(slot.flags == [] || round < 1, "\(slot.flags)")
        }
        #expect(arrived == frames)
      }
    }
  }

  @Test(
    "an interface that is down or has lost its carrier is no error, and frames flow again afterwards",
    arguments: choices)
  func down(choice: String) throws {
    try NetworkNamespace.run {
      let ends = try Ends(choice)
      for name in [ends.pair.second, ends.pair.first] {
        try NetworkNamespace.run("ip", "link", "set", name, "down")
        for number in 0..<50 {
          ends.sender.put(numberedFrame(number, length: 60))
          for direction in Direction.allCases {
            #expect(ends.sender.sync(direction) == .done)
            #expect(ends.receiver.sync(direction) == .done)
          }
        }
        try NetworkNamespace.run("ip", "link", "set", name, "up")
        let last = numberedFrame(4711, length: 60)
        var hasArrived = false
        for _ in 0..<1000 where !hasArrived {
          if unsafe ends.sender.transmit.head != ends.sender.transmit.tail { ends.sender.put(last) }
          #expect(ends.sender.sync(.transmit) == .done)
          usleep(2000)
          #expect(ends.receiver.sync(.receive) == .done)
          let ring = unsafe ends.receiver.receive
          while unsafe ring.head != ring.tail {
            let slot = unsafe ring.load(ring.head)
            if unsafe ends.receiver.bytes(ring, slot.bufferIndex, 60) == last { hasArrived = true }
            unsafe ends.receiver.handOver(ring)
          }
        }
        #expect(hasArrived)
        usleep(20_000)
        while ends.receiver.sync(.receive) == .done,
          unsafe ends.receiver.receive.head != ends.receiver.receive.tail
        {
          unsafe ends.receiver.handOver(ends.receiver.receive)
        }
      }
    }
  }

  @Test("a port leaves the interface's promiscuous mode alone", arguments: choices)
  func promiscuous(choice: String) throws {
    try NetworkNamespace.run {
      let ends = try Ends(choice)
      let text = try NetworkNamespace.run("ip", "-d", "link", "show", "dev", ends.pair.second)
      #expect(text.contains("promiscuity 0"))
      #expect(!text.contains("PROMISC"))
    }
  }

  @Test("slots with any contents harm no one else, and the rings go on", arguments: choices)
  func hostileSlots(choice: String) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 1...99_999)
    var generator = SeededGenerator(seed: seed)
    try NetworkNamespace.run {
      let ends = try Ends(choice)
      let bystander = try (
        RawPort(ends.engine, VethPair("b0", "b1").first, choice),
        RawPort(ends.engine, "b1", choice)
      )
      let (transmit, receive) = unsafe (ends.sender.transmit, ends.receiver.receive)
      let own = unsafe (0..<transmit.slotCount).map { unsafe transmit.load($0) }
      let received = unsafe (0..<receive.slotCount).map { unsafe receive.load($0) }
      func anything() -> Slot {
        let near = UInt32.random(in: 0..<3000, using: &generator)
        return Slot(
          bufferIndex: Bool.random(using: &generator)
            ? near : .random(in: 0 ... .max, using: &generator),
          length: Bool.random(using: &generator) ? 60 : .random(in: 0 ... .max, using: &generator),
          flags: SlotFlags(rawValue: .random(in: 0 ... .max, using: &generator)),
          pointer: .random(in: 0 ... .max, using: &generator))
      }
      for round in 0..<50 {
        for _ in 0..<40 {
          unsafe transmit.place(transmit.head).store(anything())
          unsafe ends.sender.handOver(transmit)
        }
        for _ in 0..<20 { ends.sender.sync(.transmit) }
        ends.receiver.sync(.receive)
        while unsafe receive.head != receive.tail {
          if Bool.random(using: &generator) { unsafe receive.place(receive.head).store(anything()) }
          unsafe ends.receiver.handOver(receive)
        }
        let frame = numberedFrame(round, length: 300)
        bystander.0.put(frame)
        bystander.0.flush()
        try #require(bystander.1.take(1) == [frame], "seed \(seed), round \(round)")
        // Room, for packets whose end was never written.
        unsafe transmit.place(transmit.head).store(
          Slot(bufferIndex: own[Int(unsafe transmit.head)].bufferIndex, length: 60))
        unsafe ends.sender.handOver(transmit)
        ends.sender.flush()
      }
      // The program gives its slots their buffers back, and all is as before.
      for slot in unsafe 0..<transmit.slotCount {
        unsafe transmit.place(slot).store(own[Int(slot)])
      }
      ends.sender.flush()
      _ = received
      ends.sender.close()
      ends.receiver.close()
      let (again, sink) = try (
        RawPort(ends.engine, ends.pair.first, choice),
        RawPort(ends.engine, ends.pair.second, choice)
      )
      let frames = (0..<300).map { numberedFrame($0, length: 60) }
      for frame in frames { again.put(frame) }
      again.flush()
      #expect(sink.take(frames.count) == frames)
    }
  }
}
