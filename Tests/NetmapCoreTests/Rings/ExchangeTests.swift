import NetmapCore
import Testing

/// Exchanges of buffers between rings that a close or the death of a client interrupts.
@Suite("Interrupted exchanges of buffers")
struct ExchangeTests {
  /// Two pipes of one parent; packets 1...5 wait in `source`.
  private final class Fixture {
    let engine: Engine
    let feeder: TestPort
    var source: TestPort
    var target: TestPort
    let sink: TestPort

    init() throws {
      engine = try Engine()
      feeder = try TestPort(engine, "a{1", hints: .slots(8))
      source = try TestPort(engine, "a}1")
      target = try TestPort(engine, "a{2", hints: .slots(8))
      sink = try TestPort(engine, "a}2")
      feeder.tx().send(1...5)
      source.rx().sync()
    }

    var note: ExchangeNote { unsafe source.rx().mapped.kring.exchangeNote }

    /// Does the first steps of what `forward` does with three packets.
    func exchange(pairs: Int, half: Bool, publishing heads: Int) {
      let (from, to) = unsafe (source.rx().mapped.ring, target.tx().mapped.ring)
      unsafe note.begin(source.mapped.exchangeOwner, at: 0, to: to, at: 0)
      for pair in 0..<UInt32(pairs + (half ? 1 : 0)) {
        let packet = unsafe from.load(pair)
        let word = SlotWord(
          bufferIndex: packet.bufferIndex, length: packet.length, flags: .bufferChanged)
        unsafe note.exchange(Int(pair), word, from: from.place(pair), to: to.place(pair))
        if pair == UInt32(pairs) { unsafe from.place(pair).store(SlotWord(packet)) }
      }
      if heads > 0 { target.tx().move(to: 3) }
      if heads > 1 { source.rx().move(to: 3) }
    }
  }

  /// Exchanged pairs, whether one more is half done, and how many of the two heads have moved.
  static let stages: [(Int, Bool, Int)] = [
    (0, false, 0), (0, true, 0), (1, false, 0), (1, true, 0), (2, true, 0), (3, false, 0),
    (3, false, 1), (3, false, 2),
  ]

  @Test(
    "every buffer is in one slot and every packet in one ring, whichever end closes first",
    arguments: stages, [true, false])
  func ends(testbed: (Int, Bool, Int), sourceFirst: Bool) throws {
    let fixture = try Fixture()
    fixture.exchange(pairs: testbed.0, half: testbed.1, publishing: testbed.2)
    if sourceFirst {
      fixture.source.close()
      fixture.target.close()
    } else {
      fixture.target.close()
      fixture.source.close()
    }
    #expect(fixture.engine.check().findings == [])
    // The next bindings of the ends find the packets, each once and in order.
    fixture.target = try TestPort(fixture.engine, "a{2")
    fixture.target.tx().sync()
    let passed = fixture.sink.rx().receive()
    fixture.source = try TestPort(fixture.engine, "a}1")
    let left = fixture.source.rx().receive()
    #expect(passed + left == [1, 2, 3, 4, 5])
    #expect(passed.count == testbed.0)
    #expect(unsafe fixture.note.batch == nil)
    #expect(fixture.engine.check().findings == [])
  }

  @Test("the same for a client that dies while its bindings stay open", arguments: stages)
  func dies(testbed: (Int, Bool, Int)) throws {
    let fixture = try Fixture()
    fixture.exchange(pairs: testbed.0, half: testbed.1, publishing: testbed.2)
    fixture.engine.finishExchanges(of: fixture.feeder.tag)
    #expect(unsafe fixture.note.batch != nil, "the note is another client's")
    fixture.engine.finishExchanges(of: fixture.source.tag)
    #expect(unsafe fixture.note.batch == nil)
    #expect(fixture.engine.check().findings == [])
    fixture.target.tx().sync()
    let left = fixture.source.rx().visible
    #expect(fixture.sink.rx().receive() + left == [1, 2, 3, 4, 5])
  }

  @Test("closing a binding does not end another binding's exchange")
  func others() throws {
    let fixture = try Fixture()
    let second = try TestPort(fixture.engine, "a}1")
    fixture.exchange(pairs: 1, half: true, publishing: 0)
    second.close()
    let third = try TestPort(fixture.engine, "a{2")
    third.close()
    #expect(unsafe fixture.note.batch != nil)
  }

  @Test("random words in an exchange note do no harm")
  func damaged() throws {
    let fixture = try Fixture()
    var random = SystemRandomNumberGenerator()
    let kring = unsafe fixture.source.rx().mapped.kring.base + KRingLayout.exchange
    for _ in 0..<20_000 {
      for word in 0..<4 {
        let value: UInt64 =
          switch Int.random(in: 0..<4, using: &random) {
          case 0: .random(in: 0 ... .max, using: &random)
          case 1: .random(in: 0..<64, using: &random)
          case 2:
            UInt64(fixture.source.registration.region.byteCount)
              - .random(in: 0..<9999, using: &random)
          default: fixture.source.tag.rawValue
          }
        unsafe kring.storeBytes(of: value, toByteOffset: 8 * word, as: UInt64.self)
      }
      unsafe kring.storeBytes(of: fixture.source.tag.rawValue, toByteOffset: 8, as: UInt64.self)
      if Bool.random(using: &random) {
        let ring = unsafe fixture.target.tx().mapped.ring
        unsafe kring.storeBytes(of: UInt64(ring.buffers - ring.base), as: UInt64.self)
      }
      fixture.engine.finishExchanges(of: fixture.source.tag)
      #expect(unsafe fixture.note.batch == nil)
    }
    fixture.source.close()
    fixture.target.close()
  }
}
