import NetmapCore
import NetmapTestSupport
import Testing

/// The checker reports every kind of damage, and nothing about sound memory.
@Suite("Check of an engine's memory")
struct CheckTests {
  /// Returns the findings of a check, and expects that no ring was in motion during it.
  private func findings(_ engine: Engine) -> [String] {
    let report = engine.check()
    #expect(report.moving.isEmpty)
    return report.findings
  }

  @Test("an engine in use has no findings: packets in flight, swapped buffers, extra buffers")
  func sound() throws {
    let pipe = try TestPipe(.slots(16))
    #expect(findings(pipe.engine).isEmpty)
    pipe.master.tx().send([1, 2, 3])
    #expect(findings(pipe.engine).isEmpty)
    let rx = pipe.slave.rx()
    rx.sync()
    #expect(findings(pipe.engine).isEmpty)
    let other = try TestPort(pipe.engine, "a{2", extraBuffers: 5)
    let swapped = rx[rx.head].bufferIndex
    rx[rx.head].bufferIndex = other.tx()[0].bufferIndex
    other.tx()[0].bufferIndex = swapped
    #expect(findings(pipe.engine).isEmpty)
    #expect(rx.receive() == [other.tx().payload(rx[0].bufferIndex), 2, 3])
    let report = pipe.engine.check()
    #expect(report.ports == 5)
    // At least the 32 buffers of the first pipe and the 5 extra ones.
    #expect(report.regions == 1)
    #expect(report.buffers >= 2 * 2 * 16 + 5 - 32)
    other.close()
    pipe.slave.close()
    #expect(findings(pipe.engine).isEmpty)
    pipe.master.close()
    #expect(findings(pipe.engine).isEmpty)
    #expect(pipe.engine.check().regions == 0)
  }

  @Test("objects kept for the views of a closed port are not reported as missing")
  func quarantine() throws {
    let pipe = try TestPipe(.slots(8))
    let keeper = try TestPort(pipe.engine, "a{2", extraBuffers: 3)
    pipe.engine.release(pipe.master.registration.id, keepsViews: true)
    pipe.engine.release(pipe.slave.registration.id, keepsViews: true)
    #expect(findings(pipe.engine).isEmpty)
    pipe.engine.forget(pipe.master.registration.id)
    pipe.engine.forget(pipe.slave.registration.id)
    #expect(findings(pipe.engine).isEmpty)
    keeper.close()
  }

  @Test("reports a buffer in two slots, with both slots, and the buffer that is in no slot")
  func twice() throws {
    let pipe = try TestPipe(.slots(8))
    let tx = pipe.master.tx()
    let (kept, lost) = (tx[1].bufferIndex, tx[0].bufferIndex)
    tx[0].bufferIndex = kept
    let found = findings(pipe.engine)
    #expect(found.count == 2, "\(found)")
    #expect(found.contains { $0.hasSuffix("buffer \(lost) is in no slot or list") }, "\(found)")
    let twice = found.first { $0.contains("buffer \(kept) is in") } ?? ""
    for slot in [0, 1] { #expect(twice.contains("a{1 transmit ring 0 slot \(slot)"), "\(twice)") }
  }

  @Test("reports a slot with a free buffer, and a slot with an index outside the region")
  func noBuffer() throws {
    let pipe = try TestPipe(.slots(8))
    let tx = pipe.master.tx()
    let last = UInt32(pipe.engine.check().buffers + 100)
    for (index, word) in [(last, "free"), (9_999_999, "not in the region")] {
      let before = tx[2].bufferIndex
      tx[2].bufferIndex = index
      let found = findings(pipe.engine)
      #expect(found.contains { $0.contains("slot 2 has buffer \(index), which is \(word)") })
      tx[2].bufferIndex = before
      #expect(findings(pipe.engine).isEmpty)
    }
  }

  @Test("reports a dead client's lock, but does not judge a ring that a live client has locked")
  func locks() throws {
    let pipe = try TestPipe(.slots(8))
    let tx = pipe.master.tx()
    #expect(tx.lock(ClientTag(slot: 700, epoch: 3)))
    let found = findings(pipe.engine)
    #expect(found == ["a{1 transmit ring 0: it is locked by a client that has ended"])
    tx.unlock()
    #expect(tx.lock(pipe.master.tag))
    let report = pipe.engine.check()
    #expect(report.findings.isEmpty)
    #expect(report.moving == ["a{1 transmit ring 0"])
    tx.unlock()
    #expect(findings(pipe.engine).isEmpty)
  }

  @Test("reports indexes out of range or out of order, and an application's illegal head")
  func indexes() throws {
    let pipe = try TestPipe(.slots(8))
    let tx = pipe.master.tx()
    tx.send([1])
    tx.hwcur = 9
    #expect(!findings(pipe.engine).isEmpty)
    tx.hwcur = 5
    #expect(findings(pipe.engine).contains { $0.contains("hwcur") })
    tx.hwcur = 1
    #expect(findings(pipe.engine).isEmpty)
    let head = tx.head
    tx.head = 99
    let found = findings(pipe.engine)
    #expect(found == ["a{1 transmit ring 0: the application's head 99 and cur 1 are out of range"])
    tx.head = head
    #expect(findings(pipe.engine).isEmpty)
  }

  @Test("reports damaged wait words, ring descriptions and binding records")
  func words() throws {
    let pipe = try TestPipe(.slots(8))
    let registration = pipe.master.registration
    let memory = registration.segment.memory
    let kring = unsafe try #require(registration.segment.kring(end: 0, .transmit, 0))
    let place = unsafe Int(registration.segment.offset(of: kring))
    for (offset, value, word) in [
      (KRingLayout.waitWord, UInt32(0xf000_0001), "wait word"),
      (KRingLayout.slotCount, 7, "description"), (KRingLayout.kind, 2_000, "description"),
    ] {
      let before = memory.load(at: place + offset, as: UInt32.self)
      memory.store(value, at: place + offset)
      #expect(findings(pipe.engine).contains { $0.contains(word) }, "\(word)")
      memory.store(before, at: place + offset)
      #expect(findings(pipe.engine).isEmpty)
    }
    registration.segment.clearBinding(at: registration.bindingIndex)
    #expect(
      findings(pipe.engine) == [
        "a{1: the record of binding \(registration.bindingIndex) is damaged"
      ])
  }

  @Test("confirms only the findings that two checks agree on")
  func confirmed() throws {
    let pipe = try TestPipe(.slots(8))
    let tx = pipe.master.tx()
    let first = pipe.engine.check()
    let before = tx[0].bufferIndex
    tx[0].bufferIndex = tx[1].bufferIndex
    let second = pipe.engine.check()
    #expect(first.confirmed(by: second).findings.isEmpty)
    #expect(second.confirmed(by: pipe.engine.check()).findings == second.findings)
    tx[0].bufferIndex = before
    #expect(second.confirmed(by: pipe.engine.check()).findings.isEmpty)
  }
}
