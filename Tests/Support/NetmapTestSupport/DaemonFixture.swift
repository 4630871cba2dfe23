internal import CLinux
internal import Glibc
public import Netmap
package import NetmapClient
internal import NetmapCore
internal import ProcessFiles
package import Testing

/// A temporary folder with a private daemon's socket; both end with this object.
public final class DaemonFixture {
  public let folder: String
  public var socket: String { "\(folder)/netmapd.sock" }

  /// A command line that runs host-peer with this daemon.
  public func command(_ arguments: [String]) -> [String] {
    [
      "env", "NETMAP_SOCKET=\(socket)", "NETMAPD=\(TestProgram.built("netmapd"))",
      TestProgram.built("host-peer"),
    ] + arguments
  }

  public private(set) var daemon: TestProgram?
  private var peers: [TestProgram] = []

  /// The command that runs the daemon, such as prlimit(1) with its arguments.
  private let wrapper: [String]

  /// - Parameters:
  ///   - starts: Whether to start the daemon; otherwise the first program starts it.
  ///   - wrapper: The command that runs the daemon.
  /// - Throws: ``FixtureError`` when the daemon does not start.
  public init(starts: Bool = true, wrapper: [String] = []) throws {
    self.wrapper = wrapper
    var name = Array("/tmp/netmapd-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&name) != nil else { throw FixtureError(text: "mkdtemp: errno \(errno)") }
    folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    if starts { try start() }
  }

  /// Starts the daemon, and waits until it listens.
  public func start(_ options: [String] = []) throws {
    let program = try TestProgram(
      wrapper + [
        TestProgram.built("netmapd"), "--foreground", "--socket", socket, "--log-level", "debug",
      ] + options)
    daemon = program
    var said = ""
    while !said.contains("listening") {
      let more = program.read()
      guard !more.isEmpty else { throw FixtureError(text: "netmapd: \(said)") }
      said += more
    }
    // Discards later output, so that the daemon never blocks on it.
    program.drain()
  }

  /// Ends the daemon with a signal.
  public func endDaemon(_ signal: CInt) {
    let life = serving.map { clinux_pidfd_open($0) } ?? -1
    defer { if life >= 0 { close(life) } }
    daemon?.kill(signal)
    daemon = nil
    // The broker ends a moment after the parent process.
    guard life >= 0 else { return }
    var end = pollfd(fd: life, events: Int16(POLLIN), revents: 0)
    _ = unsafe poll(&end, 1, 5000)
  }

  /// Waits until a daemon that a program started has removed its socket, which is its last action.
  public func waitUntilGone(within time: Duration) {
    let end = ContinuousClock.now + time
    while unsafe access(socket, F_OK) == 0 {
      guard ContinuousClock.now < end else {
        Issue.record("the socket is still there")
        return
      }
      usleep(10_000)
    }
  }

  /// The process that answers requests.
  ///
  /// With root's daemon that is the broker, a child of the daemon.
  public var serving: Int32? {
    guard let process = daemon?.process else { return nil }
    let file = unsafe open("/proc/\(process)/task/\(process)/children", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return process }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = unsafe read(file, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: " ").first
      .flatMap { Int32($0) } ?? process
  }

  /// Number of descriptors that the process that answers requests has open.
  public func daemonDescriptors() throws -> Int {
    guard let process = serving else { throw FixtureError(text: "the daemon is not running") }
    return ProcessFiles.entries("/proc/\(process)/fd").count
  }

  /// The daemon's open descriptors, one per line, for the message of a failed test.
  public func describeDescriptors() -> String {
    guard let process = serving else { return "" }
    return (try? TestProgram.output(of: ["ls", "-l", "/proc/\(process)/fd"])) ?? ""
  }

  /// The names of the files in the folder.
  public var files: [String] { ProcessFiles.entries(folder) }

  /// Makes the daemon check everything, and expects no findings.
  @discardableResult
  package func expectSound(
    _ context: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> DaemonCheck {
    let engine = try engine()
    let check = try besideOthers { () throws(NetmapError) in try engine.check() }
    #expect(
      check.report.findings.isEmpty, "\(context()): \(check.report.findings)",
      sourceLocation: sourceLocation)
    return check
  }

  /// Like ``expectSound(_:sourceLocation:)``, for tests that know no module of the daemon's.
  package func isSound(
    _ context: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Bool {
    try expectSound(context(), sourceLocation: sourceLocation).report.findings.isEmpty
  }

  public func engine() throws -> HostEngine {
    try besideOthers { () throws(NetmapError) in try HostEngine(socket: socket) }
  }

  /// Runs `body`, and repeats it while the kernel refuses with `ETOOMANYREFS`.
  ///
  /// The kernel limits descriptors in flight per user. It counts those of all daemons together, and tests run
  /// in parallel, some of them with processes that never receive.
  package func besideOthers<R>(
    _ body: () throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    let end = ContinuousClock.now + .seconds(300)
    while true {
      do throws(NetmapError) {
        return try body()
      } catch {
        guard error.code.rawValue == ETOOMANYREFS, ContinuousClock.now < end else { throw error }
        usleep(10_000)
      }
    }
  }

  /// Starts a host-peer, and waits until its port is open.
  public func peer(_ arguments: [String]) throws -> TestProgram {
    let program = try TestProgram(command(arguments))
    let said = program.readLine()
    guard said.hasPrefix("ready") else {
      program.kill(SIGKILL)
      throw FixtureError(text: "host-peer: \(said)")
    }
    peers.append(program)
    return program
  }

  deinit {
    // Kills the peers that a failed test has left running. A peer that was waited for is no longer a child.
    for peer in peers {
      var status: CInt = 0
      if unsafe waitpid(peer.process, &status, WNOHANG) == 0 { peer.kill(SIGKILL) }
    }
    endDaemon(SIGTERM)
    for name in files { unsafe unlink("\(folder)/\(name)") }
    unsafe rmdir(folder)
  }
}

/// The reason why the daemon, or a program that uses it, failed.
public struct FixtureError: Error {
  public let text: String

  public init(text: String) {
    self.text = text
  }
}

/// All output of a program up to its end.
public func rest(of program: TestProgram) -> String {
  var text = ""
  while true {
    let more = program.read()
    if more.isEmpty { return text }
    text += more
  }
}
