import Glibc
import NetmapTestSupport
import Synchronization
import Testing

@testable import NetmapCore

/// When a process unmaps the memory of other ports.
@Suite("VALE: mappings of closed ports", .timeLimit(.minutes(15)))
struct SyncEpochTests {
  private let vale: TestSwitch
  private let table = DestinationTable()

  init() throws { vale = try TestSwitch(2) }

  /// A mapping of a port's memory that only the test uses.
  private final class Mapping {
    weak let region: SharedMemory?
    init(_ region: SharedMemory) { self.region = region }
    var isMapped: Bool { region != nil }
  }

  /// Makes a port reachable at an index, with new mappings.
  private func install(_ index: Int, _ generation: UInt32) throws -> Mapping {
    let known = vale[1].registration
    let region = try SharedMemory(mapping: known.region.descriptor)
    try table.install(
      index, region: region,
      segment: SyncSegment(mapping: SharedMemory(mapping: known.segment.memory.descriptor)),
      generation: generation)
    return Mapping(region)
  }

  @Test(
    "a mapping that a sync may be using stays until that sync is over, on any ring",
    arguments: Direction.allCases, [0, 7, 15])
  func keepsWhatIsInUse(_ direction: Direction, ring: Int) throws {
    let epoch = unsafe table.join(0, 1).epoch(direction, ring)
    let mapping = try install(1, 5)
    #expect(unsafe epoch.enter())
    table.retire(1)
    #expect(mapping.isMapped && table.keptCount == 1)
    // A sync that begins later does not use the mapping.
    let other = unsafe table.join(3, 1).epoch(direction, ring)
    #expect(unsafe other.enter())
    #expect(table.sweep() && mapping.isMapped)
    unsafe epoch.leave()
    #expect(!table.sweep())
    #expect(!mapping.isMapped)
    unsafe other.leave()
  }

  @Test("a ring that has begun its next sync no longer keeps the mapping")
  func movesOn() throws {
    let epoch = unsafe table.join(0, 1).epoch(.receive, 0)
    let mapping = try install(1, 5)
    #expect(unsafe epoch.enter())
    // Another generation takes its place.
    let next = try install(1, 6)
    #expect(mapping.isMapped)
    unsafe epoch.leave()
    #expect(unsafe epoch.enter())
    table.sweep()
    #expect(!mapping.isMapped && next.isMapped)
    table.retire(1)
    #expect(next.isMapped)
    unsafe epoch.leave()
    table.leave(0, 1)
    #expect(!next.isMapped)
  }

  @Test("locks and counters that peers write neither free nor keep a mapping", arguments: [0, 1])
  func forgedWords(lock: UInt64) throws {
    let sender = vale[0]
    let destinations = try #require(sender.mapped.vale).destinations
    let holder = ClientTag(slot: 900, epoch: 77)
    let kring = unsafe sender.tx().mapped.kring
    let epoch = unsafe try #require(sender.tx().mapped.parts.pointee.switching).pointee.epoch
    if lock == 1 {
      #expect(sender.tx().lock(holder))
    } else {
      // A sync is in progress, but its lock and count say that it is over.
      #expect(unsafe epoch.enter())
      unsafe kring.count(.syncs)
    }
    vale[1].close()
    #expect(destinations.keptCount == (lock == 1 ? 0 : 1))
    if lock == 0 {
      unsafe kring.count(.syncs)
      #expect(destinations.sweep())
      unsafe epoch.leave()
      #expect(!destinations.sweep())
    }
  }

  @Test("two threads of a process do not sync a ring at once, even if a peer clears its lock")
  func oneThread() throws {
    for ring in [vale[0].tx(), vale[0].rx()] {
      let epoch = unsafe try #require(ring.mapped.parts.pointee.switching).pointee.epoch
      #expect(unsafe epoch.enter())
      #expect(ring.lockHolder == 0)
      #expect(ring.sync() == .busy)
      unsafe epoch.leave()
      #expect(ring.sync() == .done)
    }
    // All mappings of the port in this process share the epoch.
    let again = try vale.engine.mapPort(vale[0].registration, tag: vale[0].tag)
    let epoch = unsafe try #require(again.transmit(0).parts.pointee.switching).pointee.epoch
    #expect(unsafe epoch.enter())
    #expect(vale[0].tx().sync() == .busy)
    unsafe epoch.leave()
  }

  @Test("a forged lock in a process's own name does not stop its syncs")
  func ownName() throws {
    for ring in [vale[0].tx(), vale[0].rx()] {
      #expect(ring.lock(vale[0].tag))
      #expect(ring.sync() == .done)
      #expect(ring.lockHolder == 0)
      // Another client's lock is respected.
      #expect(ring.lock(vale[1].tag))
      #expect(ring.sync() == .busy)
      ring.unlock()
      #expect(ring.sync() == .done)
    }
  }

  @Test("only locks of clients that have the port mapped count")
  func segmentUsers() throws {
    let engine = try Engine()
    let sender = try TestPort(engine, "vale3:a")
    let receiver = try TestPort(engine, "vale3:b")
    let other = try TestPort(engine, "vale3:c")
    let users = try #require(sender.registration.segment.users)
    users.add(sender.tag)
    // A live client that does not have this port mapped.
    #expect(sender.tx().lock(other.tag))
    receiver.close()
    #expect(try engine.exclusively { $0.leaving.count } == 0)
    sender.tx().unlock()
    #expect(sender.tx().lock(sender.tag))
    let next = try TestPort(engine, "vale3:d")
    next.close()
    #expect(try engine.exclusively { $0.leaving.count } == 1)
    users.remove(sender.tag)
    #expect(try engine.exclusively { $0.leaving.count } == 0)
  }

  @Test("threads that look up a port while it comes and goes access no unmapped memory")
  func comesAndGoes() throws {
    let isOver = Atomic<Bool>(false)
    let looked = Atomic<Int>(0)
    let table = table
    let epochs = table.join(0, 1)
    let threads = Direction.allCases.map { direction in
      BackgroundThread {
        let own = unsafe epochs.epoch(direction, 0)
        while !isOver.load(ordering: .acquiring) {
          guard unsafe own.enter() else { continue }
          if let found = unsafe findDestination(table.cells, 1, 7, nil) {
            for _ in 0..<64 {
              _ = unsafe found.pointee.kring(0).outboxWaitWordIsSet
              _ = unsafe found.pointee.region.load(as: UInt64.self)
            }
            looked.wrappingAdd(1, ordering: .relaxed)
          }
          unsafe own.leave()
        }
      }
    }
    let end = monotonicNanoseconds() + 1_500_000_000
    while monotonicNanoseconds() < end {
      _ = try install(1, 7)
      sched_yield()
      table.retire(1)
    }
    isOver.store(true, ordering: .releasing)
    for thread in threads { thread.join() }
    #expect(!table.sweep())
    #expect(looked.load(ordering: .relaxed) > 0)
  }
}
