import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// Host rings of an interface that netmapd has opened.
@Suite(.serialized) struct DaemonHostRingTests {
  private struct Refused: Error {
    let text: String
  }

  /// A daemon, an interface `near` with an address, and a program that answers on the other end.
  private final class Testbed {
    let daemon: DaemonFixture
    private let place: TestProgram
    private let driver = TestProgram.built("port-driver")
    /// The start of a command line that runs behind the wire.
    private let there: [String]
    let clean: InterfaceState

    init() throws {
      daemon = try DaemonFixture()
      _ = try VethPair("near", "far")
      let place = try TestProgram(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000"])
      let there = ["nsenter", "-t", "\(place.process)", "-n"]
      #expect(place.readLine() == "ready\n")
      try NetworkNamespace.run("ip", "link", "set", "far", "netns", "\(place.process)")
      for (end, number) in [("near", 1), ("far", 2)] {
        for command in [
          ["link", "set", end, "arp", "on", "up"],
          ["address", "add", "10.0.0.\(number)/24", "dev", end],
        ] {
          _ = try TestProgram.output(of: (number == 1 ? [] : there) + ["ip"] + command)
        }
      }
      // Until the link is up the kernel drops packets, and the clients here do not send them again.
      let end = ContinuousClock.now + .seconds(10)
      while try !NetworkNamespace.run("ip", "link", "show", "near").contains("LOWER_UP"),
        ContinuousClock.now < end
      { usleep(1000) }
      self.place = place
      self.there = there
      clean = InterfaceState("near")
    }

    deinit { place.kill(SIGKILL) }

    /// Starts port-driver with the daemon's ports, or behind the wire.
    func start(_ arguments: [String], there isThere: Bool = false) throws -> TestProgram {
      let program = try TestProgram(
        (isThere ? there : []) + [driver] + arguments,
        environment: isThere ? [:] : ["NETMAP_SOCKET": daemon.socket])
      let said = program.read()
      guard said.hasPrefix("ready") else { throw Refused(text: "\(arguments): \(said)") }
      return program
    }

    func here(_ arguments: [String]) throws -> String {
      try TestProgram.output(of: [driver] + arguments)
    }

    /// Waits until the interface is as it was, and the host reaches the other end.
    func expectClean(_ when: String) throws {
      let end = ContinuousClock.now + .seconds(10)
      while InterfaceState("near") != clean, ContinuousClock.now < end { usleep(1000) }
      #expect(InterfaceState("near") == clean, "\(when)")
      #expect(try here(["ping", "10.0.0.2", "3", "56"]).hasPrefix("ok"), "\(when)")
    }
  }

  static let choices = ["xdp,mode=copy", "packet"]

  @Test(
    "the host's traffic passes a bridge; a killed bridge leaves nothing behind", arguments: choices)
  func bridged(choice: String) throws {
    try NetworkNamespace.run {
      let testbed = try Testbed()
      let server = try testbed.start(["serve", "7000"], there: true)
      defer { server.kill(SIGKILL) }
      for _ in 0..<3 {
        let bridge = try testbed.start([
          "bridge", "netmap:near@backend:name=\(choice)", "netmap:near^",
        ])
        #expect(InterfaceState("near").egressPrograms == 1)
        #expect(try testbed.here(["ping", "10.0.0.2", "10", "56"]).hasPrefix("ok"))
        #expect(try testbed.here(["tcp", "10.0.0.2", "2000000"]).hasPrefix("ok"))
        bridge.kill(SIGKILL)
        try testbed.expectClean("after the bridge was killed")
      }
      try testbed.daemon.expectSound("at the end")
    }
  }

  @Test(
    "a bridge goes on when netmapd has been killed, and the interface is as before when both are gone"
  )
  func survives() throws {
    try NetworkNamespace.run {
      let testbed = try Testbed()
      let server = try testbed.start(["serve", "7000"], there: true)
      defer { server.kill(SIGKILL) }
      let bridge = try testbed.start(["bridge", "netmap:near@backend:name=xdp", "netmap:near^"])
      testbed.daemon.endDaemon(SIGKILL)
      #expect(InterfaceState("near").egressPrograms == 1)
      #expect(try testbed.here(["ping", "10.0.0.2", "10", "56"]).hasPrefix("ok"))
      #expect(try testbed.here(["tcp", "10.0.0.2", "2000000"]).hasPrefix("ok"))
      bridge.kill(SIGKILL)
      try testbed.expectClean("after both were killed")
    }
  }

  @Test("two programs hold the two sides; the host is connected while both do")
  func twoPrograms() throws {
    try NetworkNamespace.run {
      let testbed = try Testbed()
      let rings = try testbed.start(["hold", "netmap:near^"])
      // netmap's rule: the interface itself is not in netmap mode.
      #expect(try testbed.here(["ping", "10.0.0.2", "3", "56"]).hasPrefix("ok"))
      #expect(InterfaceState("near").egressPrograms == 0)
      let wire = try testbed.start(["hold", "netmap:near@backend:name=xdp"])
      #expect(InterfaceState("near").egressPrograms == 1)
      rings.kill(SIGKILL)
      let end = ContinuousClock.now + .seconds(10)
      while InterfaceState("near").egressPrograms > 0, ContinuousClock.now < end { usleep(1000) }
      #expect(InterfaceState("near").egressPrograms == 0)
      wire.kill(SIGKILL)
      try testbed.expectClean("after both were killed")
    }
  }

  private func valeCtl(_ testbed: Testbed, _ arguments: String...) throws -> (CInt, String) {
    let result = try TestProgram(
      [TestProgram.built("vale-ctl")] + arguments,
      environment: ["NETMAP_SOCKET": testbed.daemon.socket]
    ).finish()
    return (result.status, result.output)
  }

  @Test(
    "vale-ctl -h: the host and the wire meet on a switch, beside programs",
    arguments: ["", "@backend:name=packet"])
  func onSwitch(options: String) throws {
    try NetworkNamespace.run {
      let testbed = try Testbed()
      let server = try testbed.start(["serve", "7000"], there: true)
      defer { server.kill(SIGKILL) }
      for _ in 0..<2 {
        let (status, text) = try valeCtl(testbed, "-h", "vale0:near\(options)")
        try #require(status == 0, "\(text)")
        #expect(InterfaceState("near").hasXDPProgram == options.isEmpty)
        let engine = try testbed.daemon.engine()
        let listed = try valeCtl(testbed).1
        #expect(listed.contains("vale0:near^") && listed.contains("vale0:near"), "\(listed)")
        let port = try NetmapPort("vale0:p", engine: engine)
        #expect(try testbed.here(["ping", "10.0.0.2", "10", "56"]).hasPrefix("ok"))
        #expect(try testbed.here(["tcp", "10.0.0.2", "2000000"]).hasPrefix("ok"))
        // The program is a station like the others: the host hears its broadcast, and it the host's.
        let socket = try UDPSocket(port: 9000)
        try port.inject(broadcast(port: 9000))
        try port.sync(.transmit)
        let isHeard = socket.waits(milliseconds: 5000)
        #expect(isHeard)
        let refused = try valeCtl(testbed, "-d", "vale0:near^")
        #expect(refused.0 != 0 && refused.1.contains("vale-ctl -d vale0:near"), "\(refused.1)")
        port.close()
        #expect(try valeCtl(testbed, "-d", "vale0:near").0 == 0)
        try testbed.expectClean("after the interface was detached")
        #expect(try !valeCtl(testbed).1.contains("near"))
      }
      try testbed.daemon.expectSound("at the end")
    }
  }

  /// A UDP packet over IPv4 to everybody.
  private func broadcast(port: UInt16) -> [UInt8] {
    var frame = [UInt8](repeating: 0xff, count: 6) + [2, 0, 0, 0, 0, 9, 8, 0]
    frame += [0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 9, 255, 255, 255, 255]
    var sum = stride(from: 14, to: 34, by: 2).reduce(0) {
      $0 + Int(frame[$1]) << 8 + Int(frame[$1 + 1])
    }
    sum = (sum & 0xffff) + sum >> 16
    frame[24] = ~UInt8(sum >> 8)
    frame[25] = ~UInt8(sum & 0xff)
    frame += [0x30, 0, UInt8(port >> 8), UInt8(port & 0xff), 0, 26, 0, 0]
    return frame + [UInt8](repeating: 7, count: 18)
  }
}
