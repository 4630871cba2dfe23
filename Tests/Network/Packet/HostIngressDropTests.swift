import Glibc
import Netmap
import NetmapLinuxSetup
import NetmapTestSupport
import Testing

/// While a port is open, arriving packets go to the application and not to the host.
@Suite(.serialized) struct HostIngressDropTests {
  /// Runs `body` on a separate thread, which may give up its capabilities.
  private static func onThread(_ body: @escaping @Sendable () throws -> Void) throws {
    try NamespaceThread { Result { try body() } }.start().join().get()
  }

  /// Sends ten packets to a UDP port of the host.
  ///
  /// - Parameters:
  ///   - socket: A socket of the host that receives them.
  ///   - fixture: The fixture whose sender sends them.
  ///   - count: The number of packets to wait for, because a busy machine delivers them late.
  /// - Returns: The number of packets that the host received.
  /// - Throws: ``NetmapError`` when the packets cannot be sent.
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
    "the host receives nothing while the port is open, and everything afterwards",
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

  @Test(
    "without the right to load BPF programs, the port shares packets with the host and reports it")
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

  @Test("a killed process leaves nothing on the interface")
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

  @Test("on old kernels the next start removes the filter of a killed process, and only that one")
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
      // A start removes the dead process's filter and keeps the live process's.
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

  @Test("without the right to open packet sockets, the message names the missing capability")
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
}
