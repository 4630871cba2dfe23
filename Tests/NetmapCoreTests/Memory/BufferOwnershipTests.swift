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

  @Test("a buffer has one sender that takes it back, and one writer, in any order")
  func sentAndReceived() throws {
    let region = try RegionTests.region()
    _ = try region.allocateBuffers(2)
    let ownership = region.ownership
    for senderIsFirst in [true, false] {
      #expect(ownership.lendToSend(2))
      #expect(ownership.state(2) == .sent && ownership.isLent(2))
      #expect(!ownership.lendToSend(2))
      #expect(!ownership.lend(2))
      #expect(ownership.hasNoWriter(2))
      #expect(ownership.lendToReceive(2))
      #expect(ownership.state(2) == .sentAndLent && !ownership.hasNoWriter(2))
      #expect(!ownership.lendToReceive(2))
      // The pool takes it only when neither has it.
      #expect(!region.releaseBuffer(2))
      if senderIsFirst {
        #expect(ownership.takeBackSent(2))
        #expect(ownership.state(2) == .lent)
        #expect(!region.releaseBuffer(2))
        #expect(ownership.takeBack(2))
      } else {
        #expect(ownership.takeBack(2))
        #expect(ownership.state(2) == .sent)
        #expect(!region.releaseBuffer(2))
        #expect(ownership.takeBackSent(2))
      }
      #expect(ownership.state(2) == .user)
      #expect(!ownership.takeBackSent(2) && !ownership.takeBack(2))
    }
    for index: UInt32 in [0, 1, 4, 16, .max] {
      #expect(!ownership.lendToSend(index) && !ownership.lendToReceive(index))
      #expect(!ownership.takeBackSent(index) && !ownership.mayRead(index))
    }
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
