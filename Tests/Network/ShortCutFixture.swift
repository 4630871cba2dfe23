import CLinux
import Glibc
import Netmap
import NetmapCore
import NetmapLinuxSetup
import NetmapTestSupport
import Testing

/// A veth with an end in each of two network namespaces, opened through one engine.
final class ShortCutFixture {
  let engine: Engine
  let interfaces = LinuxInterfaces(joinsVeths: true)
  /// A process in the other namespace.
  private let place: TestProgram
  /// The start of a command line that runs there.
  let there: [String]

  init() throws {
    engine = try Engine(interfaces: interfaces)
    _ = try VethPair("near", "far")
    place = try TestProgram(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000"])
    there = ["nsenter", "-t", "\(place.process)", "-n"]
    #expect(place.readLine() == "ready\n")
    try NetworkNamespace.run("ip", "link", "set", "far", "netns", "\(place.process)")
    // The kernel shall send no packets of its own.
    _ = try TestProgram.output(
      of: there + ["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/far/disable_ipv6"])
    _ = try TestProgram.output(of: there + ["ip", "link", "set", "far", "up"])
    try NetworkNamespace.setUp("near")
  }

  deinit { place.kill(SIGKILL) }

  /// Opens a port in the other namespace.
  func openFar(_ choice: String? = nil) throws -> RawPort {
    try open("far", choice, of: place.process)
  }

  /// Opens a port in the network namespace of a process.
  func open(_ name: String, _ choice: String? = nil, of process: Int32) throws -> RawPort {
    let engine = engine
    let thread = try NamespaceThread { () -> Result<Sent, any Error> in
      let file = unsafe Glibc.open("/proc/\(process)/ns/net", O_RDONLY | O_CLOEXEC)
      defer { close(file) }
      guard setns(file, CInt(CLINUX_CLONE_NEWNET)) == 0 else { return .failure(NoNamespace()) }
      return Result { Sent(port: try RawPort(engine, name, choice)) }
    }.start()
    return try thread.join().get().port
  }

  private struct NoNamespace: Error {}

  private struct Sent: @unchecked Sendable { let port: RawPort }

  /// Runs a program in the other namespace.
  func runThere(_ arguments: String...) throws {
    _ = try TestProgram.output(of: there + arguments)
  }

  /// Waits until so many lanes are joined; the engine hears from the kernel what has changed.
  func expectJoined(_ count: Int, _ when: String) {
    let end = ContinuousClock.now + .seconds(20)
    while interfaces.joinedLanes != count, ContinuousClock.now < end { usleep(1000) }
    #expect(interfaces.joinedLanes == count, "\(when)")
  }
}
