import Glibc
import Netmap
import NetmapTestSupport
import Testing

@Suite("netmapd started by systemd's socket activation", .timeLimit(.minutes(15)))
struct ActivationTests {
  @Test("netmapd serves the socket that it was given, and does not remove it when it exits")
  func givenSocket() throws {
    let fixture = try DaemonFixture(starts: false)
    let daemon = try TestProgram([
      TestProgram.built("host-peer"), "activate", fixture.socket, TestProgram.built("netmapd"),
      "--foreground", "--socket", fixture.socket, "--idle-exit", "3",
    ])
    // The idle time counts from the start, even if no client has connected.
    #expect(daemon.read(until: "listening").contains("listening"))
    let port = try NetmapPort("netmap:p{1", engine: try fixture.engine())
    // Longer than the daemon would stay without the port.
    usleep(3_500_000)
    _ = try NetmapPort("netmap:p}1", engine: try fixture.engine())
    port.close()
    #expect(daemon.finish().status == 0)
    #expect(unsafe access(fixture.socket, F_OK) == 0, "systemd goes on listening there")
  }
}
