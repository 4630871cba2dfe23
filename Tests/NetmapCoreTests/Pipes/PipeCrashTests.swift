import NetmapCore
import Testing

@Suite("Pipes: interrupted syncs")
struct PipeCrashTests {
  /// Leaves the state of a sender that dies after storing `hwcur`, before publishing its position.
  private func dieBeforePublishing(_ tx: TestRing, upTo head: UInt32) {
    var index = tx.hwcur
    while index != head {
      tx.setPeerSlot(index, tx[index])
      index = tx.next(index)
    }
    tx.rhead = head
    tx.rcur = tx.cur
    tx.hwcur = head
  }

  @Test(
    "slots handed over but not published are published by the next sync of the ring",
    arguments: [0, 2, 3] as [UInt32])
  func sender(start: UInt32) throws {
    let pipe = try TestPipe(.slots(4))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    for number in 0..<start {
      tx.send([UInt64(number)])
      _ = rx.receive()
      tx.sync()
    }
    tx.send([100])
    tx.put([101, 102])
    dieBeforePublishing(tx, upTo: tx.head)
    rx.sync()
    #expect(rx.visible == [100])
    // The next user of the ring: another binding of the same end.
    let heir = try TestPort(pipe.engine, "a{1")
    pipe.master.close()
    let packets = heir.tx().counters.packets
    #expect(heir.tx().sync() == .done)
    rx.sync()
    #expect(rx.visible == [100, 101, 102])
    #expect(heir.tx().counters.packets == packets + 2)
    #expect(rx.receive() == [100, 101, 102])
    heir.tx().sync()
    heir.tx().send([103])
    #expect(rx.receive() == [103])
  }

  @Test("a position published but not recorded is published again, and no packet arrives twice")
  func notNoted() throws {
    let pipe = try TestPipe(.slots(8))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.send([1])
    #expect(rx.receive() == [1])
    tx.send([2, 3])
    tx.published = 1
    tx.sync()
    #expect(tx.position == 3)
    tx.send([4])
    #expect(rx.receive() == [2, 3, 4])
    rx.sync()
    rx.published = 1
    rx.sync()
    #expect((rx.position, rx.published) == (4, 4))
    tx.sync()
    #expect(tx.space == 7)
  }

  @Test("unpublished slots are published with new ones, up to the last complete packet")
  func fragments() throws {
    let pipe = try TestPipe(.slots(8))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.put([1, 2])
    tx[1].flags.insert(.moreFragments)
    dieBeforePublishing(tx, upTo: 2)
    tx.sync()
    rx.sync()
    #expect(rx.visible == [1])
    tx.put([3])
    dieBeforePublishing(tx, upTo: 3)
    tx.send([4])
    rx.sync()
    #expect(rx.visible == [1, 2, 3, 4])
    #expect(tx.counters.packets == 3)
    #expect(tx.counters.bytes == 240)
  }

  @Test("a sync that was interrupted while it copied slots is repeated")
  func duringCopy() throws {
    let pipe = try TestPipe(.slots(8))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.put([1, 2, 3])
    tx.setPeerSlot(0, tx[0])
    tx.rhead = 3
    tx.rcur = 3
    tx.sync()
    #expect(rx.receive() == [1, 2, 3])
    #expect(tx.counters.packets == 3)
  }

  @Test("slots returned but not published are published by the receiver's next sync")
  func receiver() throws {
    let pipe = try TestPipe(.slots(4))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.send([1, 2, 3])
    rx.sync()
    rx.move(to: 2)
    for index: UInt32 in 0..<2 { rx.setPeerSlot(index, rx[index]) }
    (rx.rhead, rx.rcur, rx.hwcur) = (2, 2, 2)
    tx.sync()
    #expect(tx.space == 0)
    rx.sync()
    tx.sync()
    #expect(tx.space == 2)
    #expect(rx.visible == [3])
  }

  @Test(
    "a dead client's lock blocks its ring only; once it is released, a sync repairs the ring")
  func lockLeft() throws {
    let pipe = try TestPipe(.slots(8))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.send([1])
    tx.put([2, 3])
    dieBeforePublishing(tx, upTo: 3)
    #expect(tx.lock(pipe.master.tag))
    pipe.engine.removeClient(pipe.master.tag)
    #expect(rx.receive() == [1])
    pipe.slave.tx().send([9])
    #expect(pipe.master.rx().receive() == [9])
    #expect(tx.sync() == .busy)
    #expect(
      tx.lockHolder == pipe.master.tag.rawValue, "the lock still has the tag of the dead client")
    #expect(pipe.engine.directory.process(of: pipe.master.tag) == nil)
    tx.unlock()
    #expect(tx.sync() == .done)
    #expect(rx.receive() == [2, 3])
  }

  @Test("closing an end whose ring is locked does not wait")
  func closeLocked() throws {
    let pipe = try TestPipe()
    #expect(pipe.master.tx().lock(pipe.master.tag))
    pipe.master.close()
    #expect(pipe.slave.rx().sync() == .done)
    pipe.slave.close()
    #expect(pipe.engine.directory.entries.isEmpty)
  }
}
