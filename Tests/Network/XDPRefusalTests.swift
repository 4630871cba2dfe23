import Glibc
import Netmap
import NetmapTestSupport
import Synchronization
import Testing

/// User errors and resources that are in use: the errno, and a message that names the subject.
@Suite(.serialized) struct XDPRefusalTests {
  @Test("an interface that is down can be opened; frames wait until it is up, and no sync blocks")
  func interfaceDown() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      try NetworkNamespace.run("ip", "link", "set", pair.first, "down")
      let sender = try NetmapPort("netmap:\(pair.first)@backend:name=xdp,mode=copy", engine: engine)
      let receiver = try NetmapPort(
        "netmap:\(pair.second)@backend:name=xdp,mode=copy", engine: engine)
      let frames = (0..<10).map { numberedFrame($0, length: 60) }
      try sender.send(frames)
      #expect(try receiver.wait(for: .receive, timeout: .milliseconds(20)).isEmpty)
      try NetworkNamespace.setUp(pair.first, pair.second)
      #expect(try sender.wait(for: .transmit, timeout: .seconds(1)) == .transmit)
      #expect(try receiver.receive(10) == frames)
    }
  }

  @Test("an interface removed while in use: EIO from sync, an error from wait; other ports go on")
  func interfaceRemoved() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let other = try VethPair("w0", "w1")
      let port = try NetmapPort("netmap:\(pair.first)@backend:name=xdp", engine: engine)
      let (a, b) = try (
        NetmapPort("netmap:\(other.first)", engine: engine),
        NetmapPort("netmap:\(other.second)", engine: engine)
      )
      // The removal wakes a sleeper, too.
      let remover = try NamespaceThread {
        usleep(50_000)
        return (try? NetworkNamespace.run("ip", "link", "del", pair.first)) != nil
      }.start()
      let ready = try port.wait(for: .receive, timeout: .seconds(5))
      #expect(try remover.join())
      #expect(ready == .error)
      for direction in Direction.allCases {
        let error = #expect(throws: NetmapError.self) { try port.sync(direction) }
        #expect(error?.code == .inputOutput)
      }
      port.close()
      try a.send([numberedFrame(7, length: 60)])
      #expect(try b.receive(1) == [numberedFrame(7, length: 60)])
    }
  }

  @Test("a renamed interface keeps working")
  func interfaceRenamed() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let (a, b) = try (
        NetmapPort("netmap:\(pair.first)", engine: engine),
        NetmapPort("netmap:\(pair.second)", engine: engine)
      )
      try NetworkNamespace.run("ip", "link", "set", pair.first, "down")
      try NetworkNamespace.run("ip", "link", "set", pair.first, "name", "renamed")
      try NetworkNamespace.setUp("renamed", pair.second)
      try a.send([numberedFrame(1, length: 60)])
      #expect(try b.receive(1).count == 1)
    }
  }

  @Test("a foreign XDP program stays attached: EBUSY, and the message has its id")
  func foreignProgram() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let holder = try TestProgram([
        driver, "hold", "netmap:\(pair.first)@backend:name=xdp,mode=copy",
      ])
      #expect(holder.read().hasPrefix("ready"))
      let shown = try NetworkNamespace.run("ip", "-d", "link", "show", pair.first)
      let id = shown.split(separator: "prog/xdp id ").last?.split(separator: " ").first ?? ""
      let error = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:\(pair.first)@backend:name=xdp", engine: engine)
      }
      #expect(error?.code == .busy)
      #expect(error?.reason.contains("XDP program \(id) ") == true)
      holder.kill(9)
    }
  }

  @Test("a queue that another program uses is EBUSY, after half a second of trying")
  func queueTaken() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      // A port that only sends needs no XDP program, so it occupies only the queue.
      let holder = try TestProgram([
        driver, "send", "netmap:\(pair.first)/T@backend:name=xdp,mode=copy", "30",
      ])
      #expect(holder.read().hasPrefix("ready"))
      let error = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:\(pair.first)@backend:name=xdp", engine: engine)
      }
      #expect(error?.code == .busy)
      #expect(error?.reason.contains("queue 0") == true)
      // Meanwhile the engine answers other opens long before the attempt ends. On a busy machine only one
      // of many attempts may show that; if opens had to wait for the attempt, none would.
      var times: [String] = []
      var isAnswered = false
      let end = ContinuousClock.now + .seconds(30)
      while !isAnswered, ContinuousClock.now < end {
        let (attempt, slowest, opened) = try Self.openOthers(pair.first, engine)
        times.append("\(opened) in \(attempt), the slowest in \(slowest)")
        isAnswered = opened >= 4 && slowest < attempt / 2
      }
      #expect(isAnswered, "\(times)")
      print("queueTaken: \(times)")
      holder.kill(9)
    }
  }

  /// Opens pipes while a thread tries to get a queue that is in use.
  ///
  /// - Returns: The duration of the attempt and of the slowest open, and the number of opens.
  private static func openOthers(
    _ interface: String, _ engine: EmbeddedEngine
  ) throws -> (attempt: Duration, slowest: Duration, opened: Int) {
    let clock = ContinuousClock()
    let isOver = Shared(false)
    let trying = try NamespaceThread {
      let start = clock.now
      let isRefused =
        (try? NetmapPort("netmap:\(interface)@backend:name=xdp", engine: engine)) == nil
      let time = clock.now - start
      isOver.value.store(true, ordering: .releasing)
      return (isRefused, time)
    }.start()
    var (slowest, opened) = (Duration.zero, 0)
    while !isOver.value.load(ordering: .acquiring) {
      let time = try clock.measure { _ = try NetmapPort("netmap:x{1", engine: engine) }
      slowest = max(slowest, time)
      opened += 1
      usleep(1000)
    }
    let (isRefused, attempt) = try trying.join()
    #expect(isRefused)
    return (attempt, slowest, opened)
  }

  private final class Shared: Sendable {
    let value: Atomic<Bool>
    init(_ value: Bool) { self.value = Atomic(value) }
  }

  @Test("an MTU too large for the mode is EINVAL, and the message has the number and a remedy")
  func mtuTooLarge() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair(mtu: 65_000)
      let error = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:\(pair.first)@backend:name=xdp,mode=generic", engine: engine)
      }
      #expect(error?.code == .invalidArgument)
      #expect(error?.reason.contains("65000") == true)
      #expect(error?.remedy.contains("mtu") == true)
    }
  }

  @Test("a mode that the driver lacks is refused if requested explicitly, and noted otherwise")
  func modes() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let error = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:\(pair.first)@backend:name=xdp,mode=zerocopy", engine: engine)
      }
      #expect(error?.code == .unsupported)
      let port = try NetmapPort("netmap:\(pair.first)", engine: engine)
      #expect(port.backend?.mode == "copy")
      #expect(port.backend?.refusals.first?.contains("zero-copy") == true)
      port.close()
      // A bridge has no native XDP. Packet sockets complete its frames, and generic XDP does not.
      try NetworkNamespace.run("ip", "link", "add", "br0", "type", "bridge")
      try NetworkNamespace.run("ip", "link", "set", "br0", "up")
      #expect(try NetmapPort("netmap:br0", engine: engine).backend?.name == "packet")
    }
  }
}

/// The helper program, beside the test bundle.
var driver: String { TestProgram.built("port-driver") }
