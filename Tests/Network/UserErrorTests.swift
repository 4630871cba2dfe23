import Glibc
import NetmapTestSupport
import Testing

/// The messages of `netmap pkt-gen` about mistakes of the user and events on interfaces: the errno, the
/// subject, the reason, and the remedy.
@Suite(.serialized) struct UserErrorTests {
  private static func start(
    _ port: String, _ options: [String] = ["-f", "rx"], before: [String] = []
  ) throws -> TestProgram {
    try TestProgram(
      before + [TestProgram.built("netmap"), "pkt-gen", "--embedded", "-i", port, "-w", "0"]
        + options)
  }

  /// Runs pkt-gen, which must fail with a message that has all of `words`.
  private static func expectRefusal(
    _ port: String, _ words: String..., options: [String] = ["-f", "rx"], before: [String] = []
  ) throws {
    let (status, output) = try start(port, options, before: before).finish()
    #expect(status == 255, "\(output)")
    for word in words { #expect(output.contains(word), "no '\(word)' in \(output)") }
  }

  @Test("no such interface", arguments: ["", "@backend:name=xdp", "@backend:name=packet"])
  func unknown(backend: String) throws {
    try NetworkNamespace.run {
      try Self.expectRefusal(
        "netmap:nosuch\(backend)", "nosuch", "no interface", "ip link", "ENXIO")
    }
  }

  @Test("no rights", arguments: ["", "@backend:name=xdp", "@backend:name=packet"])
  func noRights(backend: String) throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      try Self.expectRefusal(
        "netmap:\(pair.first)\(backend)", pair.first, "run as root", "EPERM",
        before: ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"])
    }
  }

  @Test("a queue that another program uses")
  func queueTaken() throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      let holder = try TestProgram([
        driver, "send", "netmap:\(pair.first)/T@backend:name=xdp", "30",
      ])
      #expect(holder.read().hasPrefix("ready"))
      try Self.expectRefusal(
        "netmap:\(pair.first)", pair.first, "queue 0 is in use", "end that program", "EBUSY",
        options: ["-f", "tx", "-n", "1"])
      holder.kill(SIGKILL)
    }
  }

  @Test("a foreign XDP program")
  func foreignProgram() throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      let holder = try TestProgram([driver, "hold", "netmap:\(pair.first)@backend:name=xdp"])
      #expect(holder.read().hasPrefix("ready"))
      try Self.expectRefusal(
        "netmap:\(pair.first)", pair.first, "another XDP program", "@backend:name=packet", "EBUSY")
      holder.kill(SIGKILL)
    }
  }

  @Test("an MTU too large for AF_XDP")
  func mtu() throws {
    try NetworkNamespace.run {
      let pair = try VethPair(mtu: 65_000)
      try Self.expectRefusal(
        "netmap:\(pair.first)@backend:name=xdp", pair.first, "65000", "32238", "mtu", "EINVAL")
    }
  }

  @Test(
    "pkt-gen says that an interface is down, and receives once it is up",
    arguments: IntegrityTests.choices)
  func down(choice: String) throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      try NetworkNamespace.run("ip", "link", "set", pair.first, "down")
      let receiver = try Self.start(
        "netmap:\(pair.first)@backend:name=\(choice)", ["-f", "rx", "-n", "10"])
      let said = receiver.read(until: "reading from")
      #expect(said.contains("it is down") && said.contains("ip link set \(pair.first) up"))
      try NetworkNamespace.setUp(pair.first, pair.second)
      try Self.sendTen(to: receiver, from: pair.second)
    }
  }

  @Test("an interface that is renamed in use keeps working", arguments: IntegrityTests.choices)
  func renamed(choice: String) throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      let receiver = try Self.start(
        "netmap:\(pair.first)@backend:name=\(choice)", ["-f", "rx", "-n", "10"])
      _ = receiver.read(until: "reading from")
      try NetworkNamespace.run("ip", "link", "set", pair.first, "down")
      try NetworkNamespace.run("ip", "link", "set", pair.first, "name", "renamed")
      try NetworkNamespace.setUp("renamed", pair.second)
      try Self.sendTen(to: receiver, from: pair.second)
    }
  }

  /// Sends the ten packets that the receiver waits for. It must end by itself.
  private static func sendTen(to receiver: TestProgram, from interface: String) throws {
    let socket = try FrameSocket(interface)
    for _ in 0..<10 { socket.send(SampleFrames.datagram(port: 9000)) }
    let (status, output) = receiver.finish()
    #expect(status == 0)
    #expect(output.contains("Received 10 packets"), "\(output)")
  }

  @Test(
    "the removal of an interface in use ends that run of pkt-gen, and no other",
    arguments: IntegrityTests.choices, ["rx", "tx"])
  func removed(choice: String, function: String) throws {
    try NetworkNamespace.run {
      let (pair, others) = try (VethPair(), VethPair("w0", "w1"))
      let backend = "@backend:name=\(choice)"
      let program = try Self.start("netmap:\(pair.first)\(backend)", ["-f", function])
      _ = program.read(until: function == "rx" ? "reading from" : "sender_body")
      let other = try Self.start("netmap:\(others.first)\(backend)", ["-f", "rx", "-n", "10"])
      _ = other.read(until: "reading from")
      try NetworkNamespace.run("ip", "link", "delete", pair.first)
      let (status, output) = program.finish()
      #expect(status == 1)
      for word in [pair.first, "the interface was removed", "EIO"] {
        #expect(output.contains(word), "no '\(word)' in \(output)")
      }
      try Self.sendTen(to: other, from: others.second)
    }
  }
}
