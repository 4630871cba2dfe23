import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// Host rings of an interface that netmapd has opened.
@Suite(.serialized) struct DaemonHostRingTests {
  /// A daemon, an interface `near` with an address, and a program that answers on the other end.
  private final class Testbed {
    let daemon: DaemonFixture
    private let place: TestProgram
    private let driver = TestProgram.built("port-driver")
    let clean: InterfaceState

    init() throws {
      daemon = try DaemonFixture()
      _ = try VethPair("near", "far")
      place = try TestProgram(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000"])
      #expect(place.readLine() == "ready\n")
      try NetworkNamespace.run("ip", "link", "set", "far", "netns", "\(place.process)")
      for (end, number) in [("near", 1), ("far", 2)] {
        for command in [
          ["link", "set", end, "arp", "on", "up"], ["address", "add", "10.0.0.\(number)/24", "dev", end],
        ] {
          _ = try TestProgram.output(of: (number == 1 ? [] : there) + ["ip"] + command)
        }
      }
      clean = InterfaceState("near")
    }

    deinit { place.kill(SIGKILL) }

    private var there: [String] { ["nsenter", "-t", "\(place.process)", "-n"] }

    /// Starts port-driver with the daemon's ports, or behind the wire.
    func start(_ arguments: [String], there isThere: Bool = false) throws -> TestProgram {
      let program = try TestProgram(
        (isThere ? there : []) + [driver] + arguments,
        environment: isThere ? [:] : ["NETMAP_SOCKET": daemon.socket])
      let said = program.read()
      guard said.hasPrefix("ready") else { throw FixtureError(text: "\(arguments): \(said)") }
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

  @Test("the host's traffic passes a bridge; a killed bridge leaves nothing behind", arguments: choices)
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

  @Test("a bridge goes on when netmapd has been killed, and the interface is as before when both are gone")
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
}
