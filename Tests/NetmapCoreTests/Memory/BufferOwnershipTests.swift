import Glibc
import NetmapCore
import Testing

@Suite("Buffer ownership")
struct BufferOwnershipTests {
  @Test("a buffer is lent once and taken back once")
  func lendAndTakeBack() throws {
    let region = try RegionTests.region()
    _ = try region.allocateBuffers(2)
    let ownership = region.ownership
    #expect(ownership.state(2) == .user)
    #expect(ownership.lend(2))
    #expect(ownership.state(2) == .lent)
    #expect(!ownership.lend(2), "only the first of two slots with the same buffer lends it")
    #expect(ownership.takeBack(2))
    #expect(!ownership.takeBack(2))
    #expect(ownership.state(2) == .user)
    #expect(ownership.lend(2))
  }

  @Test("free buffers, reserved buffers and invalid indexes cannot be lent")
  func refused() throws {
    let region = try RegionTests.region()
    _ = try region.allocateBuffers(1)
    for index: UInt32 in [0, 1, 3, 15, 16, .max] {
      #expect(!region.ownership.lend(index))
      #expect(!region.ownership.takeBack(index))
    }
    #expect(region.ownership.state(3) == .free)
    #expect(region.ownership.state(16) == .reserved)
    #expect(region.ownership.state(.max) == .reserved)
  }

  @Test("when several threads lend the same buffer, exactly one succeeds")
  func concurrentLend() async throws {
    let region = try RegionTests.region()
    _ = try region.allocateBuffers(8)
    let ownership = region.ownership
    for index: UInt32 in 2..<10 {
      let won = await withTaskGroup(of: Bool.self) { group in
        for _ in 0..<4 { group.addTask { ownership.lend(index) } }
        return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(won == 1)
    }
  }
}
