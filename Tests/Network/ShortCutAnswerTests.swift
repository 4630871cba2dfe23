import Glibc
import Netmap
import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

/// Questions and answers over a veth whose two ends are joined and withdrawn meanwhile.
@Suite(.serialized) struct ShortCutAnswerTests {
  private struct Handover: @unchecked Sendable { let port: RawPort }

  private final class Progress: Sendable {
    let isDone = Atomic(false)
    let hasAllAnswers = Atomic(false)
    let answers = Atomic(0)
  }

  @Test(
    "a program that syncs once, and then waits for the answer, gets it while the ends are being joined",
    .timeLimit(.minutes(15)))
  func syncsOnce() throws {
    try NetworkNamespace.run {
      let fixture = try ShortCutFixture()
      let near = try Handover(port: RawPort(fixture.engine, "near"))
      let far = try Handover(port: fixture.openFar())
      fixture.expectJoined(2, "both ends are open")
      let progress = Progress()
      let responder = try NamespaceThread {
        while !progress.hasAllAnswers.load(ordering: .acquiring) {
          far.port.sync(.receive)
          let ring = unsafe far.port.receive
          guard unsafe ring.head != ring.tail else {
            usleep(20)
            continue
          }
          while unsafe ring.head != ring.tail {
            let slot = unsafe ring.load(ring.head)
            far.port.put(unsafe far.port.bytes(ring, slot.bufferIndex, Int(slot.length)))
            unsafe far.port.handOver(ring)
          }
          far.port.sync(.transmit)
        }
      }.start()
      let asker = try NamespaceThread { () -> String? in
        var number = 0
        while !progress.isDone.load(ordering: .acquiring) {
          near.port.put(numberedFrame(number, length: 60))
          near.port.sync(.transmit)
          // No further transmit sync before the answer.
          let end = ContinuousClock.now + .seconds(20)
          var answer: Int?
          while answer == nil {
            guard ContinuousClock.now < end else { return "no answer to packet \(number)" }
            near.port.sync(.receive)
            let ring = unsafe near.port.receive
            while answer == nil, unsafe ring.head != ring.tail {
              let slot = unsafe ring.load(ring.head)
              // The kernel sends packets of its own.
              answer = numberInFrame(
                unsafe near.port.bytes(ring, slot.bufferIndex, Int(slot.length)))
              unsafe near.port.handOver(ring)
            }
          }
          guard answer == number else { return "\(answer ?? -1) answers packet \(number)" }
          number += 1
          progress.answers.store(number, ordering: .releasing)
        }
        return nil
      }.start()
      for round in 0..<10 {
        for (change, lanes) in [("add", 0), ("del", 2)] {
          try fixture.runThere("tc", "qdisc", change, "dev", "far", "root", "pfifo")
          fixture.expectJoined(lanes, "\(change), round \(round)")
          let target = progress.answers.load(ordering: .acquiring) + 100
          let end = ContinuousClock.now + .seconds(20)
          while progress.answers.load(ordering: .acquiring) < target, ContinuousClock.now < end {
            usleep(500)
          }
          #expect(
            progress.answers.load(ordering: .acquiring) >= target, "\(change), round \(round)")
        }
      }
      progress.isDone.store(true, ordering: .releasing)
      #expect(try asker.join() == nil)
      progress.hasAllAnswers.store(true, ordering: .releasing)
      try responder.join()
      near.port.close()
      far.port.close()
      #expect(fixture.engine.check().findings == [])
    }
  }
}
