import Glibc
import NetmapCore
import NetmapTestSupport
import Testing

@testable import Netmap

@Suite("Port")
struct PortTests {
  @Test("sends and receives, both ways")
  func bothWays() throws {
    let pipe = try PipeFixture()
    #expect(try pipe.a.send([1, 2, 3]))
    #expect(try pipe.b.takeAll() == [[1, 2, 3]])
    #expect(try pipe.b.send([4]))
    #expect(try pipe.a.takeAll() == [[4]])
  }

  @Test("a ring holds n - 1 packets, and takes more after the receiver has returned slots")
  func fullRing() throws {
    let pipe = try PipeFixture("@conf:slots=8")
    for number in 0..<7 { try pipe.a.inject([UInt8(number)]) }
    let error = #expect(throws: NetmapError.self) { try pipe.a.inject([7]) }
    #expect(error?.code == .tryAgain)
    try pipe.a.sync(.transmit)
    #expect(pipe.a.freeSlots == 0)
    #expect(try pipe.b.takeAll().map { $0[0] } == Array(0..<7))
    try pipe.b.sync(.receive)
    try pipe.a.sync(.transmit)
    #expect(pipe.a.freeSlots == 7)
  }

  @Test("a packet longer than a buffer is sent in several slots")
  func fragments() throws {
    let pipe = try PipeFixture()
    let packet = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    #expect(try pipe.a.send(packet))
    try pipe.b.sync(.receive)
    var ring = pipe.b.receiveRing(0)
    var whole: [UInt8] = []
    var ends: [Bool] = []
    while let slot = ring.nextSlot() {
      whole += slot.copy()
      ends.append(slot.isComplete)
    }
    #expect(whole == packet)
    #expect(ends == [false, false, true])
    #expect(pipe.a.statistics.transmit.packets == 1)
    #expect(pipe.b.statistics.receive.bytes == 5000)
  }

  @Test("append lets the caller write in place")
  func appendInPlace() throws {
    let pipe = try PipeFixture("@conf:slots=4")
    do {
      var ring = pipe.a.transmitRing(0)
      let appended = ring.append(length: 4) { bytes in
        for offset in 0..<4 { bytes[offset] = UInt8(10 + offset) }
      }
      #expect(appended)
    }
    try pipe.a.sync(.transmit)
    #expect(try pipe.b.takeAll() == [[10, 11, 12, 13]])
  }

  @Test("a received packet is stamped with the time of day")
  func timestamp() throws {
    let pipe = try PipeFixture()
    let before = time(nil)
    _ = try pipe.a.send([1])
    try pipe.b.sync(.receive)
    let ring = pipe.b.receiveRing(0)
    let stamp = ring.timestamp
    #expect(stamp >= .seconds(before) && stamp <= .seconds(time(nil) + 1))
  }

  @Test("statistics count packets, bytes and syncs")
  func statistics() throws {
    let pipe = try PipeFixture()
    for size in [60, 100, 1514] { _ = try pipe.a.send([UInt8](repeating: 1, count: size)) }
    _ = try pipe.b.takeAll()
    let (sent, received) = (pipe.a.statistics, pipe.b.statistics)
    #expect(sent.transmit.packets == 3)
    #expect(sent.transmit.bytes == 1674)
    #expect(sent.transmit.syncs == 3)
    #expect(received.receive.packets == 3)
    #expect(received.receive.bytes == 1674)
    #expect(sent.systemCalls == 0 && received.systemCalls == 0)
    #expect(sent.transmit.drops.total == 0)
  }

  @Test("a buffer size that a peer has written does not affect an open port")
  func bufferSizeRewritten() throws {
    let pipe = try PipeFixture()
    let segment = pipe.a.mapped.segment.memory
    let packet = [UInt8](repeating: 7, count: 3000)
    for size: UInt32 in [0, 1, 64, 65_536, .max] {
      // The sync segment's word for the buffer size.
      segment.store(size, at: 28)
      #expect(pipe.a.bufferSize == 2048)
      #expect(try pipe.a.send(packet))
      #expect(try pipe.b.takeSlots().map(\.count) == [2048, 952])
      try pipe.b.sync(.receive)
    }
    segment.store(UInt32(0), at: 28)
    let error = #expect(throws: NetmapError.self) {
      try NetmapPort("netmap:t{1-0", engine: pipe.engine)
    }
    #expect(error?.code == .invalidArgument)
  }

  @Test("a closed port refuses to sync, and closing twice is harmless")
  func closed() throws {
    let pipe = try PipeFixture()
    pipe.a.close()
    pipe.a.close()
    let error = #expect(throws: NetmapError.self) { try pipe.a.sync(.transmit) }
    #expect(error?.code == .badDescriptor)
    #expect(throws: NetmapError.self) { try pipe.a.wait(for: .receive, timeout: .zero) }
  }

  @Test("received packets stay readable after the port has been closed")
  func readableAfterClose() throws {
    let pipe = try PipeFixture()
    _ = try pipe.a.send([42])
    try pipe.b.sync(.receive)
    pipe.a.close()
    pipe.b.close()
    var ring = pipe.b.receiveRing(0)
    let packet = ring.next()?.copy()
    #expect(packet == [42])
  }

  @Test("a view of a closed port cannot reach the rings of a port opened later")
  func closedPortIsOutOfReach() throws {
    let engine = try EmbeddedEngine()
    let other = try NetmapPort("netmap:t{keep", engine: engine)
    let old = try NetmapPort("netmap:t{1@conf:slots=8", engine: engine)
    var view = old.transmitRing(0)
    old.close()
    let new = try NetmapPort("netmap:t{2@conf:slots=8", engine: engine)
    let before = new.freeSlots
    for _ in 0..<5 { _ = view.append(length: 60) }
    #expect(new.freeSlots == before)
    #expect(other.memoryID == new.memoryID)
  }

  @Test(
    "the error for a name that cannot be opened has its code and the cause",
    arguments: [
      ("a{1", NetmapError.Code.invalidArgument, "netmap:a{1"),
      ("netmap:", .invalidArgument, "netmap:"),
      ("netmap:nosuch", .noSuchDevice, "nosuch"),
      ("netmap:a{1^", .invalidArgument, "host rings"),
      ("netmap:a{1@77", .invalidArgument, "77"),
      ("netmap:a{1@extmem:file=/x", .unsupported, "extmem"),
      ("netmap:a{1/z", .invalidArgument, "open the port first"),
      ("vale0:a^", .invalidArgument, "host rings"),
      ("netmap:a-very-long-parent{1", .invalidArgument, "a-very-long-parent"),
      ("netmap:averyveryverylongparent{1", .noSuchDevice, "15 characters"),
    ])
  func refusals(name: String, code: NetmapError.Code, mention: String) throws {
    let engine = try EmbeddedEngine()
    let error = #expect(throws: NetmapError.self) { try NetmapPort(name, engine: engine) }
    #expect(error?.code == code)
    #expect("\(try #require(error))".contains(mention))
    #expect(engine.ports.isEmpty)
  }

  @Test("@share uses the memory of another port")
  func share() throws {
    let engine = try EmbeddedEngine()
    let first = try NetmapPort("netmap:x{1", engine: engine)
    let second = try NetmapPort("netmap:y{1@share=netmap:x{1", engine: engine)
    #expect(first.memoryID == second.memoryID)
    let error = #expect(throws: NetmapError.self) {
      try NetmapPort("netmap:z{1@1@share=netmap:x{1", engine: engine)
    }
    #expect(error?.code == .invalidArgument)
  }

  @Test("the engine lists the ports that are open")
  func listing() throws {
    let pipe = try PipeFixture()
    let again = try NetmapPort("netmap:t{1", engine: pipe.engine)
    #expect(Set(pipe.engine.ports.map(\.name)) == ["t{1", "t}1"])
    #expect(pipe.engine.ports.first { $0.name == "t{1" }?.openCount == 2)
    again.close()
    pipe.b.close()
    #expect(pipe.engine.ports.map(\.name) == ["t{1"])
    pipe.a.close()
    #expect(pipe.engine.ports.isEmpty)
  }

  @Test("a port gets the extra buffers that it asks for")
  func extraBuffers() throws {
    let engine = try EmbeddedEngine()
    let port = try NetmapPort("netmap:x{1", extraBuffers: 12, engine: engine)
    #expect(port.extraBufferCount == 12)
  }

  @Test("ports of an embedded engine refuse to work in a fork child")
  func forkChild() throws {
    // Fork in a process with one thread. A child of this process would inherit locks that its other threads
    // hold, which nothing would release, and the descriptors of all tests that run meanwhile.
    let program = try TestProgram([TestProgram.built("host-peer"), "fork-embedded"])
    let outcome = program.end()
    #expect(outcome.output == "the child is refused: EBADF\nthe parent goes on\n")
    #expect(outcome.status == 0)
  }
}
