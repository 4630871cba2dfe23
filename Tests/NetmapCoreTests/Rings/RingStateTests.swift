import NetmapCore
import Testing

@Suite("New rings")
struct RingStateTests {
  @Test(
    "a receive ring starts empty, a transmit ring with all slots but one free",
    arguments: [2, 3, 4, 1024, 4096] as [UInt32])
  func initialState(slots: UInt32) throws {
    let pipe = try TestPipe(.slots(slots))
    for port in [pipe.master, pipe.slave] {
      let (rx, tx) = (port.rx(), port.tx())
      #expect([rx.head, rx.cur, rx.tail] == [0, 0, 0])
      #expect([rx.hwcur, rx.hwtail, rx.rhead, rx.rcur, rx.rtail] == [0, 0, 0, 0, 0])
      #expect([tx.head, tx.cur, tx.tail] == [0, 0, slots - 1])
      #expect(
        [tx.hwcur, tx.hwtail, tx.rhead, tx.rcur, tx.rtail] == [0, slots - 1, 0, 0, slots - 1])
      #expect(rx.state == .on)
      #expect(tx.state == .on)
    }
  }

  @Test("header fields lie where the ABI has them, and dir is 1 for transmit rings")
  func headerFields() throws {
    let pipe = try TestPipe(
      RingGeometryHints(transmitSlots: 8, receiveSlots: 4, transmitRings: 2, receiveRings: 2))
    for number in 0..<2 {
      for (ring, direction, slots) in [
        (pipe.master.tx(number), UInt16(1), UInt32(8)), (pipe.master.rx(number), 0, 4),
        (pipe.slave.tx(number), 1, 4), (pipe.slave.rx(number), 0, 8),
      ] {
        #expect(ring.field(8, as: UInt32.self) == slots, "num_slots")
        #expect(ring.field(12, as: UInt32.self) == 2048, "nr_buf_size")
        #expect(ring.field(16, as: UInt16.self) == UInt16(number), "ringid")
        #expect(ring.field(18, as: UInt16.self) == direction, "dir")
        #expect(ring.field(20, as: UInt32.self) == 0, "head")
        #expect(ring.field(24, as: UInt32.self) == 0, "cur")
        #expect(ring.field(28, as: UInt32.self) == (direction == 1 ? slots - 1 : 0), "tail")
        #expect(ring.field(32, as: UInt32.self) == 0, "flags")
        #expect(ring.field(56, as: UInt64.self) == 0, "offset_mask")
        #expect(ring.field(64, as: UInt64.self) == 0, "buf_align")
      }
    }
  }

  @Test("the header shows what the setters write")
  func cursors() throws {
    let ring = try TestPipe(.slots(8)).master.tx()
    ring.head = 1
    ring.cur = 2
    ring.tail = 3
    ring.flags = 4
    #expect(ring.field(20, as: UInt32.self) == 1)
    #expect(ring.field(24, as: UInt32.self) == 2)
    #expect(ring.field(28, as: UInt32.self) == 3)
    #expect(ring.field(32, as: UInt32.self) == 4)
  }

  @Test("buf_ofs of every ring leads to the same buffers")
  func bufferOffsets() throws {
    let pipe = try TestPipe()
    let info = try pipe.engine.poolsInfo(RegisterRequest(name: try PortName("a{1")))
    for ring in [pipe.master.tx(), pipe.master.rx(), pipe.slave.tx(), pipe.slave.rx()] {
      let bufOfs = Int(ring.field(0, as: Int64.self))
      #expect(ring.offset % 128 == 0)
      for buffer in [0, 1] + ring.bufferIndexes {
        let expected = ring.offset + bufOfs + Int(buffer) * 2048
        #expect(ring.bufferOffset(buffer) == expected)
      }
      #expect(ring.offset + bufOfs == info.buffers.offset)
    }
  }

  @Test("fresh slots name distinct buffers from 2 up, full length, no flags")
  func freshSlots() throws {
    let pipe = try TestPipe(.slots(16))
    let slots = pipe.master.rx().slots + pipe.master.tx().slots
    #expect(slots.allSatisfy { $0.length == 2048 && $0.flags.isEmpty && $0.pointer == 0 })
    // The engine makes receive rings first.
    #expect(slots.map(\.bufferIndex) == Array(2..<34))
  }

  @Test("an index beyond the region reads as buffer 0")
  func badBufferIndex() throws {
    let ring = try TestPipe().master.tx()
    #expect(ring.bufferOffset(.max) == ring.bufferOffset(0))
    #expect(ring.bufferOffset(1_000_000) == ring.bufferOffset(0))
  }
}

@Suite("Null and discarding rings")
struct StillRingTests {
  static func nullPort(_ slots: UInt32 = 4) throws -> TestPort {
    try TestPort(
      Engine(), "anything", .null, memoryID: 1,
      hints: RingGeometryHints(
        transmitSlots: slots, receiveSlots: slots, transmitRings: 1, receiveRings: 1))
  }

  @Test("the head of a null transmit ring may move to tail, and its slots never become free again")
  func nullTransmit() throws {
    let ring = try Self.nullPort().tx()
    ring.put([1, 2])
    #expect(ring.sync() == .done)
    #expect([ring.head, ring.tail, ring.hwcur] == [2, 3, 0])
    ring.put([3])
    #expect(ring.sync() == .done)
    #expect(ring.space == 0)
    for _ in 0..<3 { #expect(ring.sync() == .done) }
    #expect([ring.head, ring.tail, ring.hwcur] == [3, 3, 0])
    ring.move(to: 0)
    #expect(ring.sync() == .reset)
  }

  @Test("a null receive ring stays empty")
  func nullReceive() throws {
    let ring = try Self.nullPort().rx()
    for _ in 0..<3 { #expect(ring.sync() == .done) }
    #expect([ring.head, ring.cur, ring.tail] == [0, 0, 0])
  }

  @Test("packets sent on a port that is attached to nothing are discarded and counted")
  func discard() throws {
    let engine = try Engine()
    let pipe = try TestPort(engine, "a{1", hints: .slots(4))
    let port = try TestPort(engine, "a")
    let tx = port.tx()
    for _ in 0..<3 {
      tx.send([1, 2, 3])
      #expect(tx.space == 3)
    }
    #expect(tx.counters.drops[.notAttached] == 9)
    #expect(tx.counters.packets == 0)
    #expect(port.rx().receive().isEmpty)
    #expect(pipe.rx().receive().isEmpty)
  }
}
