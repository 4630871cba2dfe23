import Glibc
import NetmapCore
import Testing

@Suite("VALE: packets")
struct SwitchTrafficTests {
  private let m = Address.station(1)
  private let n = Address.station(2)

  @Test(
    "every length arrives whole",
    arguments: [14, 15, 60, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1514, 2047, 2048])
  func lengths(length: Int) throws {
    let vale = try TestSwitch(2)
    for number in 0..<3 as Range<UInt32> {
      let frame = TestFrame(target: .broadcast, source: m, number: number, length: length)
      vale[0].tx().send(frame)
      #expect(vale[1].rx().takePackets() == [frame.bytes])
    }
  }

  @Test("a packet of 64 slots arrives, one of 65 is dropped and counted")
  func fragments() throws {
    let vale = try TestSwitch(2)
    let tx = vale[0].tx()
    let good = TestFrame(target: .broadcast, source: m, number: 1, length: 64 * 20).bytes
    tx.putPacket(Array(repeating: 1, count: 65 * 20), in: Array(repeating: 20, count: 65))
    tx.putPacket(good, in: Array(repeating: 20, count: 64))
    tx.putPacket(Array(repeating: 1, count: 200 * 20), in: Array(repeating: 20, count: 200))
    let last = TestFrame(target: .broadcast, source: m, number: 2)
    tx.putPacket(last.bytes)
    tx.sync()
    #expect(vale[1].rx().takePackets() == [good, last.bytes])
    #expect(tx.counters.drops[.tooManyFragments] == 2)
  }

  @Test("a frame of 64 KiB in 32 slots")
  func jumbo() throws {
    let vale = try TestSwitch(2)
    let bytes = TestFrame(target: .broadcast, source: m, number: 7, length: 65_536).bytes
    vale[0].tx().putPacket(bytes, in: Array(repeating: 2048, count: 32))
    vale[0].tx().sync()
    #expect(vale[1].rx().takePackets() == [bytes])
    #expect(vale[1].rx().counters.packets == 1)
    #expect(vale[1].rx().counters.bytes == 65_536)
  }

  @Test("an invalid slot costs only its own packet")
  func badSlots() throws {
    let vale = try TestSwitch(2)
    let tx = vale[0].tx()
    let first = tx.head
    tx.putPacket(TestFrame(target: .broadcast, source: m, number: 1).bytes)
    tx[first].length = 2049
    let second = tx.head
    tx.putPacket(TestFrame(target: .broadcast, source: m, number: 2).bytes)
    let ownBuffer = tx[second].bufferIndex
    tx[second].bufferIndex = .max
    let good = TestFrame(target: .broadcast, source: m, number: 3)
    tx.send(good)
    #expect(vale[1].rx().takePackets() == [good.bytes])
    #expect(tx.counters.drops[.badLength] == 1)
    #expect(tx.counters.drops[.badBufferIndex] == 1)
    #expect(tx.counters.drops.total == 2, "each slot counted once")
    tx[second].bufferIndex = ownBuffer
  }

  @Test(
    "an indirect packet is taken from the sender's own memory; a bad pointer costs the packet",
    arguments: [IndirectMemory.all, .allCopied])
  func indirect(memory: IndirectMemory) throws {
    let vale = try TestSwitch(2)
    vale[0].mapped.allowIndirect(memory)
    let tx = vale[0].tx()
    let frame = TestFrame(target: .broadcast, source: m, number: 1, length: 700)
    var bytes = frame.bytes
    unsafe bytes.withUnsafeMutableBytes { memory in
      let addresses = [UInt64(UInt(bitPattern: memory.baseAddress!)), 0, 16]
      for address in addresses {
        let index = tx.head
        tx[index].length = 700
        tx[index].flags = .indirect
        tx[index].pointer = address
        tx.move(to: tx.next(index))
      }
      tx.sync()
    }
    #expect(vale[1].rx().takePackets() == [frame.bytes])
    #expect(tx.counters.drops[.badLength] == 2)
  }

  @Test("NS_BUF_CHANGED is cleared, and not passed on")
  func bufferChanged() throws {
    let vale = try TestSwitch(2)
    let tx = vale[0].tx()
    tx.putPacket(TestFrame(target: .broadcast, source: m, number: 1).bytes)
    tx[0].flags = [.bufferChanged, .report]
    tx.sync()
    #expect(tx[0].flags == .report)
    vale[1].rx().sync()
    #expect(vale[1].rx()[0].flags.rawValue == 0x0100)
  }

  @Test("a receiver gets its packets at its offsets, and only if they fit there")
  func offsets() throws {
    let engine = try Engine()
    let sender = try TestPort(engine, "vale0:a")
    let receiver = try TestPort(
      engine, "vale0:b", offsets: OffsetsOption(max: 256, initial: 128, bits: 16))
    let frame = TestFrame(target: .broadcast, source: m, number: 1, length: 1000)
    let long = TestFrame(target: .broadcast, source: m, number: 2, length: 2000)
    sender.tx().send(frame, long)
    let rx = receiver.rx()
    rx.sync()
    #expect(rx[0].pointer & 0xffff == 128)
    #expect(rx.bytes(0, at: 128) == frame.bytes)
    #expect(rx[1].length == 0)
    // The other direction: a packet of a sender with offsets begins at its offset.
    let index = receiver.tx().head
    receiver.tx()[index].length = 60
    let short = TestFrame(target: .broadcast, source: n, number: 3)
    receiver.tx().fill(index, short.bytes, at: 128)
    receiver.tx().move(to: receiver.tx().next(index))
    receiver.tx().sync()
    #expect(sender.rx().takePackets() == [short.bytes])
  }

  @Test("a receiver that asked for a gap gets no more bytes in a slot, and none beyond it")
  func gap() throws {
    let engine = try Engine()
    let sender = try TestPort(engine, "vale0:a")
    let receiver = try TestPort(
      engine, "vale0:b", offsets: OffsetsOption(max: 256, initial: 100, minimumGap: 300))
    let rx = receiver.rx()
    for slot: UInt32 in 0..<2 { rx.fill(slot, Array(repeating: 0x77, count: 1000), at: 100) }
    let frames = [300, 301].map {
      TestFrame(target: .broadcast, source: m, number: 1, length: $0)
    }
    sender.tx().send(frames[0], frames[1])
    rx.sync()
    #expect(rx[0].length == 300 && rx[1].length == 0)
    #expect(rx.bytes(0, at: 100) == frames[0].bytes)
    rx[0].length = 400
    #expect(rx.bytes(0, at: 100).suffix(100).allSatisfy { $0 == 0x77 })
  }

  @Test("unicast packets and broadcasts arrive in the order in which they were sent")
  func order() throws {
    let vale = try TestSwitch(3)
    vale[1].tx().send(TestFrame(target: .broadcast, source: n, number: 0))
    _ = (vale[0].rx().takePackets(), vale[2].rx().takePackets())
    let frames = (0..<50 as Range<UInt32>).map {
      TestFrame(target: $0 % 3 == 0 ? .broadcast : n, source: m, number: $0)
    }
    for frame in frames { vale[0].tx().putPacket(frame.bytes) }
    vale[0].tx().sync()
    #expect(vale[1].rx().takePackets() == frames.map(\.bytes))
    #expect(vale[2].rx().takePackets() == frames.filter { $0.target == .broadcast }.map(\.bytes))
  }

  @Test("packets follow a station that moves to another port and back")
  func moving() throws {
    let vale = try TestSwitch(3)
    for place in [0, 1, 0, 1, 1, 0] {
      vale[place].tx().send(TestFrame(target: .broadcast, source: m, number: 0))
      for port in vale.ports { _ = port.rx().takePackets() }
      let frame = TestFrame(target: m, source: n, number: 1)
      vale[2].tx().send(frame)
      #expect(vale[place].rx().takePackets() == [frame.bytes])
      #expect(vale[1 - place].rx().isSilent)
    }
  }

  @Test("a packet for the port that it came from is dropped")
  func toItself() throws {
    let vale = try TestSwitch(2)
    vale[0].tx().send(
      TestFrame(target: .broadcast, source: m, number: 0),
      TestFrame(target: m, source: n, number: 1))
    #expect(vale[1].rx().takePackets().count == 1)
    #expect(vale[0].rx().isSilent)
    #expect(vale[0].tx().counters.drops[.noDestination] == 1)
  }

  @Test("2^20 source addresses do no harm")
  func manyAddresses() throws {
    let vale = try TestSwitch(2)
    let tx = vale[0].tx()
    var number: UInt64 = 0
    while number < 1 << 20 {
      for index in 0..<1023 as Range<UInt32> {
        tx.setPayload(tx[index].bufferIndex, .broadcast | number << 48)
        tx[index].length = 60
        number += 1
      }
      tx.move(to: tx.tail)
      tx.sync()
      _ = vale[1].rx().receive()
    }
    let frame = TestFrame(target: .broadcast, source: m, number: 1)
    tx.send(frame)
    #expect(vale[1].rx().takePackets() == [frame.bytes])
  }

  @Test("a port of a switch can be the parent of pipes, and lives as long as they do")
  func pipes() throws {
    let engine = try Engine()
    let master = try TestPort(engine, "vale0:a{1")
    let slave = try TestPort(engine, "vale0:a}1")
    let other = try TestPort(engine, "vale0:b")
    master.tx().send(17)
    #expect(slave.rx().receive() == [17])
    #expect(other.rx().isSilent)
  }
}
