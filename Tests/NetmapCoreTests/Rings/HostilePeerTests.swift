import NetmapCore
import Synchronization
import Testing

/// Another process writes to the words of a ring during its syncs.
@Suite("Words that a peer changes during a sync")
struct HostilePeerTests {
  private final class Flag: Sendable {
    let isSet = Atomic<Bool>(false)
  }

  /// Syncs a ring with an illegal head again and again, while a thread overwrites a word of its kring.
  private func sync(_ ring: TestRing, _ rounds: Int, writing offset: Int) {
    let isOver = Flag()
    nonisolated(unsafe) let word = unsafe (ring.mapped.kring.base + offset)
      .assumingMemoryBound(to: Atomic<UInt32>.self)
    let thread = BackgroundThread {
      while !isOver.isSet.load(ordering: .relaxed) {
        unsafe word.pointee.store(0x7fff_fff0, ordering: .relaxed)
      }
    }
    for _ in 0..<rounds {
      ring.head = ring.count + 1
      _ = ring.sync()
    }
    isOver.isSet.store(true, ordering: .relaxed)
    thread.join()
  }

  @Test("a receive sync of a pipe continues with the cursors that its reset has stored")
  func pipeReset() throws {
    let pipe = try TestPipe(.slots(64))
    sync(pipe.slave.rx(), 20_000, writing: KRingLayout.rhead)
    #expect(pipe.slave.rx().hwcur < 64)
    #expect(pipe.slave.rx().sync() != .busy)
    pipe.master.tx().send([7])
    #expect(pipe.slave.rx().receive() == [7])
  }

  @Test("so does a receive sync of any other ring")
  func otherReset() throws {
    let ring = try StillRingTests.nullPort(8).rx()
    for _ in 0..<20 {
      sync(ring, 1000, writing: KRingLayout.rhead)
      #expect(ring.hwcur < ring.count)
    }
  }

  @Test(
    "cursors stay within the ring, whichever kring cursor a peer overwrites",
    arguments: [8, 12, 16, 20, 24])
  func cursors(offset: Int) throws {
    let pipe = try TestPipe(.slots(64))
    for ring in [pipe.master.tx(), pipe.slave.rx()] {
      sync(ring, 5000, writing: offset)
      _ = ring.sync()
      _ = ring.sync()
      #expect(ring.head < 64)
      #expect(ring.tail < 64)
    }
  }

  @Test("a ring description with a huge offset is refused without an overflow")
  func descriptions() throws {
    for field in [KRingLayout.ringOffset, KRingLayout.peerKRing, KRingLayout.peerRingOffset] {
      for value in [UInt64.max & ~127, UInt64(Int.max) & ~127, UInt64(Int.max) - 767] {
        let engine = try Engine()
        let port = try TestPort(engine, "netmap:far{1")
        unsafe port.tx().mapped.kring.base.storeBytes(
          of: value, toByteOffset: field, as: UInt64.self)
        #expect(throws: NetmapError.self) {
          _ = try engine.mapPort(port.registration, tag: port.tag)
        }
      }
    }
  }

  @Test("a binding record with a netmap_if outside the region is refused")
  func interfaceOffsets() throws {
    let engine = try Engine()
    let port = try TestPort(engine, "netmap:far{1")
    var record = try #require(port.registration.segment.binding(at: port.registration.bindingIndex))
    for offset in [port.registration.region.byteCount, Int.max] {
      record.interfaceOffset = offset
      port.registration.segment.store(record, at: port.registration.bindingIndex)
      #expect(throws: NetmapError.self) {
        _ = try engine.mapPort(port.registration, tag: port.tag)
      }
    }
  }

  @Test("counters of any value can be added")
  func counters() throws {
    let pipe = try TestPipe(.slots(8))
    let kring = unsafe pipe.slave.rx().mapped.kring
    for field in stride(from: KRingLayout.counters, to: KRingLayout.position, by: 8) {
      unsafe kring.base.storeBytes(of: UInt64.max, toByteOffset: field, as: UInt64.self)
    }
    let found = pipe.slave.rx().counters
    // Each reason's counter is -1, modulo 2^64.
    #expect(found.drops.total == 0 &- UInt64(DropReason.allCases.count))
    var sum = found
    sum += found
    #expect(sum.syncs == UInt64.max - 1)
    pipe.slave.rx().sync()
    #expect(pipe.slave.rx().counters.syncs == 0)
  }
}
