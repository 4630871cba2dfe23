import Netmap
import NetmapCore
import NetmapLinux
import NetmapTestSupport
import Testing

/// Frames and completions of an XDP socket in any order, over rings that the test fills in place of the kernel.
@Suite("The order of XDP frames")
struct XDPOrderTests {
  /// A port, whose ring has 64 slots, on socket rings of the test.
  private struct Fixture {
    let backend = FakeSocketRings()
    let engine: Engine
    let port: RawPort

    init() throws {
      engine = try Engine(interfaces: FakeInterfaces(backend: backend))
      port = try RawPort(engine, "fake")
    }

    /// The buffers of a ring's slots.
    func buffers(_ ring: Ring) -> [UInt32] {
      (unsafe 0..<ring.slotCount).map { unsafe ring.load($0).bufferIndex }
    }

    func releaseAll() {
      let ring = unsafe port.receive
      unsafe ring.cur = ring.tail
      unsafe ring.head = ring.cur
    }
  }

  @Test("a frame in another buffer than the slot's sets NS_BUF_CHANGED, and no other frame does")
  func otherBuffer() throws {
    let fixture = try Fixture()
    let ring = unsafe fixture.port.receive
    let before = unsafe fixture.buffers(ring)
    fixture.backend.deliver(in: [0, 1, 4, 2, 3, 5])
    fixture.port.sync(.receive)
    #expect(unsafe ring.tail == 6)
    let shown = (0..<6).map { unsafe ring.load($0) }
    #expect(shown.map(\.bufferIndex) == [0, 1, 4, 2, 3, 5].map { before[$0] })
    #expect(
      shown.map { $0.flags.contains(.bufferChanged) } == [false, false, true, true, true, false])
    // From now on the slots have these buffers.
    let after = unsafe fixture.buffers(ring)
    for _ in 0..<5 {
      fixture.releaseAll()
      fixture.port.sync(.receive)
      fixture.backend.deliver(in: Array(0..<32))
      fixture.port.sync(.receive)
      for slot: UInt32 in 0..<64 {
        let now = unsafe ring.load(slot)
        #expect(now.bufferIndex == after[Int(slot)])
      }
      var changed = 0
      let (head, tail) = unsafe (ring.head, ring.tail)
      var index = head
      while index != tail {
        if unsafe ring.load(index).flags.contains(.bufferChanged) { changed += 1 }
        index = unsafe ring.next(index)
      }
      #expect(changed == 0)
    }
    #expect(fixture.engine.check().findings.isEmpty)
  }

  @Test("frames in any order leave each buffer in one slot, and tell a program that remembers them")
  func anyOrder() throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 1...99_999)
    var generator = SeededGenerator(seed: seed)
    let fixture = try Fixture()
    let ring = unsafe fixture.port.receive
    var known = unsafe fixture.buffers(ring)
    let all = Set(known)
    for _ in 0..<200 {
      let count = Int.random(in: 1...40, using: &generator)
      fixture.backend.deliver(in: Array(0..<count).shuffled(using: &generator))
      fixture.port.sync(.receive)
      while unsafe (ring.head != ring.tail) {
        let (index, slot) = unsafe (ring.head, ring.load(ring.head))
        if slot.flags.contains(.bufferChanged) { known[Int(index)] = slot.bufferIndex }
        try #require(known[Int(index)] == slot.bufferIndex, "seed \(seed)")
        unsafe ring.cur = ring.next(index)
        unsafe ring.head = ring.cur
      }
      fixture.port.sync(.receive)
    }
    #expect(Set(unsafe fixture.buffers(ring)).isSubset(of: all))
  }

  @Test("completions in any order, of buffers that are named several times, give every slot back")
  func completions() throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 1...99_999)
    var generator = SeededGenerator(seed: seed)
    let fixture = try Fixture()
    let ring = unsafe fixture.port.transmit
    let own = unsafe fixture.buffers(ring)
    for round in 0..<300 {
      let count = Int.random(in: 1...60, using: &generator)
      var named: [UInt32: Int] = [:]
      for _ in 0..<count {
        let buffer = own[Int.random(in: 0..<8, using: &generator)]
        named[buffer, default: 0] += 1
        unsafe ring.place(ring.head).store(Slot(bufferIndex: buffer, length: 60))
        unsafe ring.cur = ring.next(ring.head)
        unsafe ring.head = ring.cur
      }
      fixture.port.sync(.transmit)
      var waiting = fixture.backend.takeSent().shuffled(using: &generator)
      try #require(waiting.count == count, "seed \(seed), round \(round)")
      while !waiting.isEmpty {
        let part = Int.random(in: 1...waiting.count, using: &generator)
        fixture.backend.complete(Array(waiting.prefix(part)))
        waiting.removeFirst(part)
        fixture.port.sync(.transmit)
        // A sync that is killed after it has recorded them all, but before it says so to the kernel.
        if Bool.random(using: &generator) {
          fixture.backend.killReclaim(of: UInt32(part))
          fixture.port.sync(.transmit)
        }
        let free = unsafe ring.distance(from: ring.head, to: ring.tail)
        try #require(waiting.isEmpty == (free == 63), "seed \(seed), round \(round)")
      }
      #expect(named.values.reduce(0, +) == count)
    }
    for slot in unsafe 0..<ring.slotCount {
      unsafe ring.place(slot).store(bufferIndex: own[Int(slot)])
    }
    #expect(fixture.port.counters(.transmit).drops.total == 0)
    // No buffer is still lent.
    #expect(fixture.engine.check().findings.isEmpty)
  }
}
