import CNetmap
import Glibc
import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

/// Every process on a switch can write to the slots, krings and buffers of all of its ports at any time, even
/// between two loads of one sync.
@Suite("VALE: writers during a sync")
struct SwitchHostileTests {
  /// A switch with two ports.
  private let vale: TestSwitch
  private let (sender, receiver): (TestPort, TestPort)

  init() throws {
    vale = try TestSwitch(2, hints: .slots(64))
    (sender, receiver) = (vale[0], vale[1])
  }

  /// The offset of the receive ring's kring in the receiver's segment.
  private var receivingKRing: Int {
    Int(
      unsafe receiver.registration.segment.offset(of: receiver.mapped.receive(0).kring))
  }

  // MARK: - Indirect packets

  @Test("a process that writes NS_INDIRECT into a sender's slots gets none of the sender's memory")
  func indirectByOthers() throws {
    let secret = [UInt8](repeating: 0x5e, count: 2048)
    try unsafe secret.withUnsafeBytes { bytes in
      let address = UInt64(UInt(bitPattern: bytes.baseAddress))
      nonisolated(unsafe) let slots = sender.tx()
      let scribbler = Scribbler {
        let slots = unsafe slots
        for index in 0..<slots.count {
          slots[index].pointer = address
          slots[index].flags = .indirect
        }
      }
      defer { scribbler.stop() }
      for number in 0..<3000 as Range<UInt32> {
        let frame = TestFrame(target: .broadcast, source: .station(1), number: number)
        for _ in 0..<8 { sender.tx().putPacket(frame.bytes) }
        sender.tx().sync()
        let packets = receiver.rx().takePackets()
        try #require(!packets.contains { $0.contains(0x5e) && $0.starts(with: [0x5e, 0x5e]) })
      }
    }
    #expect(
      sender.tx().counters.drops[.indirect] > 0, "the scribbler has changed slots during syncs")
  }

  @Test("an indirect packet must lie within the memory that its port allows")
  func indirectRange() throws {
    var bytes = [UInt8](repeating: 0, count: 600)
    let frame = TestFrame(target: .broadcast, source: .station(1), number: 1, length: 200)
    bytes.replaceSubrange(100..<300, with: frame.bytes)
    let tx = sender.tx()
    unsafe bytes.withUnsafeBytes { memory in
      let base = UInt64(UInt(bitPattern: memory.baseAddress))
      func send(_ offset: Int, _ length: UInt16) {
        let index = tx.head
        tx[index].length = length
        tx[index].flags = .indirect
        tx[index].pointer = base + UInt64(offset)
        tx.move(to: tx.next(index))
        tx.sync()
      }
      send(100, 200)
      #expect(tx.counters.drops[.indirect] == 1)
      unsafe sender.mapped.allowIndirect(
        IndirectMemory(UnsafeRawBufferPointer(rebasing: memory[100..<300])))
      send(100, 200)
      #expect(receiver.rx().takePackets() == [frame.bytes])
      for (offset, length) in [(99, 200), (101, 200), (300, 60), (0, 60), (100, 201)] {
        send(offset, UInt16(length))
      }
      #expect(tx.counters.drops[.badLength] == 5)
      sender.mapped.allowIndirect(.none)
      send(100, 200)
      #expect(tx.counters.drops[.indirect] == 2)
    }
    #expect(receiver.rx().isSilent)
  }

  // MARK: - Conversion

  @Test(
    "a checksum is completed with the lengths that were written, even if the slots change since")
  func checksumLengths() throws {
    let engine = try Engine()
    let sender = try TestPort(
      engine, "vale1:a", flags: [.acceptVirtioNetHeader], hints: .slots(64))
    let receiver = try TestPort(engine, "vale1:b", hints: .slots(64))
    _ = try engine.answer(.setHeader(try PortName("vale1:a"), length: 12))
    let packet = TransportFrame(payload: (0..<1400).map { UInt8(truncatingIfNeeded: $0) })
    let bytes = packet.header(12) + packet.bytes
    let sizes = [12 + 100] + [Int](repeating: 200, count: 6) + [bytes.count - 12 - 1300]
    // The packet that arrives without interference.
    sender.tx().putPacket(bytes, in: sizes)
    sender.tx().sync()
    let right = try #require(receiver.rx().takePackets().first)
    nonisolated(unsafe) let slots = receiver.rx()
    let scribbler = Scribbler {
      let slots = unsafe slots
      for index in 0..<slots.count { slots[index].length = UInt16.random(in: 3000...65535) }
    }
    defer { scribbler.stop() }
    for _ in 0..<3000 {
      let slot = receiver.rx().tail
      sender.tx().putPacket(bytes, in: sizes)
      sender.tx().sync()
      receiver.rx().sync()
      let region = receiver.registration.region
      let base = receiver.rx().bufferOffset(receiver.rx()[slot].bufferIndex)
      let field = (0..<2).map { region.load(at: base + packet.field + $0, as: UInt8.self) }
      try #require(field == Array(right[packet.field..<packet.field + 2]))
      receiver.rx().move(to: receiver.rx().tail)
      receiver.rx().sync()
    }
  }

  @Test("an empty fragment at the end of a buffer writes nothing into the next buffer")
  func emptyFragmentAtEnd() throws {
    let memory = receiver.registration.segment.memory
    let kring = receivingKRing
    // The engine never gives a port such offsets.
    memory.store(UInt64.max, at: kring + KRingLayout.openOffsetMask)
    memory.store(UInt64.max, at: kring + KRingLayout.openOffsetMax)
    let rx = receiver.rx()
    let region = receiver.registration.region
    let next = rx.bufferOffset(rx[1].bufferIndex) + 2048
    for place in 0..<64 { region.store(UInt8(0xaa), at: next + place) }
    rx[0].pointer = 0
    rx[1].pointer = 1 << 40
    sender.tx().putPacket(
      TestFrame(target: .broadcast, source: .station(1), number: 1).bytes, in: [60, 0])
    sender.tx().sync()
    #expect((0..<64).allSatisfy { region.load(at: next + $0, as: UInt8.self) == 0xaa })
    #expect(receiver.rx().takePackets().count == 1)
  }

  // MARK: - Places

  @Test(
    "a receive ring with an invalid offset gets no packets", arguments: [4, 8, 64, 1 << 50])
  func misplacedRing(by distance: UInt64) throws {
    let memory = receiver.registration.segment.memory
    let place = receivingKRing + KRingLayout.openRingOffset
    let right = memory.load(at: place, as: UInt64.self)
    memory.store(right &+ distance, at: place)
    sender.tx().send(TestFrame(target: .broadcast, source: .station(1), number: 1))
    #expect(receiver.rx().isSilent)
    #expect(receiver.rx().counters.drops[.noReceiver] == 1)
    memory.store(right, at: place)
    sender.tx().send(TestFrame(target: .broadcast, source: .station(1), number: 2))
    #expect(receiver.rx().takePackets().count == 1)
  }

  @Test(
    "a segment whose buffer size is not a multiple of 64 bytes is refused", arguments: [1, 63, 100])
  func oddBuffers(size: UInt32) throws {
    let memory = receiver.registration.segment.memory
    // The buffer size follows the base and the count of the buffers.
    memory.store(size, at: 28)
    let error = #expect(throws: NetmapError.self) {
      try vale.engine.mapPort(receiver.registration, tag: receiver.tag)
    }
    #expect(error?.code == .invalidArgument)
    #expect(throws: NetmapError.self) {
      try DestinationTable().install(
        1, region: receiver.registration.region, segment: receiver.registration.segment,
        generation: 1)
    }
  }

  @Test("a batch size that becomes 0 in the middle of a sync stops no sender")
  func vanishingBatch() throws {
    let vale = try #require(sender.mapped.vale).segment
    let scribbler = Scribbler {
      unsafe vale.view.setBatch(0)
      unsafe vale.view.setBatch(1024)
    }
    defer { scribbler.stop() }
    for number in 0..<100_000 as Range<UInt32> {
      sender.tx().move(to: sender.tx().next(sender.tx().head))
      sender.tx().sync()
      if number % 32 == 0 { _ = receiver.rx().takePackets() }
    }
  }

  @Test("a lock that names no client keeps no memory of a port that closes")
  func lockOfNobody() throws {
    let engine = try Engine()
    let sender = try TestPort(engine, "vale3:a")
    let receiver = try TestPort(engine, "vale3:b")
    let shared = receiver.registration.memoryID
    let other = try TestPort(engine, "vale3:c", memoryID: shared)
    let index = receiver.rx()[0].bufferIndex
    #expect(sender.tx().lock(ClientTag(slot: 900, epoch: 77)))
    receiver.close()
    let next = try TestPort(engine, "vale3:d", memoryID: shared)
    #expect((next.rx().bufferIndexes + next.tx().bufferIndexes).contains(index))
    _ = other
  }

  // MARK: - Everything

  @Test(
    "words of krings, leases, slots and the switch that keep changing crash and stop no process",
    arguments: 0..<3 as Range<UInt64>)
  func everything(number: UInt64) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0xbad_0000 + number
    let engine = try Engine()
    let flags: BindingFlags = [.acceptVirtioNetHeader]
    let ports = try (0..<4).map {
      try TestPort(engine, "vale2:\($0)", flags: flags, hints: .slots(64))
    }
    _ = try engine.answer(.setHeader(try PortName("vale2:0"), length: 12))
    let vale = try #require(ports[0].mapped.vale).segment.memory
    nonisolated(unsafe) let all = ports
    let scribbler = Scribbler { [generator = Mutex(SeededGenerator(seed: seed))] in
      generator.withLock { generator in
        let port = unsafe all[Int.random(in: 0..<4, using: &generator)]
        let word = generator.chance(50) ? generator.next() : generator.next() & 0x7f
        switch Int.random(in: 0..<8, using: &generator) {
        case 0..<4:
          let memory = port.registration.segment.memory
          let first = Int(
            unsafe port.registration.segment.offset(of: port.mapped.transmit(0).kring))
          let place = Int.random(in: 0..<(memory.byteCount - first) / 8, using: &generator)
          // Not the locks, because syncs would skip the ring.
          if place * 8 % KRingLayout.byteCount != 0 { memory.store(word, at: first + 8 * place) }
        case 4, 5:
          let ring = generator.chance(50) ? port.tx() : port.rx()
          let slot = UInt32.random(in: 0..<ring.count, using: &generator)
          port.registration.region.store(word, at: ring.offset + 256 + 16 * Int(slot))
        case 6:
          let places = (vale.byteCount - 64) / 8
          vale.store(word, at: 64 + 8 * Int.random(in: 0..<places, using: &generator))
        default:
          // Restores this word now and then, so that the port stays reachable.
          unsafe port.mapped.receive(0).kring.reservation = Reservation(sequence: 1, next: 0)
        }
      }
    }
    defer { scribbler.stop() }
    let packet = TransportFrame(payload: [UInt8](repeating: 1, count: 3000))
    let end = monotonicNanoseconds() + 2_000_000_000
    var rounds = 0
    while monotonicNanoseconds() < end {
      rounds += 1
      for port in ports {
        let tx = port.tx()
        guard tx.head < tx.count, tx.tail < tx.count, tx.space > 6 else {
          tx.sync()
          continue
        }
        let sizes = [12 + 100, 2000, 900 + packet.headerLength]
        var rest = (packet.header(12, type: UInt8(rounds & 1)) + packet.bytes)[...]
        for (place, size) in sizes.enumerated() {
          let index = tx.head
          let buffer = tx[index].bufferIndex
          tx[index].length = UInt16(size)
          tx[index].flags = place < 2 ? .moreFragments : []
          let offset = tx.bufferOffset(buffer)
          for (at, byte) in rest.prefix(size).prefix(120).enumerated() {
            port.registration.region.store(byte, at: offset + at)
          }
          rest = rest.dropFirst(size)
          tx.move(to: tx.next(index))
        }
        tx.sync()
        let rx = port.rx()
        rx.sync()
        if rx.tail < rx.count { rx.move(to: rx.tail) }
        rx.sync()
      }
      if rounds % 64 == 0 { engine.finishLeases(of: ports[0].tag) }
    }
    scribbler.stop()
    #expect(rounds > 10, "NETMAP_TEST_SEED=\(seed)")
    for port in ports { port.close() }
  }
}
