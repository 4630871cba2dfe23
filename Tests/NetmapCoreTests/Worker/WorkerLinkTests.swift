import Glibc
import NetmapCore
import Synchronization
import Testing

@Suite("The worker's link of an isolated port")
struct WorkerLinkTests {
  private final class Flag: Sendable {
    let isSet = Atomic<Bool>(false)
  }

  @Test("ends soon after the port was closed, also where its process goes on sending")
  func endsThoughItIsSentTo() throws {
    let engine = try Engine()
    let hints = RingGeometryHints.slots(64)
    let process = try TestPort(engine, "netmap:outside{1", hints: hints)
    let outside = try TestPort(engine, "netmap:outside}1", hints: hints)
    let inside = try TestPort(engine, "netmap:inside{1", hints: hints)
    let peer = try TestPort(engine, "netmap:inside}1", hints: hints)
    let (hasEnded, isOver) = (Flag(), Flag())
    nonisolated(unsafe) let (insidePort, outsidePort) = (inside.attached, outside.attached)
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

  @Test("delivers what was sent before the port was closed")
  func deliversWhatWasSent() throws {
    let engine = try Engine()
    let hints = RingGeometryHints.slots(64)
    let process = try TestPort(engine, "netmap:outside{1", hints: hints)
    let outside = try TestPort(engine, "netmap:outside}1", hints: hints)
    let inside = try TestPort(engine, "netmap:inside{1", hints: hints)
    let peer = try TestPort(engine, "netmap:inside}1", hints: hints)
    nonisolated(unsafe) let (insidePort, outsidePort) = (inside.attached, outside.attached)
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
