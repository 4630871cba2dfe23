import NetmapCore
import Testing

@Suite("Pipes: several bindings on one end")
struct PipeSharingTests {
  @Test("they share the rings, and each sees the current state")
  func liveState() throws {
    let pipe = try TestPipe(.slots(8))
    pipe.master.tx().send([1, 2, 3])
    pipe.slave.rx().sync()
    pipe.slave.rx().move(to: 1)
    pipe.slave.rx().sync()
    let second = try TestPort(pipe.engine, "a}1")
    #expect(second.rx().offset == pipe.slave.rx().offset)
    #expect([second.rx().head, second.rx().cur, second.rx().tail] == [1, 1, 3])
    #expect(second.rx().visible == [2, 3])
    second.rx().move(to: 3)
    second.rx().sync()
    #expect(pipe.slave.rx().head == 3)
    let sender = try TestPort(pipe.engine, "a{1")
    #expect([sender.tx().head, sender.tx().tail] == [3, 7])
    #expect(sender.interface.offset != pipe.master.interface.offset, "a netmap_if of its own")
  }

  @Test("an end lives as long as its last binding")
  func lastBinding() throws {
    let pipe = try TestPipe(.slots(8))
    let second = try TestPort(pipe.engine, "a{1")
    pipe.master.close()
    second.tx().send([1])
    #expect(pipe.slave.rx().receive() == [1])
  }

  @Test("exclusive use is per ring, per direction, and per end")
  func exclusive() throws {
    let engine = try Engine()
    let hints = RingGeometryHints(
      transmitSlots: 4, receiveSlots: 4, transmitRings: 2, receiveRings: 2)
    let first = try TestPort(engine, "a{1", .oneHardware(0), flags: .exclusive, hints: hints)
    for (selection, flags, what) in [
      (.allHardware, [], "all rings"), (.oneHardware(0), [], "the same ring"),
      (.oneHardware(0), .exclusive, "the same ring, exclusively"),
      (.oneHardware(0), .receiveOnly, "its receive ring"),
    ] as [(RingSelection, BindingFlags, String)] {
      let error = #expect(throws: NetmapError.self, "\(what)") {
        try TestPort(engine, "a{1", selection, flags: flags)
      }
      #expect(error?.code == .busy)
      #expect(error?.description.contains("a{1") == true)
      #expect(error?.reason.contains("ring 0") == true)
      #expect(error?.remedy.isEmpty == false)
    }
    _ = try TestPort(engine, "a{1", .oneHardware(1), flags: .exclusive)
    _ = try TestPort(engine, "a{1", flags: [.transmitOnly, .receiveOnly])
    // Exclusive use of one end does not concern the other.
    _ = try TestPort(engine, "a}1", flags: .exclusive)
    first.close()
    _ = try TestPort(engine, "a{1", .oneHardware(0))
  }

  @Test("exclusive use of a ring that another binding holds is refused")
  func exclusiveLate() throws {
    let engine = try Engine()
    let first = try TestPort(engine, "a{1", flags: .transmitOnly, hints: .slots(4))
    let error = #expect(throws: NetmapError.self) {
      try TestPort(engine, "a{1", flags: .exclusive)
    }
    #expect(error?.code == .busy)
    _ = try TestPort(engine, "a{1", flags: [.exclusive, .receiveOnly])
    first.close()
    _ = try TestPort(engine, "a{1", flags: .exclusive)
  }

  @Test("closing a shared binding does not end another binding's exclusive use")
  func exclusiveStays() throws {
    let engine = try Engine()
    let hints = RingGeometryHints(
      transmitSlots: 4, receiveSlots: 4, transmitRings: 2, receiveRings: 2)
    let shared = try TestPort(engine, "a{1", .oneHardware(1), hints: hints)
    let owner = try TestPort(engine, "a{1", .oneHardware(0), flags: .exclusive)
    shared.close()
    #expect(throws: NetmapError.self) { try TestPort(engine, "a{1", .oneHardware(0)) }
    _ = owner
  }

  @Test("a refused binding leaves no object allocated")
  func refusedLeavesNothing() throws {
    let interfaces = FakeInterfaces.probed()
    let engine = try Engine(interfaces: interfaces)
    let probe = try RegionProbe(engine, interfaces)
    let owner = try TestPort(engine, "fake0{1", flags: .exclusive, hints: .slots(4))
    let before = probe.free
    let listed = engine.directory.entries
    for _ in 0..<3 {
      #expect(throws: NetmapError.self) { try TestPort(engine, "fake0{1", extraBuffers: 5) }
      #expect(throws: NetmapError.self) {
        try TestPort(engine, "fake0}1", .oneHardware(7), extraBuffers: 5)
      }
      #expect(throws: NetmapError.self) {
        try TestPort(engine, "fake0}1", offsets: OffsetsOption(max: 5000, initial: 0))
      }
    }
    #expect(probe.free == before)
    #expect(engine.directory.entries == listed)
    _ = owner
  }

  @Test("a port may be open 256 times; one more is ENOMEM")
  func bindingLimit() throws {
    let engine = try Engine()
    let first = try TestPort(
      engine, "a{1", flags: [.transmitOnly, .receiveOnly], hints: .slots(2))
    var ports = [first]
    while ports.count < 100 {
      ports.append(try TestPort(engine, "a{1", flags: [.transmitOnly, .receiveOnly]))
    }
    // The region's interface objects run out first here; either way it is ENOMEM, and not a trap.
    let error = #expect(throws: NetmapError.self) {
      for _ in 0..<200 {
        ports.append(try TestPort(engine, "a{1", flags: [.transmitOnly, .receiveOnly]))
      }
    }
    #expect(error?.code == .outOfMemory)
    #expect(error?.description.contains("a{1") == true)
    #expect(error?.remedy.contains("close") == true)
    ports.removeLast().close()
    ports.append(try TestPort(engine, "a{1"))
  }
}
