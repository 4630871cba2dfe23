import Glibc
import Synchronization
import Testing

@testable import NetmapCore

@Suite("The worker's link of an isolated port")
struct WorkerLinkTests {
  private final class Flag: Sendable {
    let isSet = Atomic<Bool>(false)
  }

  @Test("ends soon after the port was closed, even if its process goes on sending")
  func endsThoughItIsSentTo() throws {
    let engine = try Engine()
    let hints = RingGeometryHints.slots(64)
    let process = try TestPort(engine, "netmap:outside{1", hints: hints)
    let outside = try TestPort(engine, "netmap:outside}1", hints: hints)
    let inside = try TestPort(engine, "netmap:inside{1", hints: hints)
    let peer = try TestPort(engine, "netmap:inside}1", hints: hints)
    let (hasEnded, isOver) = (Flag(), Flag())
    nonisolated(unsafe) let (insidePort, outsidePort) = (inside.mapped, outside.mapped)
    let worker = try Worker(doorbells: engine.doorbells)
    let number = unsafe try worker.add(
      WorkerLink(inside: insidePort, outside: outsidePort) {
        hasEnded.isSet.store(true, ordering: .releasing)
      })
    nonisolated(unsafe) let (output, input) = (process.tx(), peer.rx())
    let thread = BackgroundThread {
      while !isOver.isSet.load(ordering: .acquiring) {
        if unsafe output.space > 0 { unsafe output.send([1]) }
        unsafe output.sync()
        unsafe input.sync()
        unsafe input.move(to: input.tail)
      }
    }
    let arrives = eventually { peer.rx().counters.packets > 1000 }
    #expect(arrives)
    worker.close(number)
    let ends = eventually { hasEnded.isSet.load(ordering: .acquiring) }
    #expect(ends)
    isOver.isSet.store(true, ordering: .releasing)
    thread.join()
    worker.stop()
  }

  /// Two pipes whose outer ends have transmit rings full of slots of length 0.
  private func fullOfNothing(
    rings: UInt16
  ) throws -> (link: WorkerLink, process: TestPort, kept: [TestPort], slots: Int) {
    let engine = try Engine()
    let hints = RingGeometryHints(
      transmitSlots: 64, receiveSlots: 64, transmitRings: rings, receiveRings: rings)
    let process = try TestPort(engine, "netmap:outside{1", hints: hints)
    let outside = try TestPort(engine, "netmap:outside}1", hints: hints)
    let inside = try TestPort(engine, "netmap:inside{1", hints: hints)
    let peer = try TestPort(engine, "netmap:inside}1", hints: hints)
    var slots = 0
    for port in [process, peer] {
      for index in 0..<port.mapped.transmitCount {
        let ring = port.tx(index)
        while ring.head != ring.tail {
          ring[ring.head].length = 0
          ring.move(to: ring.next(ring.head))
          slots += 1
        }
        ring.sync()
      }
    }
    return (
      WorkerLink(inside: inside.mapped, outside: outside.mapped) {}, process,
      [outside, inside, peer], slots
    )
  }

  @Test(
    "with slots of length 0, in any number of rings, a turn stays within its budget",
    arguments: [1, 4, 248] as [UInt16])
  func turnOfNothing(rings: UInt16) throws {
    let (link, process, kept, slots) = try fullOfNothing(rings: rings)
    #expect(process.mapped.transmitCount == Int(rings))
    var (left, turns) = (slots, 0)
    while left > 0, turns < 1000 {
      let syncs = ([process] + kept).reduce(0) { $0 + Self.syncs($1) }
      let moved = link.turn()
      #expect(moved > 0 && moved <= 2 * TurnBudget.slotsMax)
      let made = ([process] + kept).reduce(0) { $0 + Self.syncs($1) } - syncs
      #expect(made <= 2 * 4 * TurnBudget.slotsMax / TurnBudget.ringCost, "\(made) syncs")
      left -= moved
      turns += 1
    }
    // The turns have served every ring.
    #expect(left == 0)
    withExtendedLifetime(kept) {}
  }

  private static func syncs(_ port: TestPort) -> Int {
    (0..<port.mapped.transmitCount).reduce(0) { $0 + Int(port.tx($1).counters.syncs) }
      + (0..<port.mapped.receiveCount).reduce(0) { $0 + Int(port.rx($1).counters.syncs) }
  }

  @Test("a slot that a peer has damaged costs one packet, and the packets behind it arrive")
  func spoiledTarget() throws {
    let engine = try Engine()
    let process = try TestPort(engine, "netmap:outside{1")
    let outside = try TestPort(engine, "netmap:outside}1")
    let inside = try TestPort(engine, "netmap:inside{1")
    let peer = try TestPort(engine, "netmap:inside}1")
    let link = WorkerLink(inside: inside.mapped, outside: outside.mapped) {}
    let ring = inside.tx()
    // Any process that has the inside port mapped can write there.
    ring[ring.head].bufferIndex = .max
    for number in 1...10 as ClosedRange<UInt64> {
      process.tx().send(number)
      _ = link.turn()
    }
    #expect(peer.rx().receive().suffix(9) == Array(2...10))
    #expect(ring.counters.drops[.badBufferIndex] == 1)
  }

  @Test("delivers packets sent before the port was closed")
  func deliversWhatWasSent() throws {
    let engine = try Engine()
    let hints = RingGeometryHints.slots(64)
    let process = try TestPort(engine, "netmap:outside{1", hints: hints)
    let outside = try TestPort(engine, "netmap:outside}1", hints: hints)
    let inside = try TestPort(engine, "netmap:inside{1", hints: hints)
    let peer = try TestPort(engine, "netmap:inside}1", hints: hints)
    nonisolated(unsafe) let (insidePort, outsidePort) = (inside.mapped, outside.mapped)
    process.tx().send(Array(1...50))
    let hasEnded = Flag()
    let worker = try Worker(doorbells: engine.doorbells)
    let number = unsafe try worker.add(
      WorkerLink(inside: insidePort, outside: outsidePort) {
        hasEnded.isSet.store(true, ordering: .releasing)
      })
    worker.close(number)
    let ends = eventually { hasEnded.isSet.load(ordering: .acquiring) }
    #expect(ends)
    #expect(peer.rx().receive() == Array(1...50))
    worker.stop()
  }
}
