import Glibc
import Netmap
import NetmapLinuxSetup
import NetmapTestSupport
import Testing

/// What arrives belongs to the application, not to the host, while a port is open.
@Suite(.serialized) struct HostIngressDropTests {
  /// Runs `body` on a thread of its own, which may give up its rights.
  private static func onThread(_ body: @escaping @Sendable () throws -> Void) throws {
    try NamespaceThread { Result { try body() } }.start().join().get()
  }

  /// Sends ten packets to a UDP port of the host.
  ///
  /// - Parameters:
  ///   - socket: The host's.
  ///   - fixture: Whose sender sends.
  ///   - count: As many are waited for: a busy machine delivers them late.
  /// - Returns: How many the host saw.
  /// - Throws: ``NetmapError`` when they cannot be sent.
  private static func seen(
    by socket: borrowing UDPSocket, _ fixture: PacketFixture, expecting count: Int
  ) throws -> Int {
    try fixture.send(Array(repeating: SampleFrames.datagram(port: 9000), count: 10))
    usleep(5_000)
    var seen = socket.drain()
    let end = ContinuousClock.now + .seconds(10)
    while seen < count, ContinuousClock.now < end {
      usleep(1_000)
      seen += socket.drain()
    }
    return seen
  }

  @Test(
    "the host sees nothing while the port is open, and everything afterwards",
    arguments: [PacketCandidate.IngressDropMethod.automatic, .clsact])
  func drops(_ ingressDropMethod: PacketCandidate.IngressDropMethod) throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture(ingressDropMethod: ingressDropMethod)
      try fixture.addHost()
      let socket = try UDPSocket(port: 9000)
      #expect(try Self.seen(by: socket, fixture, expecting: 0) == 0)
      #expect(try fixture.receive(10).count == 10)
      fixture.receiver.close()
      #expect(try Self.seen(by: socket, fixture, expecting: 10) == 10)
      #expect(
        try NetworkNamespace.run("tc", "qdisc", "show", "dev", "v1").contains("clsact") == false)
    }
  }

  @Test("without the right to load BPF programs the port works, shared with the host, and says so")
  func shared() throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      try NetworkNamespace.run(
        "ip", "link", "set", pair.second, "address", "02:00:00:00:00:02")
      try NetworkNamespace.run("ip", "address", "add", "10.0.0.2/24", "dev", pair.second)
      try Self.onThread {
        try keepOnlyNetRawCapability()
        let fixture = try PacketFixture(over: pair)
        let socket = try UDPSocket(port: 9000)
        #expect(try Self.seen(by: socket, fixture, expecting: 10) == 10)
        #expect(try fixture.receive(10).count == 10)
        let remarks = fixture.receiver.backend?.remarks ?? []
        #expect(remarks.count == 1)
        #expect(remarks.first?.hasPrefix("shared with the host") == true)
        #expect(remarks.first?.contains("CAP_BPF") == true)
      }
    }
  }

  @Test("a process that is killed leaves nothing on the interface")
  func killed() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture()
      try fixture.addHost()
      fixture.receiver.close()
      let socket = try UDPSocket(port: 9000)
      for _ in 0..<5 {
        let holder = try TestProgram([
          TestProgram.built("port-holder"), "netmap:v1@backend:name=packet",
        ])
        #expect(holder.read() == "open\n")
        #expect(try Self.seen(by: socket, fixture, expecting: 0) == 0)
        holder.kill(SIGKILL)
        usleep(50_000)
        #expect(try Self.seen(by: socket, fixture, expecting: 10) == 10)
      }
      #expect(
        try NetworkNamespace.run("tc", "qdisc", "show", "dev", "v1").contains("clsact") == false)
    }
  }

  @Test("what a killed process left on an old kernel is undone at the next start, and not before")
  func clsactIsUndone() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture()
      try fixture.addHost()
      fixture.receiver.close()
      let socket = try UDPSocket(port: 9000)
      let arguments = [
        TestProgram.built("port-holder"), "netmap:v1@backend:name=packet", "clsact",
      ]
      let killed = try TestProgram(arguments)
      #expect(killed.read() == "open\n")
      let living = try TestProgram(arguments)
      #expect(living.read() == "open\n")
      killed.kill(SIGKILL)
      // A start: the dead one's filter goes, the living one's stays.
      _ = try? NetmapPort("netmap:lo", engine: EmbeddedEngine())
      #expect(try Self.seen(by: socket, fixture, expecting: 0) == 0)
      living.kill(SIGKILL)
      #expect(try Self.seen(by: socket, fixture, expecting: 0) == 0)
      _ = try? NetmapPort("netmap:lo", engine: EmbeddedEngine())
      #expect(try Self.seen(by: socket, fixture, expecting: 10) == 10)
      #expect(
        try NetworkNamespace.run("tc", "qdisc", "show", "dev", "v1").contains("clsact") == false)
    }
  }

  @Test("without the right to open packet sockets the message says what is missing")
  func noRights() throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      try Self.onThread {
        try dropAllCapabilities()
        let engine = try EmbeddedEngine(
          interfaces: LinuxInterfaces(candidates: [PacketCandidate()]))
        let error = #expect(throws: NetmapError.self) {
          try NetmapPort("netmap:\(pair.first)@backend:name=packet", engine: engine)
        }
        #expect(error?.code == .notPermitted)
        #expect(error?.description.contains("CAP_NET_RAW") == true)
      }
    }
  }

  @Test("an interface whose MTU is too large is refused with the way out")
  func unusable() throws {
    try NetworkNamespace.run {
      let pair = try VethPair(mtu: 40_000)
      let engine = try EmbeddedEngine(interfaces: LinuxInterfaces(candidates: [PacketCandidate()]))
      let error = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:\(pair.first)@backend:name=packet", engine: engine)
      }
      #expect(error?.code == .invalidArgument)
      #expect(error?.description.contains("ip link set v0 mtu 32768") == true)
    }
  }
}
