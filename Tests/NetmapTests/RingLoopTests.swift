import Netmap
import Testing

@Suite("Packets and the loops over them")
struct RingLoopTests {
  private static let long = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

  @Test(
    "a packet that spans slots is one packet, with all its bytes",
    arguments: ["", "@offset:initial=64"])
  func spanning(_ options: String) throws {
    let pipe = try PipeFixture(options)
    try pipe.a.inject([1, 2, 3])
    try pipe.a.inject(Self.long)
    try pipe.a.inject([4])
    try pipe.a.sync(.transmit)
    try pipe.b.sync(.receive)
    var ring = pipe.b.receiveRing(0)
    let slots = ring.count
    #expect(slots == 5)
    var packets: [[UInt8]] = []
    var fragments: [Int] = []
    while let packet = ring.next() {
      let (isComplete, length) = (packet.isComplete, packet.length)
      #expect(isComplete && length == [3, 5000, 1][packets.count])
      packets.append([UInt8](packet))
      fragments.append(packet.fragmentCount)
    }
    #expect(packets == [[1, 2, 3], Self.long, [4]])
    #expect(fragments == [1, 3, 1])
    let isEmpty = ring.isEmpty
    #expect(isEmpty)
  }

  @Test("copy(into:) copies all fragments, and no more than the target holds")
  func copying() throws {
    let pipe = try PipeFixture()
    try pipe.a.inject(Self.long)
    try pipe.a.sync(.transmit)
    try pipe.b.sync(.receive)
    for size in [0, 1, 2047, 2048, 2049, 5000, 6000] {
      var ring = pipe.b.receiveRing(0)
      ring.take(upTo: 1) { packet in
        var target = [UInt8](repeating: 0xee, count: size)
        var elements = target.mutableSpan
        var span = unsafe elements.mutableBytes
        let copied = packet.copy(into: &span)
        #expect(copied == min(size, 5000))
        #expect(target.prefix(copied) == Self.long.prefix(copied))
        #expect(target.dropFirst(copied).allSatisfy { $0 == 0xee })
        return false
      }
    }
  }

  /// Sets `.moreFragments` in the first slots of a receive ring, as a peer that has not sent the end of a packet does.
  private func continuePackets(_ port: NetmapPort, _ count: UInt32) {
    let ring = unsafe port.receiveRing(0).unsafeRing
    for index in 0..<count { unsafe ring.place(index).store(flags: .moreFragments) }
  }

  @Test("a packet whose end has not arrived stays in the ring, and a wait sleeps until it arrives")
  func unfinished() throws {
    let pipe = try PipeFixture()
    try pipe.a.inject([1, 2])
    try pipe.a.sync(.transmit)
    try pipe.b.sync(.receive)
    continuePackets(pipe.b, 1)
    for isLoop in [false, true] {
      do {
        var ring = pipe.b.receiveRing(0)
        let found = isLoop ? ring.forEach { _ in } : ring.next() == nil ? 0 : 1
        let left = ring.count
        #expect(found == 0 && left == 1)
      }
      #expect(try pipe.b.wait(for: .receive, timeout: .milliseconds(20)) == [])
    }
    try pipe.a.inject([3])
    try pipe.a.sync(.transmit)
    #expect(try pipe.b.wait(for: .receive, timeout: .seconds(5)) == .receive)
    #expect(try pipe.b.takeAll() == [[1, 2, 3]])
  }

  @Test("a packet that fills the ring is handed over although its end is missing")
  func endless() throws {
    let pipe = try PipeFixture("@conf:slots=8")
    for number in 0..<7 as Range<UInt8> { try pipe.a.inject([number]) }
    try pipe.a.sync(.transmit)
    try pipe.b.sync(.receive)
    continuePackets(pipe.b, 7)
    var ring = pipe.b.receiveRing(0)
    var whole: [UInt8]?
    while let packet = ring.next() {
      let (isComplete, count) = (packet.isComplete, packet.fragmentCount)
      #expect(!isComplete && count == 7)
      whole = [UInt8](packet)
    }
    #expect(whole == [0, 1, 2, 3, 4, 5, 6])
  }

  @Test("nextSlot and forEachSlot hand over fragments one by one")
  func slots() throws {
    let pipe = try PipeFixture()
    for isLoop in [false, true] {
      try pipe.a.inject(Self.long)
      try pipe.a.sync(.transmit)
      try pipe.b.sync(.receive)
      var ring = pipe.b.receiveRing(0)
      var lengths: [Int] = []
      var ends: [Bool] = []
      if isLoop {
        ring.forEachSlot {
          lengths.append($0.length)
          ends.append($0.isComplete)
        }
      } else {
        while let slot = ring.nextSlot() {
          lengths.append(slot.length)
          ends.append(slot.isComplete)
        }
      }
      #expect(lengths == [2048, 2048, 904])
      #expect(ends == [false, false, true])
    }
  }

  private struct Stop: Error {}

  /// Puts the packets 0, 1, ... 9 into the receive ring of `pipe.b`.
  private func fill(_ pipe: PipeFixture) throws {
    for number in 0..<10 as Range<UInt8> { try pipe.a.inject([number]) }
    try pipe.a.sync(.transmit)
    try pipe.b.sync(.receive)
  }

  @Test(
    "a loop whose body throws has taken the packet it threw at",
    arguments: ["", "@offset:initial=64"])
  func throwing(_ options: String) throws {
    let pipe = try PipeFixture(options)
    for bySlot in [false, true] {
      try fill(pipe)
      var seen: [UInt8] = []
      func look(_ packet: borrowing Packet) throws(Stop) {
        seen.append(packet.bytes[0])
        if packet.bytes[0] == 3 { throw Stop() }
      }
      var ring = pipe.b.receiveRing(0)
      var hasThrown = false
      do throws(Stop) {
        if bySlot { try ring.forEachSlot(look) } else { try ring.forEach(look) }
      } catch {
        hasThrown = true
      }
      #expect(hasThrown && seen == [0, 1, 2, 3])
      let left = ring.count
      #expect(left == 6)
      // The ring in memory agrees with the view.
      #expect(try pipe.b.takeAll().map { $0[0] } == [4, 5, 6, 7, 8, 9])
    }
  }

  @Test("take(while:) leaves the packet that its body refuses, and honours its limit")
  func taking() throws {
    let pipe = try PipeFixture()
    try fill(pipe)
    var ring = pipe.b.receiveRing(0)
    let first = ring.take { $0.bytes[0] < 4 }
    let limited = ring.take(upTo: 2) { _ in true }
    var stopped = 0
    do throws(Stop) {
      try ring.take { (packet) throws(Stop) in
        guard packet.bytes[0] < 8 else { throw Stop() }
        stopped += 1
        return true
      }
    } catch {}
    #expect(first == 4 && limited == 2 && stopped == 2)
    #expect(try pipe.b.takeAll().map { $0[0] } == [8, 9])
  }

  @Test("inject says why a packet is not queued")
  func refusals() throws {
    let pipe = try PipeFixture("@conf:slots=8")
    func code(_ body: () throws -> Void) -> NetmapError.Code? {
      (#expect(throws: NetmapError.self) { try body() })?.code
    }
    #expect(code { try pipe.a.inject([]) } == .invalidArgument)
    #expect(
      code { try pipe.a.inject([UInt8](repeating: 1, count: 7 * 2048 + 1)) } == .messageTooLong)
    try pipe.a.inject([UInt8](repeating: 1, count: 6 * 2048 + 1))
    #expect(code { try pipe.a.inject([1]) } == .tryAgain)
    try pipe.a.sync(.transmit)
    #expect(try pipe.b.takeAll().map(\.count) == [6 * 2048 + 1])
    // Returns the slots.
    try pipe.b.sync(.receive)
    #expect(try pipe.a.wait(for: .transmit, timeout: .seconds(5)) == .transmit)
    try pipe.a.inject([1])
  }
}
