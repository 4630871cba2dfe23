internal import CLinux
internal import Glibc
public import Netmap
package import NetmapClient
package import Testing

/// A folder of its own with the socket of a daemon of its own, gone with the object.
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

  /// What the daemon is run by, such as prlimit(1) with its arguments.
  private let wrapper: [String]

  /// - Parameters:
  ///   - starts: Whether to start the daemon; else the first program does.
  ///   - wrapper: What to run the daemon by.
  /// - Throws: ``FixtureError`` when it does not start.
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
    // What it says later goes nowhere, and must not stop it.
    program.drain()
  }

  /// Ends the daemon with a signal.
  public func endDaemon(_ signal: CInt) {
    let life = serving.map { clinux_pidfd_open($0) } ?? -1
    defer { if life >= 0 { close(life) } }
    daemon?.kill(signal)
    daemon = nil
    // The process that answers requests ends a moment later.
    guard life >= 0 else { return }
    var end = pollfd(fd: life, events: Int16(POLLIN), revents: 0)
    _ = unsafe poll(&end, 1, 5000)
  }

  /// Waits until a daemon that a program started has removed its socket: the last thing it does.
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

  /// The process that answers requests: root's daemon has one for that, a child of the other.
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

  /// Descriptors that it has open.
  public func daemonDescriptors() throws -> Int {
    guard let process = serving, let folder = unsafe opendir("/proc/\(process)/fd") else {
      throw FixtureError(text: "the daemon is not running")
    }
    defer { unsafe closedir(folder) }
    var count = 0
    while unsafe readdir(folder) != nil { count += 1 }
    return count - 2
  }

  /// What the daemon's descriptors are, one a line, for a failed test to show.
  public func describeDescriptors() -> String {
    guard let process = serving else { return "" }
    return (try? TestProgram.output(of: ["ls", "-l", "/proc/\(process)/fd"])) ?? ""
  }

  /// What lies in the folder.
  public var files: [String] {
    guard let folder = unsafe opendir(folder) else { return [] }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  /// Has the daemon check everything, and expects that nothing is wrong.
  @discardableResult
  package func expectSound(
    _ context: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> DaemonCheck {
    let check = try engine().check()
    #expect(
      check.report.findings.isEmpty, "\(context()): \(check.report.findings)",
      sourceLocation: sourceLocation)
    return check
  }

  public func engine() throws -> HostEngine {
    try besideOthers { () throws(NetmapError) in try HostEngine(socket: socket) }
  }

  /// Asks a daemon with few descriptors, and again while too many are on their way to processes. The kernel counts
  /// those of all daemons, as they have one user, and tests run side by side.
  package func besideOthers<R>(
    _ body: () throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    let end = ContinuousClock.now + .seconds(60)
    while true {
      do throws(NetmapError) {
        return try body()
      } catch {
        guard error.code.rawValue == ETOOMANYREFS, ContinuousClock.now < end else { throw error }
        usleep(10_000)
      }
    }
  }

  /// Starts one end of a pipe, and waits until its port is open.
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
    // What a test that failed has left running; who was waited for is nobody's child any more.
    for peer in peers {
      var status: CInt = 0
      if unsafe waitpid(peer.process, &status, WNOHANG) == 0 { peer.kill(SIGKILL) }
    }
    endDaemon(SIGTERM)
    for name in files { unsafe unlink("\(folder)/\(name)") }
    unsafe rmdir(folder)
  }
}

/// Why the daemon, or a program that uses it, did not do its work.
public struct FixtureError: Error {
  public let text: String
}

/// Everything that a program has said up to its end.
public func rest(of program: TestProgram) -> String {
  var text = ""
  while true {
    let more = program.read()
    if more.isEmpty { return text }
    text += more
  }
}
