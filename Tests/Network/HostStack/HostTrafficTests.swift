import Glibc
import NetmapTestSupport
import Testing

/// An application that bridges an interface and its host rings: the host's own traffic works through it.
@Suite(.serialized) struct HostTrafficTests {
  private func bridged(
    _ choice: String, mtu: Int = 1500, rings: String = "",
    _ body: (HostFixture, (String...) throws -> String) throws -> Void
  ) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture(mtu: mtu)
      let bridge = try fixture.start([
        "bridge", "netmap:near@backend:name=\(choice)\(rings)", "netmap:near^",
      ])
      defer { bridge.kill(SIGKILL) }
      // Commands of port-driver on this host, whose packets go through the bridge.
      try body(fixture) { (arguments: String...) in
        try TestProgram.output(of: [driver] + arguments)
      }
    }
  }

  @Test(
    "ping, TCP, UDP and fragments, IPv4 and IPv6, from here and from there",
    arguments: HostFixture.choices)
  func traffic(choice: String) throws {
    try bridged(choice) { fixture, here in
      let (serverThere, serverHere) = (
        try fixture.start(["serve", "7000"], there: true), try fixture.start(["serve", "7000"])
      )
      defer { for server in [serverThere, serverHere] { server.kill(SIGKILL) } }
      for (far, near) in [("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::1")] {
        #expect(try here("ping", far, "20", "56").hasPrefix("ok"))
        #expect(try here("ping", far, "5", "1400").hasPrefix("ok"))
        #expect(try here("udp", far, "100", "50").hasPrefix("ok"))
        #expect(try here("udp", far, "20000", "10").hasPrefix("ok"))
        #expect(try here("tcp", far, "20000000").hasPrefix("ok"))
        #expect(try fixture.there([driver, "udp", near, "9000", "10"]).hasPrefix("ok"))
        #expect(try fixture.there([driver, "tcp", near, "20000000"]).hasPrefix("ok"))
      }
    }
  }

  @Test("jumbo frames", arguments: HostFixture.choices)
  func jumbo(choice: String) throws {
    try bridged(choice, mtu: 9000) { fixture, here in
      let server = try fixture.start(["serve", "7000"], there: true)
      defer { server.kill(SIGKILL) }
      #expect(try here("ping", "10.0.0.2", "5", "8900").hasPrefix("ok"))
      #expect(try here("udp", "fd00::2", "8000", "10").hasPrefix("ok"))
      #expect(try here("tcp", "10.0.0.2", "10000000").hasPrefix("ok"))
    }
  }

  @Test("several host ring pairs share the traffic")
  func pairs() throws {
    try bridged("xdp", rings: "@conf:host-rings=3") { fixture, here in
      let server = try fixture.start(["serve", "7000"], there: true)
      defer { server.kill(SIGKILL) }
      for _ in 0..<10 { #expect(try here("udp", "10.0.0.2", "500", "5").hasPrefix("ok")) }
      #expect(try here("tcp", "fd00::2", "5000000").hasPrefix("ok"))
    }
  }
}
