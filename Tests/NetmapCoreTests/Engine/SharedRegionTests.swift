import NetmapCore
import Testing

@Suite("The size of the region that interfaces share")
struct SharedRegionTests {
  /// Opens both ends of pipes on an interface, as `lb` and the programs behind it do.
  private func openPipes(_ count: Int, _ engine: Engine) throws -> [TestPort] {
    let port = try TestPort(engine, "fake0")
    return try [port]
      + (0..<count).flatMap {
        [try TestPort(engine, "fake0{\($0)"), try TestPort(engine, "fake0}\($0)")]
      }
  }

  private var interfaces: FakeInterfaces { FakeInterfaces(["fake0": .pairs(1, slots: 1024)]) }

  private func tunables(_ counts: SharedRegionCounts) throws -> Tunables {
    var result = Tunables()
    try result.set(counts, by: ("a test", "a test", "a test"))
    return result
  }

  @Test("18 pipes on an interface do not fit by default, and the refusal names the settings")
  func tooFew() throws {
    let engine = try Engine(interfaces: interfaces)
    let error = #expect(throws: NetmapError.self) { try openPipes(18, engine) }
    #expect(error?.code == .outOfMemory)
    #expect(error?.reason.contains("buffers") == true)
    #expect(error?.reason.contains("of 16384 are free") == true, "\(String(describing: error))")
    for word in ["buf_num", "--buffers", "NETMAP_BUFFERS"] {
      #expect(error?.remedy.contains(word) == true, "\(String(describing: error))")
    }
  }

  @Test("with more buffers they fit")
  func enough() throws {
    let engine = try Engine(
      interfaces: interfaces, tunables: tunables(SharedRegionCounts(buffers: 80_000)))
    let ports = try openPipes(18, engine)
    #expect(ports.count == 37)
    #expect(ports.allSatisfy { $0.registration.memoryID == 1 })
  }

  @Test(
    "an interface with many rings gets a region with room for it and for others",
    arguments: [4, 8, 24])
  func manyRings(pairs: Int) throws {
    let geometry = PortGeometry.pairs(pairs, slots: 1024)
    let engine = try Engine(interfaces: FakeInterfaces(["fake0": geometry, "fake1": geometry]))
    let ports = try ["fake0", "fake1"].map { try TestPort(engine, $0) }
    #expect(ports.allSatisfy { $0.registration.memoryID == 1 })
    let pipe = try TestPort(engine, "fake0{1")
    withExtendedLifetime((ports, pipe)) {}
  }

  @Test("sizes that the user gives do not grow")
  func given() throws {
    let engine = try Engine(
      interfaces: FakeInterfaces(["fake0": .pairs(8, slots: 1024)]),
      tunables: tunables(SharedRegionCounts(buffers: 16_000)))
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "fake0") }
    #expect(error?.reason.contains("of 16000 are free") == true, "\(String(describing: error))")
  }

  @Test("a number of rings that the user gives leaves the number of buffers to the first interface")
  func otherNumbers() throws {
    let engine = try Engine(
      interfaces: FakeInterfaces(["fake0": .pairs(8, slots: 1024)]),
      tunables: tunables(SharedRegionCounts(rings: 300)))
    let port = try TestPort(engine, "fake0")
    let pools = try engine.poolsInfo(RegisterRequest(name: port.registration.name))
    #expect(pools.rings.count == 300 && pools.buffers.count == 4 * 16 * 1024)
  }

  @Test("the numbers of rings and of opens are settings as well")
  func ringsAndInterfaces() throws {
    let counts = SharedRegionCounts(buffers: 1_000_000, rings: 10, interfaces: 10)
    let parameters = try RegionParameters.global(counts)
    #expect(parameters.bufferCount == 1_000_000)
    let engine = try Engine(interfaces: interfaces, tunables: tunables(counts))
    var error = #expect(throws: NetmapError.self) { try openPipes(3, engine) }
    #expect(error?.remedy.contains("--rings") == true, "\(String(describing: error))")
    let pipes = try openPipes(1, engine)
    let others = try (0..<7).map { _ in try TestPort(engine, "fake0") }
    error = #expect(throws: NetmapError.self) { try TestPort(engine, "fake0") }
    #expect(error?.remedy.contains("--interfaces") == true, "\(String(describing: error))")
    withExtendedLifetime((pipes, others)) {}
  }

  @Test("sizes out of range are refused")
  func outOfRange() {
    for counts in [
      SharedRegionCounts(buffers: 3), SharedRegionCounts(buffers: 1_000_001),
      SharedRegionCounts(rings: 1), SharedRegionCounts(interfaces: 9),
    ] {
      let error = #expect(throws: NetmapError.self) { try RegionParameters.global(counts) }
      #expect(error?.code == .invalidArgument)
    }
  }
}
