import Glibc
import NetmapTestSupport
import Synchronization
import Testing

@testable import NetmapCore

/// The order of a publication and of the look at the wait word, on two processors.
@Suite("Publications", .timeLimit(.minutes(5)))
struct PublicationTests {
  /// A number of its own cache line.
  private final class Number: Sendable {
    private let value = Atomic<Int>(0)
    private let space = [UInt8](repeating: 0, count: 256)

    var now: Int { value.load(ordering: .sequentiallyConsistent) }
    func set(_ number: Int) { value.store(number, ordering: .sequentiallyConsistent) }

    /// Waits for a round. A thread that waits for long lets others have the processor.
    func wait(for round: Int) {
      var looks = 0
      while now < round {
        looks += 1
        if looks & 0xfff == 0 { sched_yield() }
      }
    }
  }

  @Test(
    "a sender that publishes sees a sleeper that announces itself, or the sleeper sees the packet")
  func bothLook() throws {
    let pipe = try TestPipe()
    nonisolated(unsafe) let kring = unsafe pipe.master.mapped.transmit(0).kring
    let list = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 64)
    unsafe list.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
    defer { unsafe list.deallocate() }
    nonisolated(unsafe) let waitWord = unsafe kring.outboxWaitWord(list)
    let (senderBegan, senderEnded, sleeperBegan, sleeperEnded) = (
      Number(), Number(), Number(), Number()
    )
    let sleeperSaw = Number()
    let end = monotonicNanoseconds() + 1_500_000_000
    let sleeper = BackgroundThread {
      var round = 1
      while true {
        sleeperBegan.set(round)
        senderBegan.wait(for: round)
        guard senderBegan.now == round else { return }
        // The two begin at different distances from each other.
        for _ in 0..<round % 32 { _ = senderBegan.now }
        _ = unsafe waitWord.arm(7)
        sleeperSaw.set(Int(unsafe kring.acquirePosition()))
        sleeperEnded.set(round)
        senderEnded.wait(for: round)
        round += 1
      }
    }
    var (round, missed) = (0, 0)
    while monotonicNanoseconds() < end, round < 1_000_000 {
      round += 1
      sleeperBegan.wait(for: round)
      senderBegan.set(round)
      for _ in 0..<round / 32 % 32 { _ = sleeperBegan.now }
      unsafe kring.publish(position: UInt32(round))
      let saw = unsafe kring.outboxWaitWordIsSet
      senderEnded.set(round)
      sleeperEnded.wait(for: round)
      if !saw, sleeperSaw.now != round { missed += 1 }
      unsafe waitWord.disarm(7)
    }
    senderBegan.set(.max)
    sleeper.join()
    #expect(missed == 0, "in \(round) rounds")
    #expect(round > 0)
  }

  @Test("a receiver that finds a lease finished finds its contents")
  func leaseContents() {
    let byteCount = unsafe LeaseTable.entryByteCount
    let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    defer { unsafe memory.deallocate() }
    nonisolated(unsafe) let table = unsafe LeaseTable(base: memory)
    let (last, early) = (Number(), Number())
    let receiver = BackgroundThread {
      while last.now == 0 {
        for _ in 0..<1000 {
          let sequence = unsafe table.lastSequence(at: 0)
          if unsafe table.contents(at: 0).bytes < sequence { early.set(1) }
        }
      }
    }
    let end = monotonicNanoseconds() + 500_000_000
    var sequence: UInt64 = 0
    while monotonicNanoseconds() < end {
      for _ in 0..<1000 {
        sequence += 1
        let lease = Lease(sequence: sequence, start: 0, slots: 1)
        unsafe table.finish(lease, packets: 1, bytes: sequence)
      }
    }
    last.set(1)
    receiver.join()
    #expect(early.now == 0)
  }
}
