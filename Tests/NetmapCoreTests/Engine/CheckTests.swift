import NetmapCore
import NetmapTestSupport
import Testing

/// The checker finds what is wrong, and nothing where nothing is.
@Suite("Check of an engine's memory")
struct CheckTests {
  /// What the engine finds, and that nothing was in motion.
  private func findings(_ engine: Engine) -> [String] {
    let report = engine.check()
    #expect(report.moving.isEmpty)
    return report.findings
  }

  @Test("an engine in use is sound: packets under way, buffers swapped, extra ones, several rings")
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
    // Two pairs of 15 and one free slot in each direction, and the list.
    #expect(report.regions == 1)
    #expect(report.buffers >= 2 * 2 * 16 + 5 - 32)
    other.close()
    pipe.slave.close()
    #expect(findings(pipe.engine).isEmpty)
    pipe.master.close()
    #expect(findings(pipe.engine).isEmpty)
    #expect(pipe.engine.check().regions == 0)
  }

  @Test("what is kept for a closed port that may still be looked at is not missed")
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

  @Test("a buffer in two slots is found, with both, and the one that is nowhere")
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

  @Test("a slot that names a free buffer, or none at all, is found")
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

  @Test("a lock of the dead is found; a ring that the living have locked is not judged")
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

  @Test("indexes out of range, out of order, and an application's bad head are found")
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

  @Test("damage to wait words, descriptions of rings and records of bindings is found")
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

  @Test("what two checks do not agree about is not believed")
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
