import Glibc
import Netmap
import Testing

@Suite("Waiting")
struct WaitTests {
  @Test("a wait that finds packets returns at once")
  func ready() throws {
    let pipe = try PipeFixture()
    _ = try pipe.a.send([1])
    #expect(try pipe.b.wait(for: .receive) == .receive)
    #expect(pipe.b.statistics.sleeps == 0)
  }

  @Test("a wait for which no packet comes ends after its timeout")
  func timeout() throws {
    let pipe = try PipeFixture()
    let clock = ContinuousClock()
    let start = clock.now
    #expect(try pipe.b.wait(for: .receive, timeout: .milliseconds(30)) == [])
    #expect(clock.now - start >= .milliseconds(30))
    #expect(pipe.b.statistics.sleeps >= 1)
    #expect(try pipe.b.wait(for: .receive, timeout: .zero) == [])
  }

  @Test("waiting also sends queued packets")
  func waitSends() throws {
    let pipe = try PipeFixture()
    try pipe.a.inject([9])
    #expect(try pipe.a.wait(for: .receive, timeout: .zero) == [])
    #expect(try pipe.b.takeAll() == [[9]])
  }

  @Test("waiting does not send from a port opened with NR_NO_TX_POLL")
  func noTransmitPoll() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("netmap:t{1", flags: .noTransmitPoll, engine: engine)
    let b = try NetmapPort("netmap:t}1", engine: engine)
    try a.inject([9])
    #expect(try a.wait(for: .receive, timeout: .zero) == [])
    #expect(try b.takeAll() == [])
    #expect(try a.wait(for: .transmit, timeout: .zero) == .transmit)
    #expect(try b.takeAll() == [[9]])
  }

  @Test("a poller waits for ports and other descriptors together")
  func poller() throws {
    let pipe = try PipeFixture()
    var ends: [CInt] = [0, 0]
    #expect(unsafe Glibc.pipe(&ends) == 0)
    defer { for end in ends { close(end) } }
    let poller = Poller()
    var items = [PollItem(pipe.b, for: .receive), PollItem(descriptor: ends[0])]
    #expect(try poller.wait(for: &items, timeout: .milliseconds(5)) == 0)

    var byte: UInt8 = 1
    #expect(unsafe write(ends[1], &byte, 1) == 1)
    #expect(try poller.wait(for: &items) == 1)
    #expect(items[0].ready == [] && items[1].ready == .receive)

    _ = try pipe.a.send([1])
    #expect(try poller.wait(for: &items) == 2)
    #expect(items[0].ready == .receive)
  }

  @Test("a poller refuses ports of two engines at once, but accepts them in separate waits")
  func otherEngine() throws {
    let (pipe, other) = (try PipeFixture(), try PipeFixture())
    let poller = Poller()
    for port in [pipe.a, other.a] {
      var items = [PollItem(port, for: .receive)]
      #expect(try poller.wait(for: &items, timeout: .zero) == 0)
    }
    var items = [PollItem(pipe.a, for: .receive), PollItem(other.a, for: .receive)]
    let error = #expect(throws: NetmapError.self) {
      try poller.wait(for: &items, timeout: .zero)
    }
    #expect(error?.code == .invalidArgument)
  }
}
