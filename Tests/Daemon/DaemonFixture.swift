import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// A folder of its own with the socket of a daemon of its own, gone with the object.
final class DaemonFixture {
  let folder: String
  var socket: String { "\(folder)/netmapd.sock" }

  /// A command line that runs host-peer with this daemon.
  func command(_ arguments: [String]) -> [String] {
    [
      "env", "NETMAP_SOCKET=\(socket)", "NETMAPD=\(TestProgram.built("netmapd"))",
      TestProgram.built("host-peer"),
    ] + arguments
  }

  private(set) var daemon: TestProgram?

  /// - Parameter starts: Whether to start the daemon; else the first program does.
  /// - Throws: ``FixtureError`` when it does not start.
  init(starts: Bool = true) throws {
    var name = Array("/tmp/netmapd-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&name) != nil else { throw FixtureError(text: "mkdtemp: errno \(errno)") }
    folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    if starts { try start() }
  }

  /// Starts the daemon, and waits until it listens.
  func start(_ options: [String] = []) throws {
    let program = try TestProgram(
      [TestProgram.built("netmapd"), "--foreground", "--socket", socket, "--log-level", "debug"]
        + options)
    daemon = program
    var said = ""
    while !said.contains("listening") {
      let more = program.read()
      guard !more.isEmpty else { throw FixtureError(text: "netmapd: \(said)") }
      said += more
    }
    // What it says later goes nowhere, and must not stop it.
    program.drain()
  }

  /// Ends the daemon with a signal.
  func endDaemon(_ signal: CInt) {
    daemon?.kill(signal)
    daemon = nil
  }

  /// Waits until a daemon that a program started has removed its socket: the last thing it does.
  func waitUntilGone(within time: Duration) {
    let end = ContinuousClock.now + time
    while unsafe access(socket, F_OK) == 0 {
      guard ContinuousClock.now < end else {
        Issue.record("the socket is still there")
        return
      }
      usleep(10_000)
    }
  }

  func engine() throws -> HostEngine { try HostEngine(socket: socket) }

  /// Starts one end of a pipe, and waits until its port is open.
  func peer(_ arguments: [String]) throws -> TestProgram {
    let program = try TestProgram(command(arguments))
    let said = program.read()
    guard said.hasPrefix("ready") else {
      program.kill(SIGKILL)
      throw FixtureError(text: "host-peer: \(said)")
    }
    return program
  }

  deinit {
    endDaemon(SIGTERM)
    for name in ["netmapd.sock", "netmapd.sock.lock", "netmapd.sock.log"] {
      unsafe unlink("\(folder)/\(name)")
    }
    unsafe rmdir(folder)
  }
}

/// Why the daemon, or a program that uses it, did not do its work.
struct FixtureError: Error {
  let text: String
}

/// Everything that a program has said up to its end.
func rest(of program: TestProgram) -> String {
  var text = ""
  while true {
    let more = program.read()
    if more.isEmpty { return text }
    text += more
  }
}
