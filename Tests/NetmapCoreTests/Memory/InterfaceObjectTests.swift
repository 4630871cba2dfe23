import NetmapCore
import Testing

@Suite("netmap_if")
struct InterfaceObjectTests {
  /// Hardware transmit, host transmit, hardware receive, host receive.
  private func expected(_ port: TestPort, _ rings: [TestRing?]) -> [Int] {
    rings.map { $0.map { $0.offset - port.interface.offset } ?? 0 }
  }

  @Test("ring_ofs: hardware and host transmit rings, then hardware and host receive rings")
  func order() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    let port = try TestPort(engine, "fake0", .hardwareAndHost)
    let interface = port.interface
    #expect(interface.transmitRings == 3)
    #expect(interface.receiveRings == 2)
    #expect(interface.hostTransmitRings == 1)
    #expect(interface.hostReceiveRings == 2)
    #expect(
      interface.ringOffsets
        == expected(port, (0..<4).map { port.tx($0) } + (0..<4).map { port.rx($0) }))
    #expect(Set(interface.ringOffsets).count == 8)
  }

  @Test("ring_ofs is 0 for a ring that the binding does not hold, even if another binding does")
  func zeros() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    let all = try TestPort(engine, "fake0", .hardwareAndHost)
    let one = try TestPort(engine, "fake0", .oneHardware(1))
    #expect(
      one.interface.ringOffsets
        == expected(one, [nil, one.tx(), nil, nil, nil, one.rx(), nil, nil]))
    let transmit = try TestPort(engine, "fake0", flags: .transmitOnly)
    #expect(
      transmit.interface.ringOffsets
        == expected(transmit, (0..<3).map { transmit.tx($0) } + [nil, nil, nil, nil, nil]))
    let host = try TestPort(engine, "fake0", .oneHost(1))
    #expect(
      host.interface.ringOffsets
        == expected(host, [nil, nil, nil, host.tx(), nil, nil, nil, host.rx()]))
    let none = try TestPort(engine, "fake0", flags: [.transmitOnly, .receiveOnly])
    #expect(none.interface.ringOffsets == Array(repeating: 0, count: 8))
    _ = all
  }

  @Test("a port without host rings shows one per direction, at offset 0")
  func fakeHostRings() throws {
    let pipe = try TestPipe(
      RingGeometryHints(transmitSlots: 4, receiveSlots: 4, transmitRings: 2, receiveRings: 1))
    let interface = pipe.master.interface
    #expect(interface.hostTransmitRings == 1)
    #expect(interface.hostReceiveRings == 1)
    #expect(
      interface.ringOffsets
        == expected(
          pipe.master, [pipe.master.tx(0), pipe.master.tx(1), nil, pipe.master.rx(), nil]))
    #expect(pipe.master.registration.geometry.hostTransmitRings == 0)
  }

  @Test(
    "the name is cut after 15 bytes",
    arguments: [
      ("a{1", "a{1"), ("abcdefghijklm{1", "abcdefghijklm{1"),
      ("abcdefghijklmno{12", "abcdefghijklmno"),
    ])
  func name(asked: String, shown: String) throws {
    let port = try TestPort(Engine(), asked, hints: .slots(2))
    #expect(port.interface.name == shown)
    #expect(port.registration.name.rawValue == asked)
    #expect(port.interface.word(16) == 0, "ni_version")
  }

  @Test("NI_PRIV_MEM says whether the region is private")
  func privateMemory() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    #expect(try TestPort(engine, "a{1", hints: .slots(2)).interface.flags == 1)
    #expect(try TestPort(engine, "fake0").interface.flags == 0)
  }
}
