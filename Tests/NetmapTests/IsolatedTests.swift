import Glibc
import NetmapCore
import NetmapTestSupport
import Testing

@testable import Netmap

@Suite("Isolated ports", .timeLimit(.minutes(15)))
struct IsolatedTests {
  /// Takes packets until there are `count` of them, or ten seconds have passed.
  private func collect(_ count: Int, from port: NetmapPort) throws -> [[UInt8]] {
    var result: [[UInt8]] = []
    let end = ContinuousClock.now + .seconds(10)
    while result.count < count, ContinuousClock.now < end {
      try port.wait(for: .receive, timeout: .milliseconds(100))
      var ring = port.receiveRing(0)
      while let packet = ring.next() { result.append(packet.copy()) }
    }
    return result
  }

  @Test(
    "packets go both ways, whichever end is isolated",
    arguments: [("/i", ""), ("", "/i"), ("/i", "/i")])
  func bothWays(_ flags: (first: String, second: String)) throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("netmap:p{1\(flags.first)", engine: engine)
    let b = try NetmapPort("netmap:p}1\(flags.second)", engine: engine)
    #expect(a.memoryID != b.memoryID)
    for (from, to) in [(a, b), (b, a)] {
      for number in 0..<5000 {
        let packet = [UInt8(number & 255), UInt8(number >> 8)] + [UInt8](repeating: 7, count: 58)
        while (try? from.inject(packet)) == nil {
          #expect(try from.wait(for: .transmit, timeout: .seconds(5)) == .transmit)
          guard number % 100 == 0 else { continue }
        }
        if number % 500 == 499 {
          try from.sync(.transmit)
          let part = try collect(500, from: to)
          #expect(part.map { Int($0[0]) | Int($0[1]) << 8 } == Array(number - 499...number))
          #expect(part.allSatisfy { $0.count == 60 && $0[59] == 7 })
        }
      }
    }
    #expect(a.statistics.transmit.packets == 5000)
  }

  @Test("packets of several slots, and of any length up to a buffer, arrive whole")
  func fragments() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("netmap:p{1/i", engine: engine)
    let b = try NetmapPort("netmap:p}1", engine: engine)
    for length in [1, 63, 64, 65, 256, 257, 2047, 2048, 5000] {
      try a.inject((0..<length).map { UInt8($0 & 255) })
      try a.sync(.transmit)
      #expect(try collect(1, from: b) == [(0..<length).map { UInt8($0 & 255) }], "length \(length)")
    }
  }

  @Test("a port that is open exclusively is EBUSY, isolated or not")
  func exclusive() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("netmap:p{1/ix", engine: engine)
    for name in ["netmap:p{1", "netmap:p{1/i", "netmap:p{1/x"] {
      let error = #expect(throws: NetmapError.self) { try NetmapPort(name, engine: engine) }
      #expect(error?.code == .busy)
    }
    #expect(engine.ports.map(\.name) == ["p{1"])
    a.close()
  }

  @Test("other ports' memory, offsets and monitors are EINVAL for an isolated port")
  func refusals() throws {
    let engine = try EmbeddedEngine()
    let other = try NetmapPort("netmap:q{1", engine: engine)
    for name in [
      "netmap:p{1/i@\(other.memoryID)", "netmap:p{1/i@share=q{1", "netmap:p{1/i@offset:initial=64",
      "netmap:p{1/it",
    ] {
      let error = #expect(throws: NetmapError.self) { try NetmapPort(name, engine: engine) }
      #expect(error?.code == .invalidArgument, "\(name)")
      #expect(error?.remedy.isEmpty == false)
    }
  }

  @Test("packets sent before the close are delivered, and the names are free afterwards")
  func closing() throws {
    let engine = try EmbeddedEngine()
    for _ in 0..<200 {
      let b = try NetmapPort("netmap:p}1", engine: engine)
      let a = try NetmapPort("netmap:p{1/i", engine: engine)
      for number in 0..<100 { try a.inject([UInt8(number)]) }
      try a.sync(.transmit)
      a.close()
      #expect(try collect(100, from: b) == (0..<100).map { [UInt8($0)] })
    }
    let end = ContinuousClock.now + .seconds(10)
    while !engine.ports.isEmpty, ContinuousClock.now < end { usleep(5000) }
    #expect(engine.ports.isEmpty)
  }

  @Test("slots with an invalid index or length cost only their packets, and are counted")
  func badSlots() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("netmap:p{1/i", engine: engine)
    let b = try NetmapPort("netmap:p}1", engine: engine)
    let bad: [(index: UInt32, length: UInt16)] = [
      (0, 60), (1, 60), (.max, 60), (1 << 20, 60), (2, 2049), (2, .max),
    ]
    for slot in bad {
      unsafe a.spoil(slot.index, slot.length)
      try a.inject([9])
      try a.sync(.transmit)
      #expect(try collect(1, from: b) == [[9]], "\(slot)")
    }
    #expect(a.statistics.transmit.drops[.badBufferIndex] == 4)
    #expect(a.statistics.transmit.drops[.badLength] == 2)
  }

  @Test("bytes behind a packet in its buffer are not copied to an isolated port")
  func noLeak() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("netmap:p{1/i", engine: engine)
    let b = try NetmapPort("netmap:p}1", engine: engine)
    for length in [1, 33, 60, 100] {
      // Fill the next buffer of the ordinary end.
      let secret = unsafe b.transmitRing(0).unsafeRing
      let slot = unsafe secret.slot(secret.head)
      unsafe memset(secret.buffer(slot.pointee.bufferIndex), 0x77, 2048)
      try b.inject([UInt8](repeating: 1, count: length))
      let index = unsafe a.receiveRing(0).unsafeRing.head
      try b.sync(.transmit)
      #expect(try collect(1, from: a).map(\.count) == [length])
      let mine = unsafe a.receiveRing(0).unsafeRing
      let buffer = unsafe mine.buffer(mine.slot(index).pointee.bufferIndex)
      #expect(unsafe buffer.load(fromByteOffset: length, as: UInt8.self) == 0, "\(length)")
    }
  }

  @Test("an isolated process that overwrites its memory harms only itself")
  func hostile() throws {
    let engine = try EmbeddedEngine()
    let (a, b) = (
      try NetmapPort("netmap:g{1/i", engine: engine), try NetmapPort("netmap:g}1", engine: engine)
    )
    let seed = UInt64.random(in: 0..<1 << 32)
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    var number: UInt32 = 0
    for round in 0..<200 {
      let victim = try NetmapPort("netmap:h{1/i", engine: engine)
      let peer = try NetmapPort("netmap:h}1", engine: engine)
      try victim.inject([1])
      try victim.sync(.transmit)
      for _ in 0..<200 {
        let area = Int.random(in: 0..<2, using: &generator)
        let memory =
          area == 0 ? victim.mapped.segment.memory : victim.mapped.region
        let offset = Int.random(in: 0..<min(memory.byteCount, 1 << 16) / 4, using: &generator) * 4
        memory.store(
          UInt32.random(in: 0...UInt32.max, using: &generator)
            >> UInt32.random(in: 0...31, using: &generator), at: offset)
      }
      try? victim.sync(.transmit)
      _ = try? peer.wait(for: .receive, timeout: .milliseconds(2))
      for _ in 0..<10 {
        try a.inject([UInt8(number & 255)])
        number += 1
      }
      try a.sync(.transmit)
      let expected = (Int(number) - 10..<Int(number)).map { [UInt8($0 & 255)] }
      #expect(try collect(10, from: b) == expected, "round \(round), seed \(seed)")
    }
  }
}

extension NetmapPort {
  /// Appends a slot with the given index (2: its own) and length.
  @unsafe fileprivate func spoil(_ index: UInt32, _ length: UInt16) {
    var ring = transmitRing(0)
    let slot = unsafe ring.unsafeRing.slot(ring.unsafeRing.head)
    let kept = unsafe slot.pointee.bufferIndex
    _ = ring.append(length: 0)
    unsafe slot.pointee.bufferIndex = index == 2 ? kept : index
    unsafe slot.pointee.length = length
    unsafe slot.pointee.flags = .bufferChanged
  }
}
