import NetmapCore
import Testing

@Suite("Pipes: an end that is not open")
struct PipeAbsenceTests {
  @Test("without a receiver n-1 packets can be sent, then the ring is full; nothing is lost")
  func backlog() throws {
    let engine = try Engine()
    let master = try TestPort(engine, "a{1", hints: .slots(8))
    let tx = master.tx()
    for number: UInt64 in 0..<7 { tx.send(number) }
    for _ in 0..<3 {
      tx.sync()
      #expect(tx.space == 0)
      #expect(master.mapped.scan(.transmit).isEmpty)
    }
    let slave = try TestPort(engine, "a}1")
    #expect(slave.rx().receive() == Array(0..<7))
    tx.sync()
    #expect(tx.space == 7)
  }

  @Test("closing one end is no error for the other: packets in both directions stay")
  func peerCloses() throws {
    let pipe = try TestPipe(.slots(8))
    pipe.slave.tx().send([1, 2, 3])
    pipe.master.tx().send([4, 5])
    pipe.slave.close()
    #expect(pipe.master.rx().receive() == [1, 2, 3])
    pipe.master.tx().send([6, 7, 8, 9, 10])
    #expect(pipe.master.tx().space == 0)
    #expect(pipe.master.mapped.scan([.receive, .transmit]).isEmpty)
    let again = try TestPort(pipe.engine, "a}1")
    #expect(again.rx().receive() == [4, 5, 6, 7, 8, 9, 10])
    again.tx().send([11])
    #expect(pipe.master.rx().receive() == [11])
  }

  @Test("an end that is opened again has the same head, cur and tail as before")
  func exactPositions() throws {
    let pipe = try TestPipe(.slots(8))
    let (tx, rx) = (pipe.slave.tx(), pipe.slave.rx())
    pipe.master.tx().send([0, 1, 2, 3])
    rx.sync()
    rx.head = 1
    rx.cur = 3
    rx.sync()
    tx.send([10, 11])
    // Written, not synced.
    tx.put([12])
    tx.cur = 5
    let before = [rx.head, rx.cur, rx.tail, tx.head, tx.cur, tx.tail]
    let slots = rx.slots + tx.slots
    pipe.slave.close()
    pipe.master.tx().send([4])
    let again = try TestPort(pipe.engine, "a}1")
    let (tx2, rx2) = (again.tx(), again.rx())
    #expect([rx2.head, rx2.cur, rx2.tail, tx2.head, tx2.cur, tx2.tail] == before)
    #expect(rx2.slots[1..<4] == slots[1..<4])
    #expect(tx2.slots == Array(slots[8...]))
    rx2.sync()
    tx2.sync()
    #expect(rx2.visible == [1, 2, 3, 4])
    #expect(pipe.master.rx().receive() == [10, 11, 12])
  }

  @Test("closing both ends removes the pipe and its backlog")
  func bothClosed() throws {
    let engine = try Engine()
    var pipe: TestPipe? = try TestPipe(.slots(8), engine: engine)
    pipe?.master.tx().send([1, 2])
    pipe?.slave.close()
    pipe?.master.close()
    pipe = nil
    let fresh = try TestPipe(.slots(16), engine: engine)
    #expect(fresh.slave.rx().receive().isEmpty)
    #expect([fresh.master.tx().head, fresh.master.tx().tail] == [0, 15])
  }

  @Test("closing a binding twice has no further effect")
  func closeTwice() throws {
    let engine = try Engine()
    let first = try TestPort(engine, "a{1", hints: .slots(4))
    let second = try TestPort(engine, "a{1")
    engine.release(first.registration.id)
    engine.release(first.registration.id)
    #expect(engine.directory.entries.map(\.bindings) == [1])
    second.tx().send([1])
    _ = try TestPort(engine, "a}1", flags: .exclusive)
  }
}
