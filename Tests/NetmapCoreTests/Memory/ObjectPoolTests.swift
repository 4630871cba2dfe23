import NetmapCore
import NetmapTestSupport
import Testing

@Suite("Object pools")
struct ObjectPoolTests {
  @Test("the lowest free object is allocated first", arguments: [1, 5, 63, 64, 65, 130])
  func lowestFirst(count: Int) {
    var pool = ObjectPool(count: count)
    for expected in 0..<count { #expect(pool.allocate() == expected) }
    #expect(pool.allocate() == nil)
    #expect(pool.freeCount == 0)
    for index in stride(from: count - 1, through: 0, by: -2) { pool.release(index) }
    let expected = Array(stride(from: count - 1, through: 0, by: -2)).sorted()
    #expect((0..<expected.count).map { _ in pool.allocate() } == expected)
  }

  @Test("freeing an object twice, or an invalid index, is refused and changes nothing")
  func doubleFree() {
    var pool = ObjectPool(count: 70)
    for _ in 0..<70 { _ = pool.allocate() }
    #expect(pool.release(66) == true)
    #expect(pool.release(66) == false)
    for bad in [-1, 70, 71, Int.max, Int.min] { #expect(pool.release(bad) == false) }
    #expect(pool.freeCount == 1)
    #expect(pool.allocate() == 66)
    #expect(pool.allocate() == nil)
  }

  @Test("reserved objects are never allocated and never freed")
  func reserved() {
    var pool = ObjectPool(count: 10, reserved: 2)
    #expect(pool.freeCount == 8)
    #expect(pool.allocate() == 2)
    #expect(!pool.isFree(0))
    #expect(!pool.isFree(1))
    #expect(ObjectPool(count: 2, reserved: 5).freeCount == 0)
  }

  @Test("a pool without objects allocates nothing")
  func empty() {
    var pool = ObjectPool(count: 0)
    #expect(pool.allocate() == nil)
    #expect(pool.release(0) == false)
  }

  @Test("random operations agree with a set", arguments: [1, 2, 3] as [UInt64])
  func againstSet(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let count = Int.random(in: 1...200, using: &generator)
    var pool = ObjectPool(count: count)
    var free = Set(0..<count)
    for _ in 0..<2000 {
      if generator.chance(50) {
        let expected = free.min()
        #expect(pool.allocate() == expected, "seed \(seed)")
        if let expected { free.remove(expected) }
      } else {
        let index = Int.random(in: -1...count, using: &generator)
        let wasTaken = (0..<count).contains(index) && !free.contains(index)
        #expect(pool.release(index) == wasTaken, "seed \(seed)")
        if wasTaken { free.insert(index) }
      }
      #expect(pool.freeCount == free.count, "seed \(seed)")
    }
  }
}
