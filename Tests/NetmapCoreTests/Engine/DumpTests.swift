import NetmapCore
import NetmapTestSupport
import Testing

/// A dump says what the engine's memory says, and a reader of dumps survives any bytes.
@Suite("Dumps of an engine's memory")
struct DumpTests {
  /// Reads the dump of an engine back from its bytes.
  private func reread(_ engine: Engine) throws -> DumpedEngine {
    let dump = try engine.dump()
    let copy = try EngineDump(dump.bytes)
    #expect(copy == dump)
    #expect(copy.bytes == dump.bytes)
    return try DumpedEngine(copy)
  }

  /// Expects that the check of a dump finds what the check of the engine finds.
  @discardableResult
  private func expectSameFindings(_ engine: Engine) throws -> [String] {
    let report = engine.check()
    let dumped = try #require(try reread(engine).check())
    #expect(dumped == report)
    return dumped.findings
  }

  @Test("the check of a dump finds what the check of the engine finds: pipes")
  func pipes() throws {
    let pipe = try TestPipe(.slots(16))
    let other = try TestPort(pipe.engine, "a{2", extraBuffers: 5)
    #expect(try expectSameFindings(pipe.engine).isEmpty)
    pipe.master.tx().send([1, 2, 3])
    pipe.slave.rx().sync()
    #expect(try expectSameFindings(pipe.engine).isEmpty)
    let tx = pipe.master.tx()
    tx[9].bufferIndex = tx[8].bufferIndex
    #expect(try expectSameFindings(pipe.engine).count == 2)
    tx.hwcur = 99
    #expect(try expectSameFindings(pipe.engine).contains { $0.contains("hwcur") })
    #expect(tx.lock(ClientTag(slot: 700, epoch: 3)))
    #expect(try expectSameFindings(pipe.engine).contains { $0.contains("locked by a client") })
    tx.unlock()
    // The list of extra buffers lies in the buffers, which a dump does not contain.
    other.interface.extraBuffersHead = tx[7].bufferIndex
    #expect(try expectSameFindings(pipe.engine).contains { $0.contains("extra buffers") })
    let memory = other.registration.segment.memory
    other.registration.segment.clearBinding(at: other.registration.bindingIndex)
    memory.store(UInt32(77), at: 12)
    #expect(try expectSameFindings(pipe.engine).contains { $0.contains("record of binding") })
  }

  @Test("the check of a dump finds what the check of the engine finds: quarantines and null ports")
  func others() throws {
    let pipe = try TestPipe(.slots(8))
    let keeper = try TestPort(pipe.engine, "a{2", extraBuffers: 3)
    pipe.engine.release(pipe.master.registration.id, keepsViews: true)
    pipe.engine.release(pipe.slave.registration.id, keepsViews: true)
    #expect(try expectSameFindings(pipe.engine).isEmpty)
    pipe.engine.forget(pipe.master.registration.id)
    pipe.engine.forget(pipe.slave.registration.id)
    #expect(try expectSameFindings(pipe.engine).isEmpty)
    keeper.close()
    #expect(try expectSameFindings(pipe.engine).isEmpty)
  }

  @Test("the check of a dump finds leases that no sender will finish")
  func leases() throws {
    let vale = try TestSwitch(2, hints: .slots(64))
    let (a, b) = (vale[0], vale[1])
    for number in 0..<3 as Range<UInt32> {
      a.tx().send(TestFrame(target: .station(9), source: .station(0), number: number))
    }
    #expect(try expectSameFindings(vale.engine).isEmpty)
    let kring = unsafe b.mapped.receive(0).kring
    let known = unsafe kring.reservation
    #expect(unsafe kring.reserve(from: known, upTo: known.following(2, of: 64)).isOurs)
    b.rx().sync()
    #expect(try expectSameFindings(vale.engine).contains { $0.contains("no sender will finish") })
    // A living sender has announced it.
    #expect(a.tx().lock(a.tag))
    let sender = unsafe a.mapped.transmit(0).kring
    let place = try #require(a.registration.place?.index == 0 ? b.registration.place : nil)
    unsafe sender.announce(
      LeaseTarget(port: place.index, generation: place.generation, ring: 0), known, slots: 2)
    #expect(try expectSameFindings(vale.engine).isEmpty)
    let dumped = try reread(vale.engine)
    let port = try #require(dumped.dumpedPorts.first { $0.name == b.registration.name.rawValue })
    let ring = try #require(port.rings.first { $0.direction == .receive })
    let lease = try #require(ring.leases.first)
    #expect(ring.leases.count == 1 && lease.finishedSlots == nil)
    #expect(lease.sequence == known.sequence && lease.start == known.next)
    #expect(lease.senders.map(\.slots) == [2])
    #expect(lease.senders.first?.holder == .process(1))
    a.tx().unlock()
  }

  @Test("a dump shows indexes, counters, locks and sleepers as they were")
  func contents() throws {
    let pipe = try TestPipe(.slots(16))
    pipe.master.tx().send([1, 2, 3])
    #expect(unsafe pipe.slave.mapped.receive(0).waitWord.arm(.bell(ofBinding: 1)))
    #expect(unsafe pipe.master.mapped.transmit(0).waitWord.arm(.doorbell(pipe.master.tag.doorbell)))
    #expect(pipe.master.tx().lock(pipe.master.tag))
    let ports = try reread(pipe.engine).dumpedPorts
    let master = try #require(ports.first { $0.name == "a{1" })
    let slave = try #require(ports.first { $0.name == "a}1" })
    let sending = try #require(master.rings.first { $0.direction == .transmit })
    let receiving = try #require(slave.rings.first { $0.direction == .receive })
    #expect(sending.head == 3 && sending.cursors.hwcur == 3 && sending.slots == 16)
    #expect(sending.counters.packets == 3)
    #expect(sending.lock == .process(1))
    #expect(sending.sleepers == [.doorbell(pipe.master.tag.doorbell, .process(1))])
    #expect(receiving.sleepers == [.futex(binding: 1)])
    pipe.master.tx().unlock()
  }

  @Test("bytes that are no dump are refused, and damaged dumps are refused or read")
  func damaged() throws {
    var generator = SeededGenerator(seed: environmentNumber("NETMAP_TEST_SEED") ?? 1)
    let vale = try TestSwitch(3, hints: .slots(16))
    vale[0].tx().send(TestFrame(target: .broadcast, source: .station(0), number: 1))
    let pipe = try TestPort(vale.engine, "b{1", extraBuffers: 2)
    let bytes = try vale.engine.dump().bytes
    read([])
    read([UInt8](repeating: 0xff, count: 4096))
    // Nearly all of a dump is memory, which may say anything. The words of the format lie before and between it.
    for length in (0..<600).map({ $0 * bytes.count / 600 }) {
      #expect(throws: NetmapError.self) { try EngineDump(Array(bytes.prefix(length))) }
    }
    #expect(throws: NetmapError.self) { try EngineDump(bytes + [0]) }
    for _ in 0..<2000 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let place =
          generator.chance(50)
          ? Int.random(in: 0..<min(damaged.count, 2000), using: &generator)
          : Int.random(in: 0..<damaged.count, using: &generator)
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: damaged[place] = .random(in: 0...255, using: &generator)
        case 1: damaged[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 2: damaged[place] = 0xff
        default: damaged.remove(at: place)
        }
      }
      read(damaged)
    }
    pipe.close()
  }

  @Test("numbers of a dump that lie outside of its memory are refused")
  func outside() throws {
    let vale = try TestSwitch(2, hints: .slots(16))
    let pipe = try TestPipe(.slots(8))
    let dumps = [try vale.engine.dump(), try pipe.engine.dump()]
    for dump in dumps {
      for value in [UInt32(1), 255, 4096, 65_535, 0x7fff_ffff, .max] {
        for index in dump.ports.indices {
          for change in 0..<9 {
            var copy = dump
            switch change {
            case 0: copy.ports[index].segment = value
            case 1: copy.ports[index].end = value
            case 2: copy.ports[index].region = value
            case 3: copy.ports[index].geometry.receiveSlots = Int(value)
            case 4: copy.ports[index].geometry.transmitRings = Int(value)
            case 5: copy.ports[index].slave = value
            case 6:
              for ring in copy.ports[index].rings.indices {
                copy.ports[index].rings[ring] = UInt64(value)
              }
            case 7: copy.ports[index].kind = value & 7
            default: copy.segments[Int(copy.ports[index].segment)].leaseSlots = value
            }
            use(copy)
          }
        }
        for index in dump.bindings.indices {
          var copy = dump
          copy.bindings[index].record.interfaceOffset = Int(value)
          use(copy)
          copy = dump
          copy.bindings[index].index = value
          use(copy)
        }
        for index in dump.segments.indices {
          for place in dump.segments[index].ends.indices {
            var copy = dump
            copy.segments[index].ends[place] = value
            use(copy)
          }
        }
        for index in dump.regions.indices {
          var copy = dump
          copy.regions[index].parameters.bufferSize = Int(value)
          use(copy)
          copy = dump
          copy.regions[index].pieces = [.init(offset: UInt64(value), bytes: [1, 2, 3])]
          use(copy)
          copy = dump
          copy.regions[index].taken.rings = [value]
          copy.regions[index].quarantined.buffers = [value]
          use(copy)
        }
      }
    }
  }

  private func read(_ bytes: [UInt8]) {
    guard let dump = try? EngineDump(bytes) else { return }
    use(dump)
  }

  /// Reads all of a dump that may contradict itself.
  private func use(_ dump: EngineDump) {
    guard let engine = try? DumpedEngine(dump) else { return }
    _ = engine.check()
    _ = engine.dumpedPorts
    _ = engine.dumpedSwitches
  }
}
