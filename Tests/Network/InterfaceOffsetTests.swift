import Glibc
import Netmap
import NetmapCore
import NetmapLinuxSetup
import NetmapTestSupport
import Testing

/// `NETMAP_REQ_OPT_OFFSETS` on interfaces: packets begin where their slots say.
@Suite("Offsets on interfaces", .serialized)
struct InterfaceOffsetTests {
  static let choices = ["xdp,mode=copy", "xdp,mode=generic", "packet"]

  /// Runs `body` with two ports at the ends of a veth pair, and their engine.
  private static func run(
    _ choice: String, sender: OffsetsOption?, receiver: OffsetsOption?, mtu: Int = 1500,
    _ body: (RawPort, RawPort) throws -> Void
  ) throws {
    try NetworkNamespace.run {
      let engine = try Engine(interfaces: LinuxInterfaces())
      let pair = try VethPair(mtu: mtu)
      let (from, to) = try (
        RawPort(engine, pair.first, choice, offsets: sender),
        RawPort(engine, pair.second, choice, offsets: receiver)
      )
      try body(from, to)
      for direction in Direction.allCases {
        #expect(from.counters(direction).drops[.badBufferIndex] == 0)
        #expect(to.counters(direction).drops[.badBufferIndex] == 0)
      }
      from.close()
      to.close()
      #expect(engine.check().findings.isEmpty)
    }
  }

  /// Writes the low 16 bits of a slot's pointer; the rest is the program's.
  private static func set(_ offset: Int, of index: UInt32, _ ring: Ring) {
    unsafe ring.place(index).store(pointer: 0x5a5a_0000 | UInt64(offset))
  }

  @Test("the initial offset is in every slot, and packets begin there", arguments: choices)
  func initial(choice: String) throws {
    let option = OffsetsOption(max: 300, initial: 130, bits: 16)
    try Self.run(choice, sender: option, receiver: option) { sender, receiver in
      #expect(sender.registration.offsetMax == 300)
      for direction in Direction.allCases {
        let ring = unsafe direction == .transmit ? sender.transmit : receiver.receive
        #expect(unsafe ring.offsetMask == 0xffff)
        for slot in unsafe 0..<ring.slotCount {
          #expect(unsafe ring.load(slot).pointer == 130)
        }
      }
      for round in 0..<15 {
        let frames = (0..<100).map { numberedFrame(round * 100 + $0, length: 60 + $0 * 14) }
        for frame in frames { sender.put(frame) }
        sender.flush()
        let arrived = receiver.take(frames.count) { _, slot in #expect(slot.pointer == 130) }
        #expect(arrived == frames)
      }
    }
  }

  @Test(
    "a packet leaves from the slot's offset, odd and large ones too, and arrives at the receiving slot's",
    arguments: choices)
  func anyOffset(choice: String) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 1...99_999)
    var generator = SeededGenerator(seed: seed)
    try Self.run(
      choice, sender: OffsetsOption(max: 2000, initial: 0, bits: 16),
      receiver: OffsetsOption(max: 500, initial: 0, bits: 16)
    ) { sender, receiver in
      let (transmit, receive) = unsafe (sender.transmit, receiver.receive)
      var wanted = unsafe [Int](repeating: 0, count: Int(receive.slotCount))
      for round in 0..<30 {
        var frames: [[UInt8]] = []
        for number in 0..<100 {
          let length = Int.random(in: 60...1514, using: &generator)
          let offset = Int.random(in: 0...min(2000, 2048 - length), using: &generator)
          // At the chunk's end, where an AF_XDP packet lies wholly behind its chunk.
          let isLast = number % 10 == 0
          let frame = numberedFrame(round * 100 + number, length: isLast ? 60 : length)
          unsafe Self.set(isLast ? 1780 + number : offset, of: transmit.head, transmit)
          sender.put(frame)
          frames.append(frame)
        }
        sender.flush()
        let arrived = receiver.take(frames.count) { index, slot in
          #expect(Int(slot.pointer & 0xffff) == wanted[Int(index)])
          // For the slot's next packet.
          let next = Int.random(in: 0...500, using: &generator)
          unsafe Self.set(next, of: index, receive)
          wanted[Int(index)] = next
        }
        _ = arrived
        try #require(arrived.count == frames.count, "seed \(seed)")
      }
      #expect(sender.counters(.transmit).drops.total == 0)
      #expect(receiver.counters(.receive).drops.total == 0)
    }
  }

  @Test("the bytes of packets at any offset arrive unchanged", arguments: choices)
  func integrity(choice: String) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 1...99_999)
    var generator = SeededGenerator(seed: seed)
    try Self.run(
      choice, sender: OffsetsOption(max: 700, initial: 0),
      receiver: OffsetsOption(max: 534, initial: 1)
    ) { sender, receiver in
      let (transmit, receive) = unsafe (sender.transmit, receiver.receive)
      for slot in unsafe 0..<receive.slotCount {
        #expect(unsafe receive.load(slot).pointer == 1)
      }
      for round in 0..<30 {
        let frames = (0..<100).map {
          numberedFrame(round * 100 + $0, length: .random(in: 60...1300, using: &generator))
        }
        for frame in frames {
          unsafe transmit.place(transmit.head).store(
            pointer: .random(in: 0...700, using: &generator))
          sender.put(frame)
        }
        sender.flush()
        try #require(receiver.take(frames.count) == frames, "seed \(seed)")
      }
    }
  }

  @Test(
    "an offset beyond the largest one counts as the largest one, on both sides", arguments: choices)
  func beyond(choice: String) throws {
    let option = OffsetsOption(max: 200, initial: 0, bits: 12)
    try Self.run(choice, sender: option, receiver: option) { sender, receiver in
      let (transmit, receive) = unsafe (sender.transmit, receiver.receive)
      // Slots that the program holds: one turn, to have all of them.
      let turn = unsafe Int(receive.slotCount)
      for start in stride(from: 0, to: turn, by: 200) {
        let count = min(200, turn - start)
        for number in 0..<count { sender.put(numberedFrame(number, length: 60)) }
        sender.flush()
        _ = receiver.take(count) { index, _ in
          unsafe receive.place(index).store(pointer: 0xabc0_0fff)
        }
      }
      for number in 0..<50 {
        let frame = numberedFrame(number, length: 100)
        let slot = unsafe transmit.load(transmit.head)
        let buffer = unsafe transmit.buffer(slot.bufferIndex) + 200
        for (place, byte) in frame.enumerated() {
          unsafe buffer.storeBytes(of: byte, toByteOffset: place, as: UInt8.self)
        }
        unsafe transmit.place(transmit.head).store(
          Slot(bufferIndex: slot.bufferIndex, length: 100, pointer: 0xfff))
        unsafe sender.handOver(transmit)
        sender.flush()
        let arrived = receiver.take(1) { _, slot in #expect(slot.pointer == 0xabc0_00c8) }
        #expect(arrived == [frame])
      }
    }
  }

  @Test(
    "a packet that does not fit behind the largest offset, or exceeds the gap, takes more slots",
    arguments: choices,
    [OffsetsOption(max: 900, initial: 900), OffsetsOption(max: 64, initial: 17, minimumGap: 500)])
  func fragments(choice: String, option: OffsetsOption) throws {
    let room = option.minimumGap == 0 ? 2048 - 900 : 500
    try Self.run(choice, sender: nil, receiver: option) { sender, receiver in
      for round in 0..<30 {
        let frames = (0..<60).map { numberedFrame(round * 60 + $0, length: 60 + ($0 * 97) % 1450) }
        for frame in frames { sender.put(frame) }
        sender.flush()
        var longest = 0
        let arrived = receiver.take(frames.count) { _, slot in
          longest = max(longest, Int(slot.length))
          #expect(slot.pointer == option.initial)
        }
        #expect(arrived == frames)
        // Not less than what one slot could take, but for what chunks of whole cache lines cost.
        #expect(longest <= room && longest > room - 64)
      }
      #expect(receiver.counters(.receive).drops.total == 0)
    }
  }

  @Test("a receive slot with an offset shows no byte beyond its room", arguments: choices)
  func guardedRoom(choice: String) throws {
    let option = OffsetsOption(max: 128, initial: 100, minimumGap: 256)
    try Self.run(choice, sender: nil, receiver: option) { sender, receiver in
      let ring = unsafe receiver.receive
      // The application's slots after one turn: fill their buffers with a pattern where nothing may be written.
      for turn in 0..<2 {
        for start in stride(from: 0, to: unsafe Int(ring.slotCount), by: 100) {
          let count = unsafe min(100, Int(ring.slotCount) - start)
          for number in 0..<count { sender.put(numberedFrame(number, length: 60)) }
          sender.flush()
          _ = receiver.take(count) { index, slot in
            let buffer = unsafe ring.buffer(slot.bufferIndex)
            if turn == 1 {
              #expect(
                unsafe buffer.load(fromByteOffset: 100 + 700, as: UInt64.self)
                  == 0x7171_7171_7171_7171)
            }
            unsafe memset(buffer + 100 + 256, 0x71, 1000)
          }
        }
      }
    }
  }

  @Test(
    "options that do not fit are refused with netmap's errno, and a second binding may ask for less"
  )
  func refusals() throws {
    try NetworkNamespace.run {
      let engine = try Engine(interfaces: LinuxInterfaces())
      let pair = try VethPair()
      func code(_ option: OffsetsOption) -> CInt? {
        do {
          _ = try RawPort(engine, pair.first, "xdp,mode=copy", offsets: option)
          return nil
        } catch let error as NetmapError { return error.code.rawValue } catch { return -1 }
      }
      #expect(code(OffsetsOption(max: 0, initial: 0, bits: 65)) == EINVAL)
      #expect(code(OffsetsOption(max: 2049, initial: 0)) == EINVAL)
      #expect(code(OffsetsOption(max: 256, initial: 0, bits: 8)) == EINVAL)
      #expect(code(OffsetsOption(max: 64, initial: 65)) == EINVAL)
      let first = try RawPort(
        engine, pair.first, "xdp,mode=copy", offsets: OffsetsOption(max: 100, initial: 0, bits: 8))
      #expect(code(OffsetsOption(max: 101, initial: 0, bits: 8)) == EBUSY)
      #expect(code(OffsetsOption(max: 100, initial: 0, bits: 9)) == EBUSY)
      let second = try RawPort(
        engine, pair.first, "xdp,mode=copy", offsets: OffsetsOption(max: 50, initial: 0, bits: 8))
      #expect(second.registration.offsetMax == 100)
      first.close()
      second.close()
      #expect(code(OffsetsOption(max: 2000, initial: 0)) == nil)
    }
  }

  @Test("a program that sets offsets on a port that others have opened before gets them, too")
  func later() throws {
    try NetworkNamespace.run {
      let engine = try Engine(interfaces: LinuxInterfaces())
      let pair = try VethPair()
      let sender = try RawPort(engine, pair.first, "xdp,mode=copy")
      let before = try RawPort(engine, pair.second, "xdp,mode=copy")
      let receiver = try RawPort(
        engine, pair.second, "xdp,mode=copy",
        offsets: OffsetsOption(max: 1000, initial: 1000))
      // The initial offset is for the only user of a ring.
      #expect(unsafe receiver.receive.load(0).pointer == 0)
      for slot in unsafe 0..<receiver.receive.slotCount {
        unsafe receiver.receive.place(slot).store(pointer: 1000)
      }
      let short = (0..<50).map { numberedFrame($0, length: 60 + $0) }
      for frame in short { sender.put(frame) }
      sender.flush()
      let arrived = receiver.take(50) { _, slot in #expect(slot.pointer == 1000) }
      #expect(arrived == short)
      // The memory was registered without room for the offset, so the kernel does not split this one.
      sender.put(numberedFrame(50, length: 1200))
      sender.put(numberedFrame(51, length: 1000))
      sender.flush()
      #expect(receiver.take(2) == [[], numberedFrame(51, length: 1000)])
      #expect(receiver.counters(.receive).drops[.badLength] == 1)
      before.close()
    }
  }
}
