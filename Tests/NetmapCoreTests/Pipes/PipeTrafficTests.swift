import NetmapCore
import NetmapTestSupport
import Testing

@Suite("Pipes: packets")
struct PipeTrafficTests {
  @Test("four slots, step by step")
  func workedExample() throws {
    let pipe = try TestPipe(.slots(4))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    #expect([tx.head, tx.tail, rx.head, rx.tail] == [0, 3, 0, 0])
    tx.put([10, 11, 12])
    tx.sync()
    #expect([tx.head, tx.tail, rx.head, rx.tail] == [3, 3, 0, 0])
    #expect([tx.hwcur, tx.position] == [3, 3])
    rx.sync()
    #expect([tx.head, tx.tail, rx.head, rx.tail] == [3, 3, 0, 3])
    #expect(rx.visible == [10, 11, 12])
    rx.move(to: 2)
    rx.sync()
    #expect([tx.head, tx.tail, rx.head, rx.tail] == [3, 3, 2, 3])
    #expect(rx.position == 2)
    tx.sync()
    #expect([tx.head, tx.tail, rx.head, rx.tail] == [3, 1, 2, 3])
    #expect(tx.space == 2)
    tx.put([13, 14])
    #expect(tx.head == 1)
    tx.sync()
    rx.sync()
    #expect(rx.visible == [12, 13, 14])
  }

  @Test(
    "after every sync the sender's free slots are n-1, minus packets sent and not yet received",
    arguments: [2, 3, 8] as [UInt32])
  func accounting(slots: UInt32) throws {
    let pipe = try TestPipe(.slots(slots))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    var generator = SeededGenerator(seed: UInt64(slots))
    var (sent, received): (UInt64, UInt64) = (0, 0)
    for _ in 0..<500 {
      for _ in 0..<Int.random(in: 0...Int(tx.space), using: &generator) {
        tx.put([sent])
        sent += 1
      }
      tx.sync()
      rx.sync()
      for _ in 0..<Int.random(in: 0...Int(rx.space), using: &generator) {
        #expect(rx.visible.first == received)
        rx.move(to: rx.next(rx.head))
        received += 1
      }
      rx.sync()
      tx.sync()
      #expect(sent - received == UInt64(slots - 1 - tx.space))
    }
    #expect(tx.counters.packets == sent)
    #expect(tx.counters.bytes == sent * 60)
    #expect(rx.counters.packets == sent, "every packet sent has arrived")
  }

  @Test("the sender sees freed slots only after the receiver's sync and its own")
  func freeingNeedsBothSyncs() throws {
    let pipe = try TestPipe(.slots(4))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.send([1, 2, 3])
    rx.sync()
    rx.move(to: 3)
    tx.sync()
    #expect(tx.space == 0, "not before the receiver syncs")
    rx.sync()
    #expect(tx.space == 0, "not before the sender syncs")
    tx.sync()
    #expect(tx.space == 3)
  }

  @Test("the whole slot is transferred: index, length, every flag, pointer")
  func wholeSlot() throws {
    let pipe = try TestPipe(.slots(8))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    let sent = [
      Slot(bufferIndex: tx[0].bufferIndex, length: 1, flags: [], pointer: .max),
      Slot(
        bufferIndex: 4_000_000_000, length: .max, flags: SlotFlags(rawValue: 0xff00), pointer: 1),
      Slot(bufferIndex: 0, length: 0, flags: SlotFlags(rawValue: 0x5b & ~0x21), pointer: 2),
      Slot(
        bufferIndex: 1, length: 60,
        flags: [.report, .forward, .noLearn, .indirect, .monitoredTransmit],
        pointer: 3),
    ]
    for (index, slot) in sent.enumerated() { tx[UInt32(index)] = slot }
    tx.move(to: 4)
    #expect(tx.sync() == .done)
    rx.sync()
    #expect(rx.tail == 4)
    #expect(Array(rx.slots.prefix(4)) == sent, "the slots are not changed on the way")
    #expect(Array(tx.slots.prefix(4)) == sent)
    // The same in the return direction.
    let returned = sent.map {
      Slot(
        bufferIndex: $0.bufferIndex &+ 9, length: $0.length ^ 7,
        flags: SlotFlags(rawValue: $0.flags.rawValue ^ 0x4202), pointer: ~$0.pointer)
    }
    for (index, slot) in returned.enumerated() { rx[UInt32(index)] = slot }
    rx.move(to: 4)
    rx.sync()
    #expect(Array(tx.slots.prefix(4)) == returned)
    #expect(Array(rx.slots.prefix(4)) == returned)
  }

  @Test("NS_BUF_CHANGED arrives with the slot and is cleared where it was set, both ways")
  func bufferChanged() throws {
    let pipe = try TestPipe(.slots(4))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx[1].flags = [.bufferChanged, .report]
    tx.move(to: 3)
    tx.sync()
    rx.sync()
    #expect(rx.slots.prefix(3).map(\.flags) == [[], [.bufferChanged, .report], []])
    #expect(tx.slots.prefix(3).map(\.flags) == [[], .report, []])
    rx[0].flags.insert(.bufferChanged)
    rx.move(to: 2)
    rx.sync()
    // Slot 1 goes back with the flag it came with.
    #expect(tx.slots.prefix(3).map(\.flags) == [.bufferChanged, [.bufferChanged, .report], []])
    #expect(rx.slots.prefix(3).map(\.flags) == [[], .report, []])
  }

  @Test("buffers swapped in by the receiver return to the sender")
  func swappedBuffers() throws {
    let engine = try Engine()
    let master = try TestPort(engine, "a{1", hints: .slots(4))
    let slave = try TestPort(engine, "a}1", extraBuffers: 2)
    let spare = slave.interface.extraBuffersHead
    let (tx, rx) = (master.tx(), slave.rx())
    let before = tx.bufferIndexes
    tx.send([1, 2])
    rx.sync()
    let kept = rx[0].bufferIndex
    rx[0].bufferIndex = spare
    rx[0].flags.insert(.bufferChanged)
    rx.move(to: 2)
    rx.sync()
    tx.sync()
    #expect(tx.bufferIndexes == [spare, before[1], before[2], before[3]])
    #expect(tx[0].flags.contains(.bufferChanged))
    #expect(rx.payload(kept) == 1, "the buffer that the receiver kept is unchanged")
  }

  @Test("packets arrive in order across many wraps")
  func fifo() throws {
    let pipe = try TestPipe(.slots(5))
    var (next, expected): (UInt64, UInt64) = (0, 0)
    for round in 0..<200 {
      let count = min(UInt64(round % 5), UInt64(pipe.master.tx().space))
      pipe.master.tx().send(next..<(next + count))
      next += count
      for number in pipe.slave.rx().receive() {
        #expect(number == expected)
        expected += 1
      }
      pipe.master.tx().sync()
    }
    #expect(expected == next)
  }
}

@Suite("Pipes: packets of several slots")
struct PipeFragmentTests {
  /// Puts one slot, with or without more to follow.
  private func put(_ ring: TestRing, _ number: UInt64, more: Bool) {
    ring.put([number])
    if more { ring[(ring.head + ring.count - 1) % ring.count].flags.insert(.moreFragments) }
  }

  @Test("a packet becomes visible when its last slot has been sent")
  func incomplete() throws {
    let pipe = try TestPipe(.slots(8))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    put(tx, 1, more: true)
    put(tx, 2, more: true)
    tx.sync()
    rx.sync()
    #expect(rx.space == 0)
    #expect(tx.hwcur == 2)
    #expect(tx.counters.packets == 0)
    put(tx, 3, more: false)
    tx.sync()
    rx.sync()
    #expect(rx.visible == [1, 2, 3])
    #expect(rx.slots.prefix(3).map { $0.flags.contains(.moreFragments) } == [true, true, false])
    #expect(tx.counters.packets == 1)
    #expect(tx.counters.bytes == 180)
  }

  @Test("complete packets become visible, the incomplete one behind them waits")
  func lastComplete() throws {
    let pipe = try TestPipe(.slots(8))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    put(tx, 1, more: false)
    put(tx, 2, more: true)
    put(tx, 3, more: false)
    put(tx, 4, more: true)
    put(tx, 5, more: true)
    tx.sync()
    rx.sync()
    #expect(rx.visible == [1, 2, 3])
    #expect(tx.counters.packets == 2)
    tx.sync()
    rx.sync()
    #expect(rx.visible == [1, 2, 3], "a sync with nothing new changes nothing")
    put(tx, 6, more: false)
    tx.sync()
    rx.sync()
    #expect(rx.visible == [1, 2, 3, 4, 5, 6])
    #expect(tx.counters.packets == 3)
    #expect(tx.counters.bytes == 360)
  }

  @Test("one slot per sync, across the end of the ring", arguments: 0..<5 as Range<UInt32>)
  func oneSlotASync(start: UInt32) throws {
    let pipe = try TestPipe(.slots(5))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    for number in 0..<start {
      tx.send([UInt64(number)])
      #expect(rx.receive() == [UInt64(number)])
      tx.sync()
    }
    for number: UInt64 in 100..<104 {
      put(tx, number, more: number != 103)
      tx.sync()
      rx.sync()
      #expect(rx.visible == (number == 103 ? [100, 101, 102, 103] : []))
    }
    #expect(tx.space == 0)
    #expect(rx.receive() == [100, 101, 102, 103])
  }

  @Test("a packet longer than n-1 slots never completes: the sender waits forever")
  func tooLong() throws {
    let pipe = try TestPipe(.slots(4))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    for number: UInt64 in 0..<3 { put(tx, number, more: true) }
    for _ in 0..<3 {
      tx.sync()
      rx.sync()
      #expect(tx.space == 0)
      #expect(rx.space == 0)
    }
    pipe.slave.tx().send([9])
    #expect(pipe.master.rx().receive() == [9], "the other direction is not affected")
  }
}

@Suite("Pipes: offsets")
struct PipeOffsetTests {
  @Test("the receiver gets the larger of the sender's and its own offset")
  func largerWins() throws {
    let engine = try Engine()
    let option = OffsetsOption(max: 256, initial: 0, bits: 16)
    let master = try TestPort(engine, "a{1", hints: .slots(8), offsets: option)
    let slave = try TestPort(engine, "a}1", offsets: option)
    let (tx, rx) = (master.tx(), slave.rx())
    let high: UInt64 = 0xabcd_0000
    for (slot, (sender, receiver)) in [(0, 0), (64, 0), (0, 64), (32, 64), (64, 64)].enumerated() {
      tx[UInt32(slot)].pointer = high | UInt64(sender)
      rx[UInt32(slot)].pointer = UInt64(receiver)
    }
    tx.move(to: 5)
    tx.sync()
    rx.sync()
    #expect(rx.slots.prefix(5).map(\.pointer) == [0, 64, 64, 64, 64].map { high | $0 })
    #expect(tx.slots.prefix(5).map(\.pointer) == [0, 64, 0, 32, 64].map { high | $0 })
  }

  @Test("fragments and changed buffers work as without offsets")
  func flagsWithOffsets() throws {
    let engine = try Engine()
    let master = try TestPort(
      engine, "a{1", hints: .slots(8), offsets: OffsetsOption(max: 64, initial: 0))
    let slave = try TestPort(engine, "a}1")
    let (tx, rx) = (master.tx(), slave.rx())
    tx.put([1, 2])
    tx[0].flags = [.bufferChanged]
    tx[1].flags = [.moreFragments]
    tx.sync()
    rx.sync()
    #expect(rx.visible == [1])
    #expect(rx[0].flags == .bufferChanged)
    #expect(tx[0].flags == [])
  }

  @Test("the first open sets mask and limit for both ends; later opens inherit them")
  func inherited() throws {
    let engine = try Engine()
    let master = try TestPort(
      engine, "a{1", hints: .slots(4), offsets: OffsetsOption(max: 200, initial: 0, bits: 12))
    #expect(master.registration.offsetMax == 200)
    let slave = try TestPort(engine, "a}1")
    for ring in [master.tx(), master.rx(), slave.tx(), slave.rx()] {
      #expect(ring.offsetMask == 0xfff)
      #expect(ring.offsetMax == 200)
      #expect(ring.field(56, as: UInt64.self) == 0xfff)
    }
    let modest = try TestPort(engine, "a}1", offsets: OffsetsOption(max: 100, initial: 0, bits: 8))
    #expect(modest.registration.offsetMax == 200)
    #expect(modest.rx().offsetMask == 0xfff)
  }

  @Test(
    "a later open that asks for more is EBUSY",
    arguments: [
      OffsetsOption(max: 201, initial: 0, bits: 12), OffsetsOption(max: 100, initial: 0, bits: 13),
      OffsetsOption(max: 100, initial: 0, bits: 0),
    ])
  func wantsMore(option: OffsetsOption) throws {
    let engine = try Engine()
    let master = try TestPort(
      engine, "a{1", hints: .slots(4), offsets: OffsetsOption(max: 200, initial: 0, bits: 12))
    for name in ["a{1", "a}1"] {
      let error = #expect(throws: NetmapError.self) { try TestPort(engine, name, offsets: option) }
      #expect(error?.code == .busy)
      #expect(error?.description.contains(name) == true)
      #expect(error?.remedy.contains("200") == true)
    }
    #expect(master.tx().offsetMask == 0xfff)
  }

  @Test(
    "impossible offsets are EINVAL, with the reason",
    arguments: [
      (OffsetsOption(max: 0, initial: 0, bits: 65), "65 bits"),
      (OffsetsOption(max: 2049, initial: 0), "2049"),
      (OffsetsOption(max: 256, initial: 0, bits: 8), "8 bits"),
      (OffsetsOption(max: 100, initial: 101), "101"),
    ])
  func impossible(option: OffsetsOption, reason: String) throws {
    let engine = try Engine()
    let error = #expect(throws: NetmapError.self) {
      try TestPort(engine, "a{1", hints: .slots(4), offsets: option)
    }
    #expect(error?.code == .invalidArgument)
    #expect(error?.description.contains("a{1") == true)
    #expect(error?.reason.contains(reason) == true)
    #expect(error?.remedy.isEmpty == false)
    #expect(engine.directory.entries.isEmpty)
  }

  @Test("0 or 64 bits mean the whole field", arguments: [0, 64] as [UInt32])
  func wholeField(bits: UInt32) throws {
    let port = try TestPort(
      Engine(), "a{1", hints: .slots(4), offsets: OffsetsOption(max: 2048, initial: 0, bits: bits))
    #expect(port.tx().offsetMask == .max)
  }

  @Test("the initial offset is written to every slot, also of the end that is not open yet")
  func initial() throws {
    let engine = try Engine()
    let master = try TestPort(
      engine, "a{1", hints: .slots(4), offsets: OffsetsOption(max: 128, initial: 64))
    let slave = try TestPort(engine, "a}1")
    for ring in [master.tx(), master.rx(), slave.tx(), slave.rx()] {
      #expect(ring.slots.allSatisfy { $0.pointer == 64 })
    }
  }

  @Test("the initial offset is not written to a ring that another binding uses too")
  func initialShared() throws {
    let engine = try Engine()
    let first = try TestPort(
      engine, "a{1", hints: .slots(4), offsets: OffsetsOption(max: 128, initial: 0))
    first.tx()[0].pointer = 5
    _ = try TestPort(engine, "a{1", offsets: OffsetsOption(max: 128, initial: 64))
    #expect(first.tx().slots.map(\.pointer) == [5, 0, 0, 0])
  }

  @Test("without the option there are no offsets")
  func without() throws {
    let pipe = try TestPipe()
    #expect(pipe.master.registration.offsetMax == nil)
    #expect(pipe.master.tx().offsetMask == 0)
    pipe.slave.rx()[0].pointer = 99
    pipe.master.tx().send([1])
    pipe.slave.rx().sync()
    #expect(pipe.slave.rx()[0].pointer == 0, "the whole slot comes from the sender")
  }
}
