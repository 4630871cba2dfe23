import Glibc
import Netmap
import NetmapTestSupport
import Synchronization
import Testing

/// Monitors: `/t`, `/r` (netmap(4), "MONITOR PORTS").
@Suite("Monitors")
struct MonitorTests {
  private static func frame(_ number: Int, length: Int = 60) -> [UInt8] {
    var frame = udpFrame(destination: (0xff, 2, 8000), length: length)
    frame[58] = UInt8(number >> 8)
    frame[59] = UInt8(number & 0xff)
    return frame
  }

  /// The flags of the slots that have arrived on the first receive ring.
  private static func flags(_ port: NetmapPort) throws -> [SlotFlags] {
    try port.sync(.receive)
    let ring = port.receiveRing(0)
    return (0..<ring.count).map { unsafe ring.unsafeRing.load(UInt32($0)).flags }
  }

  /// Sends frames, each with a sync of its own.
  private static func send(_ numbers: Range<Int>, on port: NetmapPort) throws {
    for number in numbers { #expect(try port.send(frame(number))) }
  }

  @Test("a monitor of transmit rings gets what is sent, marked, and the receiver gets it too")
  func transmit() throws {
    let pipe = try PipeFixture()
    let monitor = try NetmapPort("netmap:t{1/t", engine: pipe.engine)
    try Self.send(0..<3, on: pipe.a)
    try Self.send(7..<8, on: pipe.b)
    #expect(try Self.flags(monitor) == Array(repeating: .monitoredTransmit, count: 3))
    #expect(try monitor.takeAll() == (0..<3).map { Self.frame($0) })
    #expect(try pipe.b.takeAll() == (0..<3).map { Self.frame($0) })
    #expect(try pipe.a.takeAll() == [Self.frame(7)])
    #expect(try monitor.takeAll().isEmpty)
  }

  @Test("a monitor of receive rings gets packets before their receiver syncs, and without a mark")
  func receive() throws {
    let pipe = try PipeFixture()
    let monitor = try NetmapPort("netmap:t}1/r", engine: pipe.engine)
    try Self.send(0..<3, on: pipe.a)
    #expect(try Self.flags(monitor) == [[], [], []])
    #expect(try monitor.takeAll() == (0..<3).map { Self.frame($0) })
    #expect(try pipe.b.takeAll() == (0..<3).map { Self.frame($0) })
  }

  @Test("several monitors of one ring, of both directions, get every packet once")
  func several() throws {
    let pipe = try PipeFixture()
    let monitors = try ["{1/t", "}1/r", "{1/rt", "}1/tr"].map {
      try NetmapPort("netmap:t\($0)", engine: pipe.engine)
    }
    try Self.send(0..<3, on: pipe.a)
    try Self.send(3..<5, on: pipe.b)
    #expect(try monitors[0].takeAll() == (0..<3).map { Self.frame($0) })
    #expect(try monitors[1].takeAll() == (0..<3).map { Self.frame($0) })
    for both in monitors[2...] {
      #expect(
        try Self.flags(both).count { $0.contains(.monitoredTransmit) }
          == (both === monitors[2] ? 3 : 2))
      #expect(try both.takeAll() == (0..<5).map { Self.frame($0) })
    }
    // Closing one leaves the others.
    monitors[1].close()
    monitors[2].close()
    try Self.send(5..<6, on: pipe.a)
    #expect(try monitors[0].takeAll() == [Self.frame(5)])
    #expect(try monitors[3].takeAll() == [Self.frame(5)])
    monitors[0].close()
    monitors[3].close()
    try Self.send(6..<7, on: pipe.a)
    #expect(try pipe.b.takeAll().count == 5)
  }

  @Test("a full monitor gets the last packets of each sync that fit, and does not slow the port")
  func full() throws {
    let pipe = try PipeFixture("@conf:slots=256")
    let monitor = try NetmapPort("netmap:t{1/t@conf:slots=8", engine: pipe.engine)
    var ring = pipe.a.transmitRing(0)
    for number in 0..<20 { #expect(unsafe ring.append(Self.frame(number).span.bytes)) }
    try pipe.a.sync(.transmit)
    #expect(try pipe.b.takeAll().count == 20)
    try Self.send(20..<22, on: pipe.a)
    #expect(try pipe.b.takeAll().count == 2)
    // Seven of eight slots can be used, and two more packets found none.
    #expect(try monitor.takeAll() == (13..<20).map { Self.frame($0) })
    #expect(monitor.statistics.receive.drops[.ringFull] == 15)
    #expect(monitor.statistics.receive.packets == 7)
    // Gives the slots back.
    try monitor.sync(.receive)
    try Self.send(22..<24, on: pipe.a)
    #expect(try monitor.takeAll() == (22..<24).map { Self.frame($0) })
    #expect(pipe.a.statistics.transmit.drops.total == 0)
  }

  @Test("a packet that is longer than a monitor's buffer is cut, and fragments stay together")
  func lengths() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("vale0:a@conf:slots=64", engine: engine)
    let monitor = try NetmapPort("vale0:a/t@offset:initial=2000", engine: engine)
    _ = try a.send(Self.frame(1, length: 60))
    try monitor.sync(.receive)
    let ring = monitor.receiveRing(0)
    #expect(unsafe ring.unsafeRing.load(0).length == 48)
  }

  @Test("ports of a switch can be monitored in both directions")
  func vale() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("vale0:a", engine: engine)
    let b = try NetmapPort("vale0:b", engine: engine)
    let sent = try NetmapPort("vale0:a/t", engine: engine)
    let received = try NetmapPort("vale0:b/r", engine: engine)
    try Self.send(0..<3, on: a)
    #expect(try sent.takeAll() == (0..<3).map { Self.frame($0) })
    #expect(try b.takeAll() == (0..<3).map { Self.frame($0) })
    #expect(try received.takeAll() == (0..<3).map { Self.frame($0) })
    received.close()
    try Self.send(3..<4, on: a)
    #expect(try b.takeAll() == [Self.frame(3)])
  }

  /// The packets that arrive, until there are `count`.
  private static func await(_ count: Int, on port: NetmapPort) throws -> [[UInt8]] {
    var frames: [[UInt8]] = []
    while frames.count < count,
      try port.wait(for: .receive, timeout: .seconds(20)).contains(.receive)
    {
      frames += try port.takeAll()
    }
    return frames
  }

  @Test("the port behind an isolated port can be monitored, and a monitor cannot be isolated")
  func isolated() throws {
    let engine = try EmbeddedEngine()
    let a = try NetmapPort("vale0:a/i", engine: engine)
    let b = try NetmapPort("vale0:b", engine: engine)
    let monitor = try NetmapPort("vale0:a/rt", engine: engine)
    try Self.send(0..<3, on: a)
    // The worker carries them.
    #expect(try Self.await(3, on: b) == (0..<3).map { Self.frame($0) })
    #expect(try Self.await(3, on: monitor) == (0..<3).map { Self.frame($0) })
    try Self.send(3..<5, on: b)
    #expect(try Self.await(2, on: a) == (3..<5).map { Self.frame($0) })
    #expect(try Self.await(2, on: monitor) == (3..<5).map { Self.frame($0) })
    let error = #expect(throws: NetmapError.self) {
      try NetmapPort("vale0:a/ti", engine: engine)
    }
    #expect(error?.code == .invalidArgument)
  }

  @Test("one pair of rings alone can be monitored")
  func oneRing() throws {
    let pipe = try PipeFixture("@conf:rings=2")
    let monitor = try NetmapPort("netmap:t{1-1/t", engine: pipe.engine)
    try Self.send(0..<2, on: pipe.a)
    #expect(try monitor.takeAll().isEmpty)
    var ring = pipe.a.transmitRing(1)
    #expect(unsafe ring.append(Self.frame(5).span.bytes))
    try pipe.a.sync(.transmit)
    #expect(try monitor.takeAll() == [Self.frame(5)])
    #expect(throws: NetmapError.self) {
      try NetmapPort("netmap:t{1-2/t", engine: pipe.engine)
    }
  }

  @Test("what cannot be monitored is refused with netmap's errno")
  func refusals() throws {
    let engine = try EmbeddedEngine()
    func code(_ name: String) -> NetmapError.Code? {
      do throws(NetmapError) {
        _ = try NetmapPort(name, engine: engine)
        return nil
      } catch {
        return error.code
      }
    }
    // No program has it open.
    #expect(code("vale0:a/t") == .invalidArgument)
    #expect(code("netmap:t{1/r") == .invalidArgument)
    #expect(engine.ports.isEmpty)
    let a = try NetmapPort("vale0:a", engine: engine)
    #expect(code("vale0:a^/t") == .invalidArgument)
    let monitors = try (0..<6).map { _ in try NetmapPort("vale0:a/t", engine: engine) }
    #expect(code("vale0:a/t") == .outOfMemory)
    #expect(try a.send(Self.frame(1)))
    for monitor in monitors { #expect(try monitor.takeAll() == [Self.frame(1)]) }
  }

  @Test("a monitor without copies gets packets when the program has released them")
  func withoutCopies() throws {
    let pipe = try PipeFixture()
    let monitor = try NetmapPort("netmap:t}1/z", engine: pipe.engine)
    try Self.send(0..<3, on: pipe.a)
    #expect(try monitor.wait(for: .receive, timeout: .milliseconds(1)).isEmpty)
    #expect(try pipe.b.takeAll() == (0..<3).map { Self.frame($0) })
    try pipe.b.sync(.receive)
    #expect(try Self.await(3, on: monitor) == (0..<3).map { Self.frame($0) })
    #expect(pipe.a.statistics.transmit.drops.total == 0)
  }

  @Test("a monitor sends nothing")
  func sendsNothing() throws {
    let pipe = try PipeFixture()
    let monitor = try NetmapPort("netmap:t{1/t", engine: pipe.engine)
    var ring = monitor.transmitRing(0)
    #expect(unsafe ring.append(Self.frame(1).span.bytes))
    #expect(throws: NetmapError.self) { try monitor.sync(.transmit) }
    #expect(try pipe.b.takeAll().isEmpty)
  }

  @Test(
    "a monitor wakes when packets come, and when its port has gone; packets it has stay readable")
  func ends() throws {
    let engine = try EmbeddedEngine()
    let stage = Stage()
    DetachedThread {
      guard let port = try? NetmapPort("vale0:a", engine: engine) else { return stage.reach(9) }
      stage.reach(1)
      stage.wait(2)
      Stage.pause()
      _ = try? port.send(Self.frame(1))
      stage.wait(3)
      Stage.pause()
      _ = try? port.send(Self.frame(2))
      port.close()
      stage.reach(4)
    }
    stage.wait(1)
    let monitor = try NetmapPort("vale0:a/t", engine: engine)
    stage.reach(2)
    #expect(try monitor.wait(for: .receive, timeout: .seconds(20)).contains(.receive))
    #expect(try monitor.takeAll() == [Self.frame(1)])
    stage.reach(3)
    while try monitor.wait(for: .receive, timeout: .seconds(20)).isDisjoint(with: .error) {}
    stage.wait(4)
    let ring = monitor.receiveRing(0)
    #expect(ring.count == 1)
    #expect(throws: NetmapError.self) { try monitor.sync(.receive) }
    // The port can be opened again. This monitor does not see it.
    let again = try NetmapPort("vale0:a", engine: engine)
    _ = try again.send(Self.frame(3))
    #expect(throws: NetmapError.self) { try monitor.sync(.receive) }
    let second = try NetmapPort("vale0:a/t", engine: engine)
    _ = try again.send(Self.frame(4))
    #expect(try second.takeAll() == [Self.frame(4)])
  }
}

/// How far two threads are.
private final class Stage: Sendable {
  private let value = Atomic<Int>(0)

  func reach(_ stage: Int) { value.store(stage, ordering: .sequentiallyConsistent) }

  func wait(_ stage: Int) {
    while value.load(ordering: .sequentiallyConsistent) < stage { Self.pause() }
  }

  static func pause() {
    var time = timespec(tv_sec: 0, tv_nsec: 5_000_000)
    unsafe nanosleep(&time, nil)
  }
}
