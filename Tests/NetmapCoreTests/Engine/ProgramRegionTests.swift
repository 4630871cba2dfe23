import NetmapCore
import Testing

@Suite("Memory of a program: regions")
struct ProgramRegionTests {
  let engine: Engine

  init() throws {
    engine = try Engine(interfaces: FakeInterfaces(["fake0": .pairs(1)]))
  }

  static func memory(_ file: UInt64?, megabytes: Int = 16, offset: UInt64 = 0) -> ProgramMemory {
    var objects = ProgramMemory.defaults
    objects.ringCount = 16
    objects.interfaceCount = 8
    return ProgramMemory(
      byteCount: megabytes << 20, objects: objects,
      origin: file.map { .init(device: 1, file: $0, birth: 0, offset: offset) })
  }

  @Test("processes that name the same pages share a region; other pages are other regions")
  func sharing() throws {
    let first = try TestPort(engine, "vale0:a", memory: Self.memory(7))
    var other = Self.memory(7)
    // Whoever comes later gets the objects that are there.
    other.objects.ringSize = 7
    let second = try TestPort(engine, "vale0:b", memory: other)
    #expect(first.registration.memoryID == second.registration.memoryID)
    #expect(first.registration.memorySize == 16 << 20)
    for memory in [
      Self.memory(8), Self.memory(nil), Self.memory(nil), Self.memory(7, megabytes: 17),
      Self.memory(7, offset: 4096),
    ] {
      let port = try TestPort(engine, "vale0:c", memory: memory)
      #expect(port.registration.memoryID != first.registration.memoryID)
    }
    first.tx().send([1, 2])
    #expect(second.rx().receive() == [1, 2])
    #expect(engine.check().findings.isEmpty)
  }

  @Test("the region's own memory leads to the region as well: the same addresses again")
  func again() throws {
    let first = try TestPort(engine, "vale0:a", memory: Self.memory(nil))
    let identity = first.registration.region.identity
    var again = Self.memory(nil)
    again.origin = .init(device: identity.device, file: identity.file, birth: 0, offset: 0)
    let second = try TestPort(engine, "vale0:b", memory: again)
    #expect(first.registration.memoryID == second.registration.memoryID)
    let id = first.registration.memoryID
    first.close()
    #expect(try TestPort(engine, "vale0:a", memory: again).registration.memoryID == id)
    second.close()
    // The region has gone with its last port, and the pages are those of no region.
    #expect(try TestPort(engine, "vale0:a", memory: again).registration.memoryID != id)
  }

  @Test("the region goes with its last port, also when the attempt fails, and pipes keep it")
  func life() throws {
    let port = try TestPort(engine, "vale0:a", memory: Self.memory(7))
    let id = port.registration.memoryID
    let pipe = try TestPort(engine, "vale0:a{1")
    #expect(pipe.registration.memoryID == id)
    port.close()
    #expect(try engine.portInfo(nil, memoryID: id).memorySize == 16 << 20)
    pipe.close()
    #expect(throws: NetmapError.self) { try engine.portInfo(nil, memoryID: id) }
    var small = Self.memory(9)
    small.objects.ringSize = 256
    let error = #expect(throws: NetmapError.self) {
      try TestPort(engine, "vale0:a", memory: small)
    }
    #expect(error?.code == .outOfMemory)
    #expect(error?.remedy.contains("more or larger objects") == true)
    #expect(throws: NetmapError.self) { try engine.portInfo(nil, memoryID: id &+ 1) }
    // The failed attempt has left nothing behind that a later one would find.
    #expect(throws: Never.self) { try TestPort(engine, "vale0:a", memory: Self.memory(9)) }
  }

  @Test("a port that is in another region is EBUSY, and so is a monitor")
  func elsewhere() throws {
    let port = try TestPort(engine, "vale0:a")
    for flags in [BindingFlags.monitorTransmit, []] {
      let error = #expect(throws: NetmapError.self) {
        try TestPort(engine, "vale0:a", flags: flags, memory: Self.memory(7))
      }
      #expect(error?.code == .busy)
    }
    #expect(port.registration.memoryID > 1)
    let interface = try TestPort(engine, "fake0")
    let error = #expect(throws: NetmapError.self) {
      try TestPort(engine, "fake0", memory: Self.memory(7))
    }
    #expect(error?.code == .busy)
    interface.close()
    let moved = try TestPort(engine, "fake0", memory: Self.memory(7))
    #expect(moved.registration.memoryID > 1)
    moved.tx().send([3])
    #expect(moved.rx().receive() == [3])
    moved.close()
    #expect(try TestPort(engine, "fake0").registration.memoryID == 1)
    #expect(engine.check().findings.isEmpty)
  }

  @Test("a dump has the exact sizes of a region in a program's memory")
  func dump() throws {
    var memory = Self.memory(7)
    memory.objects.ringSize = 20_480 + 128
    memory.objects.bufferSize = 2048 + 64
    memory.objects.interfaceSize = 1024 + 8
    let port = try TestPort(engine, "vale0:a", memory: memory, extraBuffers: 3)
    port.tx().send([1, 2])
    let dump = try EngineDump(engine.dump().bytes)
    #expect(dump.regions.map(\.isExact) == [true])
    let report = try #require(try DumpedEngine(dump).check())
    #expect(report == engine.check())
    #expect(report.findings.isEmpty)
    // A reader of dumps refuses sizes that no region has.
    var damaged = dump
    damaged.regions[0].parameters.bufferSize = 100
    #expect(throws: NetmapError.self) { try DumpedEngine(damaged) }
  }

  @Test("sizes that are no powers of two carry packets between regions")
  func oddSizes() throws {
    var memory = Self.memory(nil)
    memory.objects.bufferSize = 1088
    let port = try TestPort(engine, "vale0:a", memory: memory)
    let other = try TestPort(engine, "vale0:b")
    port.tx().send([1, 2, 3])
    #expect(other.rx().receive() == [1, 2, 3])
    other.tx().send([4])
    #expect(port.rx().receive() == [4])
  }
}
