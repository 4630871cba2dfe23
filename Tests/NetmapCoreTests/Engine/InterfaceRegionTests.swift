import NetmapCore
import Testing

@Suite("Interfaces: regions")
struct InterfaceRegionTests {
  let interfaces = FakeInterfaces(["fake0": .pairs(2), "fake1": .pairs(1)])
  let engine: Engine

  init() throws {
    engine = try Engine(interfaces: interfaces)
  }

  @Test("interfaces share region 1")
  func shared() throws {
    let first = try TestPort(engine, "fake0")
    let second = try TestPort(engine, "fake1")
    #expect(first.registration.memoryID == 1)
    #expect(second.registration.memoryID == 1)
    #expect(Set(first.tx().bufferIndexes).isDisjoint(with: second.tx().bufferIndexes))
  }

  @Test("an idle interface moves to the requested region, and back when its last binding closes")
  func switched() throws {
    let pipe = try TestPort(engine, "a{1", hints: .slots(4))
    let id = pipe.registration.memoryID
    #expect(try TestPort(engine, "fake0").registration.memoryID == 1)
    let moved = try TestPort(engine, "fake0", memoryID: id)
    #expect(moved.registration.memoryID == id)
    #expect(moved.registration.memorySize == pipe.registration.memorySize)
    // The interface is bound: the engine ignores another number, without an error.
    let beside = try TestPort(engine, "fake0", memoryID: 1)
    #expect(beside.registration.memoryID == id)
    moved.tx(0).send([1, 2])
    #expect(beside.rx(0).receive() == [1, 2])
    moved.close()
    #expect(try TestPort(engine, "fake0").registration.memoryID == id)
    beside.close()
    #expect(try TestPort(engine, "fake0").registration.memoryID == 1)
  }

  @Test("an interface also moves back while a pipe of it is open")
  func switchedWithPipe() throws {
    let other = try TestPort(engine, "a{1", hints: .slots(4))
    let id = other.registration.memoryID
    let first = try TestPort(engine, "fake0", memoryID: id)
    let pipe = try TestPort(engine, "fake0{1")
    #expect(pipe.registration.memoryID == id)
    let second = try TestPort(engine, "fake0")
    first.close()
    second.close()
    #expect(try TestPort(engine, "fake0").registration.memoryID == 1)
  }

  @Test("a region lives as long as any port uses it")
  func regionLifetime() throws {
    let pipe = try TestPort(engine, "a{1", hints: .slots(4))
    let id = pipe.registration.memoryID
    let guest = try TestPort(engine, "fake0", memoryID: id)
    pipe.close()
    guest.tx().send([1])
    #expect(guest.rx().receive() == [1])
    let late = try TestPort(engine, "b{1", memoryID: id)
    #expect(late.registration.memoryID == id)
    guest.close()
    late.close()
    #expect(throws: NetmapError.self) { try TestPort(engine, "b{1", memoryID: id) }
  }

  @Test("region numbers increase and are not reused at once")
  func numbers() throws {
    var last: UInt16 = 1
    for _ in 0..<5 {
      let port = try TestPort(engine, "a{1", hints: .slots(2))
      #expect(port.registration.memoryID > last)
      last = port.registration.memoryID
      port.close()
    }
  }

  @Test("buffers that an application lost come back when the region is idle")
  func leaked() throws {
    let first = try TestPort(engine, "fake0", extraBuffers: 10)
    let region = try #require(interfaces["fake0"].region)
    first.interface.extraBuffersHead = 0
    first.tx()[0].bufferIndex = 0
    let beside = try TestPort(engine, "fake1")
    first.close()
    let inUse = region.layout.buffers.count - 2 - region.freeCounts.buffers
    #expect(inUse == 16 + 11, "two rings of eight, and the lost ones")
    beside.close()
    #expect(region.freeCounts.buffers == region.layout.buffers.count - 2)
    #expect(region.freeCounts.rings == region.layout.rings.count)
  }

  @Test("rings are made at their first bind, and freed with the last binding of their pair")
  func ringLifetime() throws {
    let keeper = try TestPort(engine, "fake1", flags: [.transmitOnly, .receiveOnly])
    let all = try TestPort(engine, "fake0")
    let region = try #require(interfaces["fake0"].region)
    let one = try TestPort(engine, "fake0", .oneHardware(1), flags: .transmitOnly)
    all.tx(1).send([1])
    #expect(region.freeCounts.rings == region.layout.rings.count - 4)
    all.close()
    #expect(region.freeCounts.rings == region.layout.rings.count - 2)
    #expect(one.tx().head == 1, "the shared ring goes on")
    let again = try TestPort(engine, "fake0")
    #expect(again.tx(1).head == 1)
    #expect(again.tx(0).head == 0)
    one.close()
    again.close()
    #expect(region.freeCounts.rings == region.layout.rings.count)
    #expect(region.freeCounts.buffers == region.layout.buffers.count - 2)
    _ = keeper
  }
}
