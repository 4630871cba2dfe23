import NetmapCore
import NetmapTestSupport
import Testing

/// The checker finds receive rings on a switch that wait for a lease which no sender will finish.
@Suite("Check of the leases of a switch")
struct LeaseCheckTests {
  private let vale: TestSwitch
  private let (a, b): (TestPort, TestPort)

  init() throws {
    vale = try TestSwitch(2, hints: .slots(64))
    (a, b) = (vale[0], vale[1])
  }

  private var findings: [String] { vale.engine.check().findings }

  private func send(_ numbers: Range<UInt32>) {
    for number in numbers {
      a.tx().send(TestFrame(target: .station(9), source: .station(0), number: number))
    }
  }

  private func reserve(_ slots: UInt32) -> Bool {
    let kring = unsafe b.mapped.receive(0).kring
    let known = unsafe kring.reservation
    return unsafe kring.reserve(from: known, upTo: known.following(slots, of: 64)).isOurs
  }

  @Test("finished leases that the receiver has not taken over are no fault")
  func unread() {
    send(0..<5)
    #expect(findings.isEmpty)
    #expect(b.rx().takePackets().count == 5)
    #expect(findings.isEmpty)
  }

  @Test("reserved slots that no sender has announced are a fault, also behind finished leases")
  func lost() {
    send(0..<2)
    #expect(reserve(3))
    send(2..<4)
    // The receiver has not looked: it still waits for the first lease, which is finished.
    #expect(findings.isEmpty)
    #expect(b.rx().takePackets().count == 2)
    let found = findings
    #expect(found.count == 1, "\(found)")
    #expect(found.first?.contains("vale0:p1 receive ring 0") ?? false, "\(found)")
    #expect(found.first?.contains("which no sender will finish") ?? false, "\(found)")
  }

  @Test("a lease that a dead sender has announced is no fault once it is finished")
  func repaired() {
    #expect(a.tx().lock(a.tag))
    unsafe a.mapped.transmit(0).kring.announce(
      LeaseTarget(
        port: b.mapped.vale?.index ?? 0, generation: b.mapped.vale?.generation ?? 0, ring: 0),
      b.mapped.receive(0).kring.reservation, slots: 3)
    #expect(reserve(3))
    #expect(vale.engine.finishLeases(of: a.tag) == 1)
    a.tx().unlock()
    #expect(findings.isEmpty)
    b.rx().sync()
    #expect(findings.isEmpty)
  }

  @Test("a lease of more slots than the ring has is a fault")
  func long() {
    let kring = unsafe b.mapped.receive(0).kring
    let known = unsafe kring.reservation
    #expect(reserve(3))
    let memory = b.registration.segment.memory
    // The leases of the only receive ring follow the last kring.
    let table = Int(unsafe b.registration.segment.offset(of: kring)) + KRingLayout.byteCount
    memory.store(known.sequence << 16 | 64, at: table + 16 * Int(known.next))
    let found = findings
    #expect(found.count == 1, "\(found)")
    #expect(found.first?.contains("claims 64 slots of 64") ?? false, "\(found)")
  }
}
