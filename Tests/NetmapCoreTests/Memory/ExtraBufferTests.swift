import Glibc
import NetmapCore
import Synchronization
import Testing

@Suite("Extra buffers")
struct ExtraBufferTests {
  /// The list from `head` on, at most `limit` entries.
  static func list(_ region: Region, _ head: UInt32, limit: Int = 100) -> [UInt32] {
    var result: [UInt32] = []
    var index = head
    while index >= 2, index < region.layout.buffers.count, result.count < limit {
      result.append(index)
      index = region.memory.load(at: region.offset(ofBuffer: index), as: UInt32.self)
    }
    return result
  }

  static func setNext(_ region: Region, _ index: UInt32, _ next: UInt32) {
    region.memory.store(next, at: region.offset(ofBuffer: index))
  }

  @Test("the head is the last buffer allocated, each buffer names the next, 0 ends the list")
  func given() throws {
    let region = try RegionTests.region()
    let extra = region.makeExtraBuffers(4)
    #expect(extra.head == 5)
    #expect(extra.count == 4)
    #expect(Self.list(region, extra.head) == [5, 4, 3, 2])
    #expect(region.memory.load(at: region.offset(ofBuffer: 2), as: UInt32.self) == 0)
  }

  @Test("fewer buffers than requested, or none, is no error")
  func shortened() throws {
    let region = try RegionTests.region()
    let most = region.makeExtraBuffers(100)
    #expect(most.count == 14)
    #expect(Self.list(region, most.head).count == 14)
    #expect(region.makeExtraBuffers(5) == (head: 0, count: 0))
    let other = try RegionTests.region()
    #expect(other.makeExtraBuffers(0) == (head: 0, count: 0))
    #expect(other.freeCounts.buffers == 14)
  }

  @Test("an unchanged list is freed whole")
  func returned() throws {
    let region = try RegionTests.region()
    let extra = region.makeExtraBuffers(4)
    #expect(region.releaseExtraBuffers(head: extra.head) == 4)
    #expect(region.freeCounts.buffers == 14)
    #expect(region.releaseExtraBuffers(head: extra.head) == 0, "the buffers are already free")
  }

  @Test("a list that the application built is freed")
  func rebuilt() throws {
    let region = try RegionTests.region()
    let ring = try region.allocateBuffers(3)
    let extra = region.makeExtraBuffers(2)
    // The application put 5 and 6 in its ring and chained the ring's buffers instead.
    #expect(Self.list(region, extra.head) == [6, 5])
    Self.setNext(region, ring[2], ring[0])
    Self.setNext(region, ring[0], ring[1])
    Self.setNext(region, ring[1], 0)
    #expect(region.releaseExtraBuffers(head: ring[2]) == 3)
    #expect(region.isBufferInUse(5))
    #expect(region.isBufferInUse(6))
  }

  @Test("a circular list ends where it repeats")
  func circular() throws {
    let region = try RegionTests.region()
    let extra = region.makeExtraBuffers(3)
    Self.setNext(region, 2, extra.head)
    #expect(region.releaseExtraBuffers(head: extra.head) == 3)
    let one = try RegionTests.region()
    let single = one.makeExtraBuffers(1)
    Self.setNext(one, single.head, single.head)
    #expect(one.releaseExtraBuffers(head: single.head) == 1)
  }

  @Test("freeing a circular list ends while another thread rewrites owner bytes")
  func circularRewritten() throws {
    let interfaces = FakeInterfaces.probed()
    let engine = try Engine(interfaces: interfaces)
    let probe = try RegionProbe(engine, interfaces)
    let region = probe.region
    let port = try TestPort(engine, "fake0{1", hints: .slots(4), extraBuffers: 64)
    let (ownership, id) = (region.ownership, port.registration.id)
    let list = Self.list(region, port.interface.extraBuffersHead)
    Self.setNext(region, try #require(list.last), try #require(list.first))
    let isDone = Atomic(false)
    let writer = BackgroundThread {
      while !isDone.load(ordering: .relaxed) {
        for index in list { ownership.set(index, .user) }
      }
    }
    let hasReturned = Atomic(false)
    let closer = BackgroundThread {
      engine.release(id, keepsViews: true)
      hasReturned.store(true, ordering: .releasing)
    }
    #expect(eventually { hasReturned.load(ordering: .acquiring) })
    isDone.store(true, ordering: .relaxed)
    writer.join()
    closer.join()
    #expect(Set(region.quarantined.buffers).count == region.quarantined.buffers.count)
    engine.forget(id)
    #expect(region.quarantined.buffers.isEmpty)
    #expect(engine.check().findings.isEmpty)
  }

  @Test("a list ends at an invalid index", arguments: [1, 16, 17, .max] as [UInt32])
  func outOfRange(next: UInt32) throws {
    let region = try RegionTests.region()
    let extra = region.makeExtraBuffers(3)
    Self.setNext(region, extra.head, next)
    #expect(region.releaseExtraBuffers(head: extra.head) == 1)
    #expect(region.releaseExtraBuffers(head: next) == 0)
  }

  @Test("only the buffers left in a shortened list are freed")
  func cut() throws {
    let region = try RegionTests.region()
    let extra = region.makeExtraBuffers(4)
    Self.setNext(region, 4, 0)
    #expect(region.releaseExtraBuffers(head: extra.head) == 2)
    #expect(region.freeCounts.buffers == 12)
  }
}
