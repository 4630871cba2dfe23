import CLinux
import Glibc
import NetmapCore
import Synchronization
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

  @Test("buffers 0 and 1 are never given out, and the lowest free index comes first")
  func reservedBuffers() throws {
    let region = try Self.region()
    #expect(try region.allocateBuffers(14) == Array(2..<16))
    #expect(region.ownership.state(0) == .reserved)
    #expect(region.ownership.state(1) == .reserved)
    #expect(!region.releaseBuffer(0))
    #expect(!region.releaseBuffer(1))
    #expect(region.freeCounts.buffers == 0)
  }

  @Test("a buffer comes back once; an index that is none does not")
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

  @Test("a buffer that is lent does not come back")
  func lentBuffer() throws {
    let region = try Self.region()
    _ = try region.allocateBuffers(1)
    #expect(region.ownership.lend(2))
    #expect(!region.releaseBuffer(2))
    #expect(region.ownership.takeBack(2))
    #expect(region.releaseBuffer(2))
  }

  @Test("too few buffers: none is taken, ENOMEM says how many are missing and which setting helps")
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

  @Test("rings and interface objects run out with ENOMEM, naming the object")
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

  @Test("an object larger than its pool's is ENOMEM, and takes none")
  func objectTooLarge() throws {
    let region = try Self.region()
    // 512 bytes asked, a page given: 256 bytes of header and 240 slots.
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

  @Test("in the shared region the message names the setting to raise")
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

  @Test("an interface object is zero when it is given again")
  func interfaceCleared() throws {
    let region = try Self.region()
    let offset = try region.allocateInterface(ringCount: 4)
    for byte in 0..<128 { region.memory.store(UInt8.max, at: offset + byte) }
    region.releaseInterface(at: offset)
    #expect(try region.allocateInterface(ringCount: 4) == offset)
    #expect((0..<128).allSatisfy { region.memory.load(at: offset + $0, as: UInt8.self) == 0 })
  }

  @Test("when the last user goes, lost objects come back")
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

@Suite("Regions in quarantine")
struct RegionQuarantineTests {
  @Test("what is freed while a closed port may still be read is not used again until it has gone")
  func quarantine() throws {
    let region = try RegionTests.region()
    let buffers = try region.allocateBuffers(3)
    let ring = try region.allocateRing(slotCount: 4)
    let interface = try region.allocateInterface(ringCount: 4)
    let before = region.freeCounts
    let port = ObjectIdentifier(region)
    let begun = region.beginQuarantine(of: port)
    region.free(of: port) {
      #expect(region.releaseBuffer(buffers[0]))
      #expect(!region.releaseBuffer(buffers[0]), "once only")
      region.releaseRing(at: ring)
      region.releaseInterface(at: interface)
    }
    #expect(region.freeCounts == before)
    #expect(try region.allocateRing(slotCount: 4) != ring)
    #expect(try region.allocateBuffers(1) != [buffers[0]])
    // Another port's are used again at once.
    region.free(of: ObjectIdentifier(RegionTests.self)) {
      #expect(region.releaseBuffer(buffers[1]))
    }
    #expect(try region.allocateBuffers(1) == [buffers[1]])
    region.endQuarantine(of: port, begun: begun)
    #expect(try region.allocateRing(slotCount: 4) == ring)
    #expect(try region.allocateBuffers(1) == [buffers[0]])
    #expect(try region.allocateInterface(ringCount: 4) == interface)
  }

  @Test("an idle region in quarantine is reset when the last closed port has gone")
  func idle() throws {
    let region = try RegionTests.region()
    _ = try region.allocateBuffers(5)
    let port = ObjectIdentifier(region)
    let first = region.beginQuarantine(of: port)
    let second = region.beginQuarantine(of: port)
    region.release()
    #expect(region.freeCounts.buffers == 9)
    region.endQuarantine(of: port, begun: first)
    #expect(region.freeCounts.buffers == 9)
    region.endQuarantine(of: port, begun: first)
    #expect(region.freeCounts.buffers == 9, "once only")
    region.endQuarantine(of: port, begun: second)
    #expect(region.freeCounts.buffers == 14)
  }

  @Test("what was made after a port was closed, and so is in nobody's views, is used again at once")
  func madeLater() throws {
    let region = try RegionTests.region()
    let port = ObjectIdentifier(region)
    let old = try (
      ring: region.allocateRing(slotCount: 4), interface: region.allocateInterface(ringCount: 4)
    )
    let kept = region.beginQuarantine(of: port)
    let ring = try region.allocateRing(slotCount: 4)
    let interface = try region.allocateInterface(ringCount: 4)
    let buffers = try region.allocateBuffers(2)
    // Whoever closes now can see all of it.
    let later = region.beginQuarantine(of: port)
    region.free(of: port) {
      #expect(region.releaseBuffer(buffers[0], ofRingAt: ring))
      #expect(region.releaseBuffer(buffers[1], ofInterfaceAt: interface))
      #expect(!region.releaseBuffer(buffers[1], ofRingAt: ring), "once only")
      region.releaseRing(at: ring)
      region.releaseInterface(at: interface)
    }
    #expect(region.quarantined == ([interface / 128], [1], buffers.map(Int.init)))
    region.endQuarantine(of: port, begun: later)
    #expect(region.quarantined == ([], [], []))
    #expect(try region.allocateBuffers(2) == buffers)
    region.free(of: port) {
      #expect(region.releaseBuffer(buffers[0], ofRingAt: old.ring))
      region.releaseRing(at: old.ring)
      region.releaseInterface(at: old.interface)
    }
    #expect(region.quarantined == ([0], [0], [Int(buffers[0])]))
    region.endQuarantine(of: port, begun: kept)
    #expect(region.quarantined == ([], [], []))
  }

  @Test("a port that a process has closed and kept in view can be opened any number of times")
  func manyOpens() throws {
    let interfaces = FakeInterfaces.probed()
    let engine = try Engine(interfaces: interfaces)
    let probe = try RegionProbe(engine, interfaces)
    let before = probe.free
    let kept = try TestPort(engine, "fake0{1", hints: .slots(4), extraBuffers: 4)
    engine.release(kept.registration.id, keepsViews: true)
    let afterwards = probe.free
    for _ in 0..<300 {
      let ids = try ["fake0{1", "fake0}1"].map { name in
        try engine.register(
          RegisterRequest(name: try PortName(name), hints: .slots(4), extraBuffers: 4)
        ).id
      }
      for id in ids { engine.release(id, keepsViews: true) }
      for id in ids { engine.forget(id) }
    }
    #expect(probe.free == afterwards)
    engine.forget(kept.registration.id)
    #expect(probe.free == before)
  }

  @Test("who runs out of objects because others keep closed ports in view is told so")
  func exhaustedByViews() throws {
    let engine = try Engine(interfaces: FakeInterfaces.probed())
    var refusal: NetmapError?
    let request = RegisterRequest(name: try PortName("fake0{1"))
    for _ in 0..<300 where refusal == nil {
      do throws(NetmapError) {
        engine.release(try engine.register(request).id, keepsViews: true)
      } catch {
        refusal = error
      }
    }
    #expect(refusal?.code == .outOfMemory)
    #expect(refusal?.reason.contains("are kept for processes that have closed a port") == true)
    #expect(refusal?.remedy.contains("end them") == true)
  }

  @Test("a port closed with views keeps its rings as they are; the name is free at once")
  func views() throws {
    let interfaces = FakeInterfaces.probed()
    let engine = try Engine(interfaces: interfaces)
    let probe = try RegionProbe(engine, interfaces)
    let before = probe.free
    let master = try TestPort(engine, "fake0{1", hints: .slots(4))
    let slave = try TestPort(engine, "fake0}1")
    master.tx().send([1, 2])
    let slots = slave.rx().slots
    engine.release(master.registration.id, keepsViews: true)
    engine.release(slave.registration.id, keepsViews: true)
    #expect(engine.directory.entries.map(\.name) == ["probe0"])
    let fresh = try TestPort(engine, "fake0{1", hints: .slots(4))
    #expect(fresh.tx().offset != slave.rx().offset)
    #expect(Set(fresh.tx().bufferIndexes).isDisjoint(with: slots.map(\.bufferIndex)))
    #expect(slave.rx().slots == slots)
    fresh.close()
    engine.forget(master.registration.id)
    #expect(probe.free != before)
    engine.forget(slave.registration.id)
    #expect(probe.free == before)
  }
}

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
    #expect(!ownership.lend(2), "the same buffer in two slots reaches one owner only")
    #expect(ownership.takeBack(2))
    #expect(!ownership.takeBack(2))
    #expect(ownership.state(2) == .user)
    #expect(ownership.lend(2))
  }

  @Test("what is free, reserved or no buffer cannot be lent")
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

  @Test("of several threads that lend the same buffer one succeeds")
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

@Suite("Extra buffers")
struct ExtraBufferTests {
  /// The list from `head` on, at most `limit` long.
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

  @Test("the head is the last one allocated, each names the next, 0 ends the list")
  func given() throws {
    let region = try RegionTests.region()
    let extra = region.makeExtraBuffers(4)
    #expect(extra.head == 5)
    #expect(extra.count == 4)
    #expect(Self.list(region, extra.head) == [5, 4, 3, 2])
    #expect(region.memory.load(at: region.offset(ofBuffer: 2), as: UInt32.self) == 0)
  }

  @Test("fewer than asked is no error, none is an empty list")
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

  @Test("the list comes back as given")
  func returned() throws {
    let region = try RegionTests.region()
    let extra = region.makeExtraBuffers(4)
    #expect(region.releaseExtraBuffers(head: extra.head) == 4)
    #expect(region.freeCounts.buffers == 14)
    #expect(region.releaseExtraBuffers(head: extra.head) == 0, "they are free already")
  }

  @Test("whatever list the application built comes back")
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

  @Test("a circular list ends where it closes")
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

  @Test("a list that runs in a circle ends while somebody rewrites owner bytes and links")
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

  @Test("a list ends at what is no buffer", arguments: [1, 16, 17, .max] as [UInt32])
  func outOfRange(next: UInt32) throws {
    let region = try RegionTests.region()
    let extra = region.makeExtraBuffers(3)
    Self.setNext(region, extra.head, next)
    #expect(region.releaseExtraBuffers(head: extra.head) == 1)
    #expect(region.releaseExtraBuffers(head: next) == 0)
  }

  @Test("a list that the application shortened gives back what is in it")
  func cut() throws {
    let region = try RegionTests.region()
    let extra = region.makeExtraBuffers(4)
    Self.setNext(region, 4, 0)
    #expect(region.releaseExtraBuffers(head: extra.head) == 2)
    #expect(region.freeCounts.buffers == 12)
  }
}

@Suite("Shared memory")
struct SharedMemoryTests {
  @Test("whole pages, zero filled, and the same bytes at another address")
  func attach() throws {
    let memory = try SharedMemory(creating: "test", byteCount: 5000)
    #expect(memory.byteCount == pageRounded(5000))
    #expect(memory.load(at: 4992, as: UInt64.self) == 0)
    let other = try SharedMemory(attaching: memory.descriptor)
    #expect(unsafe other.base != memory.base)
    #expect(other.byteCount == memory.byteCount)
    memory.store(UInt64(42), at: 16)
    #expect(other.load(at: 16, as: UInt64.self) == 42)
  }

  @Test("the memory outlives the object that made it, as long as somebody has it mapped")
  func lifetime() throws {
    var memory: SharedMemory? = try SharedMemory(creating: "test", byteCount: 1)
    memory?.store(UInt32(7), at: 0)
    let other = try SharedMemory(attaching: #require(memory).descriptor)
    memory = nil
    #expect(other.load(at: 0, as: UInt32.self) == 7)
  }

  @Test("what is no file of memory cannot be attached")
  func badDescriptor() {
    let error = #expect(throws: NetmapError.self) { try SharedMemory(attaching: -1) }
    #expect(error?.code == .badDescriptor)
    #expect(error?.description.contains("descriptor -1") == true)
  }

  @Test("memory that somebody could shrink under its readers is not mapped")
  func unsealed() throws {
    let file = unsafe memfd_create(
      "test", UInt32(CLINUX_MFD_CLOEXEC | CLINUX_MFD_ALLOW_SEALING))
    defer { close(file) }
    try #require(ftruncate(file, 8192) == 0)
    let error = #expect(throws: NetmapError.self) { try SharedMemory(attaching: file) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.reason.contains("F_SEAL_SHRINK") == true)
    try #require(fcntl(file, CInt(CLINUX_F_ADD_SEALS), CInt(CLINUX_F_SEAL_SHRINK)) == 0)
    #expect(try SharedMemory(attaching: file).byteCount == 8192)
    // A pipe or a folder has no seals at all.
    let folder = unsafe open("/", O_RDONLY)
    defer { close(folder) }
    #expect(throws: NetmapError.self) { try SharedMemory(attaching: folder) }
  }

  @Test("two mappings of one memory are known to be one, and two memories to be two")
  func identity() throws {
    let memory = try SharedMemory(creating: "test", byteCount: 1)
    let other = try SharedMemory(creating: "test", byteCount: 1)
    #expect(try SharedMemory(attaching: memory.descriptor).identity == memory.identity)
    #expect(memory.identity != other.identity)
  }

  @Test("a sync segment of another layout is refused")
  func otherLayout() throws {
    let short = try SharedMemory(creating: "test", byteCount: 1)
    #expect(throws: NetmapError.self) { try SyncSegment(attaching: short) }
    let zero = try SharedMemory(creating: "test", byteCount: 1 << 20)
    let error = #expect(throws: NetmapError.self) { try SyncSegment(attaching: zero) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.reason == "it is something else")
    #expect(throws: NetmapError.self) { try Directory(attaching: zero) }
  }
}
