import Glibc
import NetmapCore
import Testing

@Suite("Regions")
struct RegionTests {
  static func region(buffers: Int = 16, rings: Int = 4, interfaces: Int = 3) throws -> Region {
    let region = try Region(
      id: 7, isPrivate: true,
      RegionParameters(
        interfaceSize: 128, interfaceCount: interfaces, ringSize: 512, ringCount: rings,
        bufferSize: 256, bufferCount: buffers))
    region.retain()
    return region
  }

  @Test("buffers 0 and 1 are never allocated, and the lowest free index comes first")
  func reservedBuffers() throws {
    let region = try Self.region()
    #expect(try region.allocateBuffers(14) == Array(2..<16))
    #expect(region.ownership.state(0) == .reserved)
    #expect(region.ownership.state(1) == .reserved)
    #expect(!region.releaseBuffer(0))
    #expect(!region.releaseBuffer(1))
    #expect(region.freeCounts.buffers == 0)
  }

  @Test("a buffer is freed once; an invalid index is refused")
  func releaseBuffer() throws {
    let region = try Self.region()
    _ = try region.allocateBuffers(3)
    #expect(region.isBufferInUse(3))
    #expect(region.releaseBuffer(3))
    #expect(!region.isBufferInUse(3))
    #expect(!region.releaseBuffer(3))
    #expect(!region.releaseBuffer(16))
    #expect(!region.releaseBuffer(.max))
    #expect(try region.allocateBuffers(1) == [3])
  }

  @Test("a lent buffer is not freed")
  func lentBuffer() throws {
    let region = try Self.region()
    _ = try region.allocateBuffers(1)
    #expect(region.ownership.lend(2))
    #expect(!region.releaseBuffer(2))
    #expect(region.ownership.takeBack(2))
    #expect(region.releaseBuffer(2))
  }

  @Test(
    "too few buffers: none is allocated; ENOMEM has the missing number and the setting to raise")
  func buffersExhausted() throws {
    let region = try Self.region()
    _ = try region.allocateBuffers(10)
    let error = #expect(throws: NetmapError.self) { try region.allocateBuffers(9) }
    #expect(error?.code == .outOfMemory)
    #expect(error?.description.contains("memory region 7") == true)
    #expect(error?.description.contains("9 buffers") == true)
    #expect(error?.description.contains("5 are missing") == true)
    #expect(error?.remedy.isEmpty == false)
    #expect(region.freeCounts.buffers == 4)
    #expect(region.allocateBuffers(upTo: 9).count == 4)
  }

  @Test("when rings or interface objects run out, ENOMEM names the object")
  func objectsExhausted() throws {
    let region = try Self.region()
    for _ in 0..<4 { _ = try region.allocateRing(slotCount: 16) }
    let ring = #expect(throws: NetmapError.self) { try region.allocateRing(slotCount: 16) }
    #expect(ring?.code == .outOfMemory)
    #expect(ring?.description.contains("a ring") == true)
    for _ in 0..<3 { _ = try region.allocateInterface(ringCount: 4) }
    let interface = #expect(throws: NetmapError.self) { try region.allocateInterface(ringCount: 4) }
    #expect(interface?.code == .outOfMemory)
    #expect(interface?.description.contains("a netmap_if") == true)
  }

  @Test("an object larger than its pool's objects is ENOMEM, and none is allocated")
  func objectTooLarge() throws {
    let region = try Self.region()
    // 512 bytes are requested, but a ring has a page: a header of 256 bytes and 240 slots.
    _ = try region.allocateRing(slotCount: 240)
    let ring = #expect(throws: NetmapError.self) { try region.allocateRing(slotCount: 241) }
    #expect(ring?.code == .outOfMemory)
    #expect(ring?.description.contains("241 slots") == true)
    _ = try region.allocateInterface(ringCount: 9)
    let interface = #expect(throws: NetmapError.self) {
      try region.allocateInterface(ringCount: 10)
    }
    #expect(interface?.code == .outOfMemory)
    #expect(region.freeCounts == (interfaces: 2, rings: 3, buffers: 14))
  }

  @Test("for the shared region, the message names the setting to raise")
  func settingNamed() throws {
    let region = try Region(
      id: 1, isPrivate: false,
      RegionParameters(interfaceCount: 10, ringSize: 512, ringCount: 2, bufferCount: 4))
    let buffers = #expect(throws: NetmapError.self) { try region.allocateBuffers(3) }
    #expect(buffers?.remedy.contains("buf_num") == true)
    let size = #expect(throws: NetmapError.self) { try region.allocateRing(slotCount: 1000) }
    #expect(size?.remedy.contains("ring_size") == true)
    for _ in 0..<2 { _ = try region.allocateRing(slotCount: 1) }
    let rings = #expect(throws: NetmapError.self) { try region.allocateRing(slotCount: 1) }
    #expect(rings?.remedy.contains("ring_num") == true)
  }

  @Test("a reused interface object is zeroed")
  func interfaceCleared() throws {
    let region = try Self.region()
    let offset = try region.allocateInterface(ringCount: 4)
    for byte in 0..<128 { region.memory.store(UInt8.max, at: offset + byte) }
    region.releaseInterface(at: offset)
    #expect(try region.allocateInterface(ringCount: 4) == offset)
    #expect((0..<128).allSatisfy { region.memory.load(at: offset + $0, as: UInt8.self) == 0 })
  }

  @Test("when the last user has released the region, lost objects are free again")
  func resetWhenIdle() throws {
    let region = try Self.region()
    region.retain()
    _ = try region.allocateBuffers(5)
    _ = try region.allocateRing(slotCount: 4)
    _ = try region.allocateInterface(ringCount: 4)
    #expect(region.ownership.lend(3))
    region.release()
    #expect(region.freeCounts == (interfaces: 2, rings: 3, buffers: 9))
    region.release()
    #expect(region.freeCounts == (interfaces: 3, rings: 4, buffers: 14))
    for index: UInt32 in 2..<16 { #expect(region.ownership.state(index) == .free) }
    #expect(region.ownership.state(0) == .reserved)
    region.retain()
    #expect(try region.allocateBuffers(2) == [2, 3])
  }
}
