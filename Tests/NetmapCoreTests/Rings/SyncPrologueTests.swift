import NetmapCore
import Testing

@Suite("The window of head and cur")
struct SyncPrologueTests {
  /// The engine's window, the application's `head` and `cur`, and whether they are legal.
  struct Case: Sendable, CustomTestStringConvertible {
    let from: UInt32
    let limit: UInt32
    let head: UInt32
    let cur: UInt32
    let legal: Bool
    let why: String
    var testDescription: String { "\(from)..\(limit): head \(head), cur \(cur): \(why)" }

    init(
      _ from: UInt32, _ limit: UInt32, _ head: UInt32, _ cur: UInt32, _ legal: Bool, _ why: String
    ) {
      self.from = from
      self.limit = limit
      self.head = head
      self.cur = cur
      self.legal = legal
      self.why = why
    }
  }

  /// A ring of 8 slots.
  static let table: [Case] = [
    Case(2, 6, 2, 2, true, "nothing moved"),
    Case(2, 6, 4, 4, true, "head and cur advance"),
    Case(2, 6, 6, 6, true, "head up to tail"),
    Case(2, 6, 3, 5, true, "cur ahead of head"),
    Case(2, 6, 2, 6, true, "cur equal to tail"),
    Case(2, 6, 4, 3, false, "cur behind head"),
    Case(2, 6, 1, 1, false, "head goes back"),
    Case(2, 6, 7, 7, false, "head past tail"),
    Case(2, 6, 4, 7, false, "cur past tail"),
    Case(2, 6, 8, 8, false, "head equal to the slot count"),
    Case(2, 6, 4, 8, false, "cur equal to the slot count"),
    Case(6, 2, 7, 1, true, "wrapped, cur beyond the end"),
    Case(6, 2, 1, 2, true, "wrapped, head beyond the end"),
    Case(6, 2, 0, 7, false, "wrapped, cur behind head"),
    Case(6, 2, 3, 3, false, "wrapped, head past tail"),
    Case(6, 2, 7, 3, false, "wrapped, cur past tail"),
    Case(6, 2, 5, 5, false, "wrapped, head goes back"),
    Case(6, 2, 7, 8, false, "wrapped, cur out of range"),
    Case(6, 2, 7, .max, false, "wrapped, cur far out of range"),
    Case(6, 2, 9, 1, false, "wrapped, head out of range"),
    Case(3, 3, 3, 3, true, "empty window"),
    Case(3, 3, 4, 4, false, "empty window, head moved"),
    Case(3, 3, 3, 4, false, "empty window, cur moved"),
  ]

  @Test("transmit rings accept head and cur between the last head and tail", arguments: table)
  func transmitTable(_ entry: Case) throws {
    try check(try StillRingTests.nullPort(8).tx(), .transmit, entry)
  }

  @Test("receive rings accept head and cur between hwcur and hwtail", arguments: table)
  func receiveTable(_ entry: Case) throws {
    try check(try StillRingTests.nullPort(8).rx(), .receive, entry)
  }

  @Test(
    "for every window, head and cur, the check agrees with a simple reference",
    arguments: [2, 3, 5] as [UInt32])
  func exhaustive(count: UInt32) throws {
    let port = try StillRingTests.nullPort(count)
    let values = Array(0..<(count + 2)) + [.max - 1, .max]
    for from in 0..<count {
      for limit in 0..<count {
        for head in values {
          for cur in values {
            let legal = Self.isLegal(count, from, limit, head, cur)
            let entry = Case(from, limit, head, cur, legal, "")
            try check(port.tx(), .transmit, entry)
            try check(port.rx(), .receive, entry)
          }
        }
      }
    }
  }

  /// The reference, which shares no code with the engine: counts slots one by one.
  static func isLegal(
    _ count: UInt32, _ from: UInt32, _ limit: UInt32, _ head: UInt32, _ cur: UInt32
  ) -> Bool {
    var window = [from]
    while let last = window.last, last != limit { window.append((last + 1) % count) }
    guard let headPlace = window.firstIndex(of: head), let curPlace = window.firstIndex(of: cur)
    else { return false }
    return headPlace <= curPlace
  }

  private func check(_ ring: TestRing, _ direction: Direction, _ entry: Case) throws {
    // Receive rings get other values of rhead and rtail, which their check must not use.
    if direction == .transmit {
      (ring.rhead, ring.rtail) = (entry.from, entry.limit)
      (ring.hwcur, ring.hwtail) = (entry.from, entry.limit)
    } else {
      (ring.hwcur, ring.hwtail) = (entry.from, entry.limit)
      (ring.rhead, ring.rtail) = (0, 0)
    }
    (ring.head, ring.cur, ring.tail) = (entry.head, entry.cur, entry.limit)
    let resets = ring.counters.resets
    let result = ring.sync()
    #expect(result == (entry.legal ? .done : .reset), "\(direction) \(entry.testDescription)")
    if entry.legal {
      #expect([ring.head, ring.cur, ring.tail] == [entry.head, entry.cur, entry.limit])
      #expect([ring.rhead, ring.rcur] == [entry.head, entry.cur])
      #expect(ring.counters.resets == resets)
    } else {
      #expect([ring.head, ring.cur, ring.tail] == [entry.from, entry.from, entry.limit])
      #expect([ring.rhead, ring.rcur, ring.rtail] == [entry.from, entry.from, entry.limit])
      #expect(ring.counters.resets == resets + 1)
    }
  }

  @Test(
    "engine indexes out of range never reach the copy loops", arguments: [4, 5, .max] as [UInt32])
  func damagedIndexes(bad: UInt32) throws {
    let pipe = try TestPipe()
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.send([1, 2])
    tx.rhead = bad
    #expect(tx.sync() == .reset)
    #expect([tx.head, tx.cur, tx.rhead] == [2, 2, 2])
    tx.rtail = bad
    #expect(tx.sync() == .reset)
    #expect(tx.sync() == .done)
    #expect(tx.tail < 4)
    tx.hwcur = bad
    tx.head = bad
    #expect(tx.sync() == .reset)
    #expect(tx.head < 4)
    rx.sync()
    rx.hwtail = bad
    #expect(rx.sync() == .reset)
    #expect([rx.head, rx.cur, rx.tail] == [0, 0, 2])
    rx.hwcur = bad
    #expect(rx.sync() == .reset)
    #expect(rx.head < 4)
  }

  @Test("tail belongs to the engine: a sync repairs what the application writes there")
  func tailRepaired() throws {
    let pipe = try TestPipe()
    pipe.master.tx().send([1, 2])
    let rx = pipe.slave.rx()
    rx.tail = 3
    #expect(rx.sync() == .done)
    #expect(rx.tail == 2)
    let tx = pipe.master.tx()
    tx.tail = 77
    #expect(tx.sync() == .done)
    #expect(tx.tail == 3)
    #expect(tx.counters.resets == 0)
  }
}
