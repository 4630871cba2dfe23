import Glibc
import NetmapTestSupport
import Synchronization
import Testing

@testable import NetmapCore

/// When a process lets go of what it has mapped of other ports.
@Suite("VALE: what a process keeps of ports that have left", .timeLimit(.minutes(5)))
struct SyncEpochTests {
  private let vale: TestSwitch
  private let table = DestinationTable()

  init() throws { vale = try TestSwitch(2) }

  /// Mappings of their own of a port's memory.
  private final class Mapping {
    weak let region: SharedMemory?
    init(_ region: SharedMemory) { self.region = region }
    var isMapped: Bool { region != nil }
  }

  /// Makes a port reachable at an index, by new mappings.
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
    "what a sync may be using stays until that sync is over, whichever ring it is of",
    arguments: Direction.allCases, [0, 7, 15])
  func keepsWhatIsInUse(_ direction: Direction, ring: Int) throws {
    let epoch = unsafe table.join(0, 1).epoch(direction, ring)
    let mapping = try install(1, 5)
    #expect(unsafe epoch.enter())
    table.retire(1)
    #expect(mapping.isMapped && table.keptCount == 1)
    // A sync that begins later changes nothing.
    let other = unsafe table.join(3, 1).epoch(direction, ring)
    #expect(unsafe other.enter())
    #expect(table.sweep() && mapping.isMapped)
    unsafe epoch.leave()
    #expect(!table.sweep())
    #expect(!mapping.isMapped)
    unsafe other.leave()
  }

  @Test("a sync that goes on to the next one holds nothing up")
  func movesOn() throws {
    let epoch = unsafe table.join(0, 1).epoch(.receive, 0)
    let mapping = try install(1, 5)
    #expect(unsafe epoch.enter())
    // Another incarnation takes its place.
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

  @Test("locks and counters that others write free nothing and keep nothing", arguments: [0, 1])
  func forgedWords(lock: UInt64) throws {
    let sender = vale[0]
    let destinations = try #require(sender.mapped.vale).destinations
    let holder = ClientTag(slot: 900, epoch: 77)
    let kring = unsafe sender.tx().mapped.kring
    let epoch = unsafe try #require(sender.tx().mapped.parts.pointee.switching).pointee.epoch
    if lock == 1 {
      #expect(sender.tx().lock(holder))
    } else {
      // A sync is under way, and its lock and count say that it is over.
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

  @Test("a ring whose lock others clear is not synced by two threads of a process")
  func oneThread() throws {
    for ring in [vale[0].tx(), vale[0].rx()] {
      let epoch = unsafe try #require(ring.mapped.parts.pointee.switching).pointee.epoch
      #expect(unsafe epoch.enter())
      #expect(ring.lockHolder == 0)
      #expect(ring.sync() == .busy)
      unsafe epoch.leave()
      #expect(ring.sync() == .done)
    }
    // All who attach the port in this process share that.
    let again = try vale.engine.mapPort(vale[0].registration, tag: vale[0].tag)
    let epoch = unsafe try #require(again.transmit(0).parts.pointee.switching).pointee.epoch
    #expect(unsafe epoch.enter())
    #expect(vale[0].tx().sync() == .busy)
    unsafe epoch.leave()
  }

  @Test("a lock in a process's own name that it has not taken holds it up for no sync")
  func ownName() throws {
    for ring in [vale[0].tx(), vale[0].rx()] {
      #expect(ring.lock(vale[0].tag))
      #expect(ring.sync() == .done)
      #expect(ring.lockHolder == 0)
      // Another one's is respected.
      #expect(ring.lock(vale[1].tag))
      #expect(ring.sync() == .busy)
      ring.unlock()
      #expect(ring.sync() == .done)
    }
  }

  @Test("a lock counts in the name of who has the port mapped, and of nobody else")
  func segmentUsers() throws {
    let engine = try Engine()
    let sender = try TestPort(engine, "vale3:a")
    let receiver = try TestPort(engine, "vale3:b")
    let other = try TestPort(engine, "vale3:c")
    let users = try #require(sender.registration.segment.users)
    users.add(sender.tag)
    // Its own, alive, and not on this ring.
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

  @Test("threads that look for a port while it comes and goes touch nothing that is unmapped")
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
