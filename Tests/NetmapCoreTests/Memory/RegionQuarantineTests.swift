import Glibc
import NetmapCore
import Testing

@Suite("Regions in quarantine")
struct RegionQuarantineTests {
  @Test("objects of a closed port are not reused while a process may still read them")
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
    // Another port's buffers are reused at once.
    region.free(of: ObjectIdentifier(RegionTests.self)) {
      #expect(region.releaseBuffer(buffers[1]))
    }
    #expect(try region.allocateBuffers(1) == [buffers[1]])
    region.endQuarantine(of: port, begun: begun)
    #expect(try region.allocateRing(slotCount: 4) == ring)
    #expect(try region.allocateBuffers(1) == [buffers[0]])
    #expect(try region.allocateInterface(ringCount: 4) == interface)
  }

  @Test("an idle region is reset when its last quarantine ends")
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

  @Test("objects made after a close are in no view of the closed port, and are reused at once")
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
    // A process that closes the port now has all of these objects in view.
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

  @Test("a closed port that a process keeps in view can be opened again any number of times")
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

  @Test("when objects run out because processes keep closed ports in view, the error says so")
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
