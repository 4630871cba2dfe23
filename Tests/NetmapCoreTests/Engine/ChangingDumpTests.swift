import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

/// Processes change shared words while the engine copies them into a dump.
@Suite("Dumps of memory that changes")
struct ChangingDumpTests {
  /// Memory with the objects of one pipe or of two ports: a dump of it takes little time.
  private static let memory: ProgramMemory = {
    let objects = RegionParameters(
      interfaceSize: 1024, interfaceCount: 4, ringSize: 1280, ringCount: 4, bufferSize: 2048,
      bufferCount: 300)
    return ProgramMemory(byteCount: 1 << 20, objects: objects)
  }()

  @Test("a dump of words that keep changing is read, or refused with a reason")
  func changing() throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 0..<1 << 32)
    let engine = try Engine()
    let ports = [
      try TestPort(engine, "p{1", memory: Self.memory, hints: .slots(64), extraBuffers: 8),
      try TestPort(engine, "p}1", hints: .slots(64)),
      try TestPort(engine, "vale0:a", memory: Self.memory, hints: .slots(64)),
      try TestPort(engine, "vale0:b", memory: Self.memory, hints: .slots(64)),
    ]
    for port in ports { port.tx().send([1, 2, 3]) }
    let count = try DumpedEngine(engine.dump()).dumpedPorts.count
    let vale = try #require(ports[2].mapped.vale).segment.memory
    let memories =
      [vale, vale] + ports.flatMap { [$0.registration.segment.memory, $0.registration.region] }
    let scribbler = Scribbler { [generator = Mutex(SeededGenerator(seed: seed))] in
      generator.withLock { generator in
        let memory = memories[Int.random(in: 0..<memories.count, using: &generator)]
        let word = generator.chance(50) ? generator.next() : generator.next() & 0x1ff
        // The objects of a region lie before its buffers; extra buffers begin with links.
        let most = min(memory.byteCount, generator.chance(80) ? 16_384 : memory.byteCount)
        memory.store(word, at: 8 * Int.random(in: 0..<most / 8, using: &generator))
      }
    }
    defer { scribbler.stop() }
    let end = monotonicNanoseconds() + 1_500_000_000
    var (rounds, read) = (0, 0)
    while monotonicNanoseconds() < end || rounds < 20 {
      rounds += 1
      let bytes = try engine.dump().bytes
      do throws(NetmapError) {
        let dumped = try DumpedEngine(EngineDump(bytes))
        _ = dumped.check()
        #expect(dumped.dumpedPorts.count == count, "NETMAP_TEST_SEED=\(seed)")
        _ = dumped.dumpedSwitches
        read += 1
      } catch {
        #expect(error.subject == "dump", "NETMAP_TEST_SEED=\(seed): \(error)")
      }
    }
    print("dumps of changing words: \(rounds), of which \(read) could be read")
    for port in ports { port.close() }
  }
}
