import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

@Suite("Pipes between processes", .timeLimit(.minutes(15)))
struct TwoProcessTests {
  @Test("a million packets from one process to another: none is lost, damaged or out of order")
  func transfer() throws {
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{1", "1000000"])
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "1000000", "256"])
    #expect(rest(of: sender) == "sent 1000000\n")
    #expect(rest(of: receiver) == "received 1000000 of 1, last 999999\n")
    #expect(sender.wait() == 0 && receiver.wait() == 0)
  }

  @Test("both sides sleep and wake each other, packet by packet")
  func pingPong() throws {
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{1", "20000"])
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "20000", "1"])
    #expect(rest(of: sender) == "sent 20000\n")
    #expect(rest(of: receiver) == "received 20000 of 1, last 19999\n")
    _ = (sender.wait(), receiver.wait())
  }

  @Test("packets sent before the other end is open arrive, even after the sender has ended")
  func early() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let sender = try NetmapPort("netmap:p{1", engine: engine)
    try sender.inject([1, 2, 3])
    try sender.sync(.transmit)
    let receiver = try NetmapPort("netmap:p}1", engine: engine)
    sender.close()
    #expect(try receiver.wait(for: .receive, timeout: .seconds(5)) == .receive)
    var ring = receiver.receiveRing(0)
    #expect(ring.next()?.bytes.byteCount == 3)
  }

  @Test("an exclusive port is free as soon as it has been closed")
  func closeIsSynchronous() throws {
    let fixture = try DaemonFixture()
    // In a separate process: other tests start programs, and a new child has a copy of every descriptor for a
    // moment.
    let program = try TestProgram(fixture.command(["reopen", "netmap:p{1/x", "1000"]))
    #expect(rest(of: program) == "reopened 1000\n")
    #expect(program.wait() == 0)
  }

  @Test("an exclusive port is free as soon as its process has been killed")
  func deathIsSynchronous() throws {
    let fixture = try DaemonFixture()
    for round in 0..<20 {
      let holder = try fixture.peer(["receive", "netmap:p{1/x", "0"])
      let engine = try fixture.engine()
      #expect(throws: NetmapError.self, "round \(round)") {
        try NetmapPort("netmap:p{1", engine: engine)
      }
      holder.kill(SIGKILL)
      _ = try NetmapPort("netmap:p{1/x", engine: engine)
    }
  }

  @Test("refusals are those of the embedded engine, word for word")
  func refusals() throws {
    let fixture = try DaemonFixture()
    let (host, embedded) = (try fixture.engine(), try EmbeddedEngine())
    for name in ["netmap:p{1^", "netmap:p{1-9", "netmap:p{1@77"] {
      let errors = [host as any PortEngine, embedded].map { engine in
        #expect(throws: NetmapError.self) { try NetmapPort(name, engine: engine) }
      }
      #expect(errors[0] == errors[1], "\(name)")
      #expect(errors[0] != nil)
    }
  }

  @Test("a client can list the ports of all clients, with their processes and counters")
  func listing() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let (a, b) = (
      try NetmapPort("netmap:p{1", engine: engine), try NetmapPort("netmap:p}1", engine: engine)
    )
    try a.inject([UInt8](repeating: 7, count: 60))
    try a.sync(.transmit)
    try b.sync(.receive)
    let list = try fixture.engine().listing()
    #expect(list.map(\.name) == ["p{1", "p}1"])
    #expect(list.allSatisfy { $0.processes == [getpid()] })
    #expect((list[0].transmit.packets, list[0].transmit.bytes) == (1, 60))
    #expect((list[1].receive.packets, list[1].receive.bytes) == (1, 60))
    b.close()
    #expect(try engine.listing().map(\.name) == ["p{1"])
  }

  @Test("eight threads open, use and close ports at once")
  func manyThreads() async throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<8 {
        group.addTask {
          for round in 0..<20 {
            let one = try NetmapPort("netmap:t\(index){\(round)", engine: engine)
            let two = try NetmapPort("netmap:t\(index)}\(round)", engine: engine)
            try one.inject([UInt8(index)])
            try one.sync(.transmit)
            #expect(try two.wait(for: .receive, timeout: .seconds(5)) == .receive)
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try engine.listing().isEmpty)
  }
}
