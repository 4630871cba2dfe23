import Glibc
import Netmap
import NetmapTestSupport
import NetmapTesting
import Testing

@testable import swap

/// The engine that applications use in their own tests.
@Suite("The loopback engine", .timeLimit(.minutes(15)))
struct LoopbackTests {
  @Test("what the wire sends the interface receives, and the other way round")
  func bothWays() throws {
    let engine = try LoopbackEngine(interfaces: ["eth0"])
    let port = try NetmapPort("netmap:eth0", engine: engine)
    let wire = try engine.wire(of: "eth0")
    #expect(port.backend?.name == "loopback")
    for number in 0..<2000 {
      let frame = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 60)
      try wire.inject(frame)
      try wire.sync(.transmit)
      #expect(try port.wait(for: .receive, timeout: .seconds(5)) == .receive)
      #expect(try port.takeAll() == [frame])
      try port.inject(frame + [1])
      try port.sync(.transmit)
      #expect(try wire.takeAll() == [frame + [1]])
    }
    #expect(port.statistics.receive.packets == 2000)
    #expect(port.statistics.transmit.drops.total == 0)
  }

  @Test("an application runs unchanged on it: the example that swaps addresses")
  func application() throws {
    let engine = try LoopbackEngine(interfaces: ["eth0"])
    let port = try NetmapPort("netmap:eth0", engine: engine)
    let wire = try engine.wire(of: "eth0")
    try wire.inject(udpFrame(source: (1, 1, 1111), destination: (2, 2, 8000)))
    try wire.sync(.transmit)
    #expect(try Swap.echo(port, timeout: .seconds(5)) == 1)
    #expect(try wire.takeAll() == [udpFrame(source: (2, 2, 8000), destination: (1, 1, 1111))])
  }

  @Test("a packet of several slots crosses the wire whole")
  func fragments() throws {
    let engine = try LoopbackEngine(interfaces: ["eth0"], slots: 16)
    let port = try NetmapPort("netmap:eth0", engine: engine)
    let wire = try engine.wire(of: "eth0")
    let packet = (0..<9000).map { UInt8(truncatingIfNeeded: $0 &* 3) }
    try wire.inject(packet)
    try wire.sync(.transmit)
    #expect(try port.takeAll() == [packet])
  }

  @Test("packets begin at the offset; one that does not fit there arrives empty, and is counted")
  func offsets() throws {
    let engine = try LoopbackEngine(interfaces: ["eth0"], slots: 16)
    let port = try NetmapPort("netmap:eth0@offset:initial=100", engine: engine)
    let wire = try engine.wire(of: "eth0")
    for number: UInt8 in 0..<50 {
      let frame = [UInt8](repeating: number, count: 1948)
      try wire.inject(frame)
      try wire.sync(.transmit)
      #expect(try port.takeAll() == [frame])
      try port.inject([UInt8](frame.prefix(60)))
      try port.sync(.transmit)
      #expect(try wire.takeAll() == [[UInt8](frame.prefix(60))])
    }
    try wire.inject([UInt8](repeating: 1, count: 1949))
    try wire.sync(.transmit)
    #expect(try port.takeAll() == [[]])
    #expect(port.statistics.receive.drops[.badLength] == 1)
  }

  @Test("a removed interface: waits report an error, syncs throw EIO, and it cannot be opened")
  func removal() throws {
    let engine = try LoopbackEngine(interfaces: ["eth0", "eth1"])
    let port = try NetmapPort("netmap:eth0", engine: engine)
    let other = try NetmapPort("netmap:eth1", engine: engine)
    DetachedThread {
      usleep(30_000)
      engine.remove("eth0")
    }
    #expect(try port.wait(for: .receive, timeout: .seconds(20)) == .error)
    for direction in Direction.allCases {
      let error = #expect(throws: NetmapError.self) { try port.sync(direction) }
      #expect(error?.code == .inputOutput)
    }
    port.close()
    let error = #expect(throws: NetmapError.self) {
      try NetmapPort("netmap:eth0", engine: engine)
    }
    #expect(error?.code == .noSuchDevice)
    try other.sync(.receive)
  }

  @Test("ring pairs are wires of their own")
  func pairs() throws {
    let engine = try LoopbackEngine(interfaces: ["eth0", "eth1"], ringPairs: 3, slots: 8)
    let port = try NetmapPort("netmap:eth0", engine: engine)
    let other = try NetmapPort("netmap:eth1", engine: engine)
    let wire = try engine.wire(of: "eth0")
    for index in 0..<3 {
      var ring = wire.transmitRing(index)
      let isSent = unsafe ring.append([UInt8(index)].span.bytes)
      #expect(isSent)
    }
    try wire.sync(.transmit)
    try port.sync(.receive)
    for index in 0..<3 {
      var ring = port.receiveRing(index)
      let first = ring.next()?.bytes[0]
      #expect(first == UInt8(index))
    }
    #expect(try other.takeAll().isEmpty)
  }

  @Test("frames that nobody takes are dropped beyond 1024, and the sender counts them")
  func overflow() throws {
    let engine = try LoopbackEngine(interfaces: ["eth0"])
    let port = try NetmapPort("netmap:eth0", engine: engine)
    for _ in 0..<1100 {
      try port.inject([1, 2, 3])
      try port.sync(.transmit)
    }
    #expect(port.statistics.transmit.drops[.ringFull] == 76)
    #expect(port.statistics.transmit.drops.total == 76)
  }

  @Test("a task that waits on an interface wakes for a frame on the wire")
  func waking() async throws {
    let engine = try LoopbackEngine(interfaces: ["eth0"])
    let port = try NetmapPort("netmap:eth0", engine: engine)
    let wire = try engine.wire(of: "eth0")
    let task = Task {
      try await port.wait(for: .receive)
      return try port.takeAll()
    }
    try await Task.sleep(for: .milliseconds(20))
    try wire.inject([5])
    try wire.sync(.transmit)
    let packets = try await task.value
    #expect(packets == [[5]])
  }

  @Test("names that do not exist, and numbers out of range, are refused")
  func refusals() throws {
    let engine = try LoopbackEngine(interfaces: ["eth0"])
    func code(_ body: () throws -> Void) -> NetmapError.Code? {
      (#expect(throws: NetmapError.self) { try body() })?.code
    }
    #expect(code { _ = try NetmapPort("netmap:eth1", engine: engine) } == .noSuchDevice)
    #expect(code { _ = try engine.wire(of: "eth1") } == .noSuchDevice)
    #expect(code { _ = try LoopbackEngine(interfaces: [], ringPairs: 0) } == .invalidArgument)
    #expect(code { _ = try LoopbackEngine(interfaces: [], slots: 1) } == .invalidArgument)
  }

  @Test("an interface works again after it was closed, and forgets the frames of before")
  func reopening() throws {
    let engine = try LoopbackEngine(interfaces: ["eth0"])
    let wire = try engine.wire(of: "eth0")
    for _ in 0..<5 {
      let port = try NetmapPort("netmap:eth0", engine: engine)
      try wire.inject([1])
      try wire.sync(.transmit)
      #expect(try port.takeAll() == [[1]])
      try wire.inject([2])
      try wire.sync(.transmit)
      port.close()
    }
  }
}
