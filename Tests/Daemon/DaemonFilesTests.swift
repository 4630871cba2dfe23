import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

/// The lock, the log and the folder of a daemon's socket, where other users may have put files first.
@Suite("Files of netmapd", .serialized, .timeLimit(.minutes(15)))
struct DaemonFilesTests {
  private func isFile(_ path: String) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0
  }

  private func write(_ text: String, to path: String) throws {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    try #require(file >= 0)
    _ = unsafe Glibc.write(file, text, text.utf8.count)
    close(file)
  }

  @Test(
    "a log that is a link, a hard link, or not a file: nothing changes, and no daemon starts",
    arguments: ["link", "name", "folder", "pipe"])
  func log(_ kind: String) throws {
    let fixture = try DaemonFixture(starts: false)
    let (precious, log) = ("\(fixture.folder)/precious", "\(fixture.socket).log")
    try write("precious", to: precious)
    switch kind {
    case "link": try #require(unsafe symlink(precious, log) == 0)
    case "name": try #require(unsafe link(precious, log) == 0)
    case "pipe": try #require(unsafe mkfifo(log, 0o600) == 0)
    default: try #require(unsafe mkdir(log, 0o700) == 0)
    }
    let address = try DaemonAddress(path: fixture.socket)
    let error = #expect(throws: NetmapError.self) {
      try address.startDaemon(program: TestProgram.built("netmapd"), idleExit: 1)
    }
    #expect(error?.remedy.isEmpty == false, "\(String(describing: error))")
    #expect(!isFile(fixture.socket), "a socket without a daemon")
    // Started manually, in the background.
    let byHand = try TestProgram([TestProgram.built("netmapd"), "--socket", fixture.socket])
      .finish()
    #expect(byHand.status != 0, "\(byHand)")
    #expect(!isFile(fixture.socket), "a socket without a daemon")
    #expect(try TestProgram.output(of: ["cat", precious]) == "precious")
    unsafe rmdir(log)
  }

  @Test("netmapd in the background has returned only when it listens on all its sockets")
  func allSockets() throws {
    let fixture = try DaemonFixture(starts: false)
    let others = ["a", "b"].map { "\(fixture.folder)/\($0)/netmapd.sock" }
    let started = try TestProgram(
      [TestProgram.built("netmapd"), "--socket", fixture.socket, "--idle-exit", "1"]
        + others.flatMap { ["--listen", "\($0):isolated"] }
    ).finish()
    #expect(started == (0, ""))
    for path in others { #expect(try DaemonAddress(path: path).connect() != nil) }
    fixture.waitUntilGone(within: .seconds(30))
    // A file where a folder should be: no daemon can listen there.
    try write("a file", to: "\(fixture.folder)/c")
    let refused = try TestProgram([
      TestProgram.built("netmapd"), "--socket", fixture.socket, "--listen",
      "\(fixture.folder)/c/netmapd.sock",
    ]).finish()
    #expect(refused.status == 1 && refused.output.contains("see \(fixture.socket).log"))
  }

  @Test(
    "a daemon empties its log when it starts, but not when it refuses to start")
  func emptied() throws {
    let fixture = try DaemonFixture(starts: false)
    let log = "\(fixture.socket).log"
    try write("old", to: log)
    try DaemonAddress(path: fixture.socket).startDaemon(
      program: TestProgram.built("netmapd"), idleExit: 1)
    #expect(try TestProgram.output(of: ["cat", log]).contains("old") == false)
    try write("kept", to: log)
    let second = try TestProgram([TestProgram.built("netmapd"), "--socket", fixture.socket])
      .finish()
    #expect(second.output.contains("EADDRINUSE"), "\(second)")
    #expect(try TestProgram.output(of: ["cat", log]).hasPrefix("kept"))
    fixture.waitUntilGone(within: .seconds(30))
  }

  @Test("a program that cannot be started leaves no socket behind")
  func noProgram() throws {
    let fixture = try DaemonFixture(starts: false)
    try write("no program", to: "\(fixture.folder)/netmapd")
    #expect(throws: NetmapError.self) {
      try DaemonAddress(path: fixture.socket).startDaemon(program: "\(fixture.folder)/netmapd")
    }
    #expect(!isFile(fixture.socket))
  }

  @Test("a failed attempt to lock closes its file once, and no descriptor of another thread")
  func lockClosedOnce() throws {
    let fixture = try DaemonFixture(starts: false)
    let address = try DaemonAddress(path: fixture.socket)
    let held = try DaemonLock(address)
    let isDone = Atomic<Bool>(false)
    let stolen = Atomic<Int>(0)
    withUnsafeThreads(2) { index in
      if index == 0 {
        for _ in 0..<20_000 {
          #expect(throws: NetmapError.self) { try DaemonLock(address, within: 0) }
        }
        isDone.store(true, ordering: .releasing)
      } else {
        while !isDone.load(ordering: .acquiring) {
          let file = unsafe open("/dev/null", O_RDONLY | O_CLOEXEC)
          for _ in 0..<20 where fcntl(file, F_GETFD) < 0 {
            stolen.wrappingAdd(1, ordering: .relaxed)
            break
          }
          close(file)
        }
      }
    }
    #expect(stolen.load(ordering: .relaxed) == 0)
    withExtendedLifetime(held) {}
  }

  private func withUnsafeThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let threads = (0..<count).map { index in try? NamespaceThread { body(index) }.start() }
    for thread in threads { try? thread?.join() }
  }

  @Test("only its user can access the socket, and listening does not change other threads' umask")
  func umaskIsLeftAlone() throws {
    let fixture = try DaemonFixture(starts: false)
    let isDone = Atomic<Bool>(false)
    let narrowed = Atomic<Int>(0)
    let folder = fixture.folder
    let path = fixture.socket
    let old = "\(folder)/made"
    try write("", to: old)
    var status = stat()
    try #require(unsafe stat(old, &status) == 0)
    let usual = status.st_mode
    withUnsafeThreads(2) { index in
      if index == 0 {
        guard let address = try? DaemonAddress(path: path) else { return }
        for _ in 0..<3000 {
          guard let file = try? address.listen() else { continue }
          close(file)
        }
        isDone.store(true, ordering: .releasing)
      } else {
        while !isDone.load(ordering: .acquiring) {
          unsafe unlink(old)
          close(unsafe open(old, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644))
          var status = stat()
          if unsafe stat(old, &status) == 0, status.st_mode != usual {
            narrowed.wrappingAdd(1, ordering: .relaxed)
          }
        }
      }
    }
    #expect(narrowed.load(ordering: .relaxed) == 0)
    try #require(unsafe stat(path, &status) == 0)
    #expect(status.st_mode & 0o777 == 0o600)
  }

  @Test("other users can look into root's folder, whatever root's umask is", .needsRoot)
  func folderMode() throws {
    let fixture = try DaemonFixture(starts: false)
    let folder = "\(fixture.folder)/new"
    let daemon = try TestProgram([
      "sh", "-c", "umask 077; exec \"$@\"", "sh", TestProgram.built("netmapd"), "--foreground",
      "--socket", "\(folder)/x.sock",
    ])
    #expect(daemon.read(until: "listening").contains("listening"))
    var status = stat()
    #expect(unsafe stat(folder, &status) == 0 && status.st_mode & 0o777 == 0o755)
    daemon.kill(SIGTERM)
    _ = try TestProgram(["rm", "-rf", folder]).finish()
  }

  @Test(
    "root's daemon uses the host's search paths for programs and libraries, not its starter's",
    .needsRoot)
  func environment() throws {
    let fixture = try DaemonFixture(starts: false)
    let started = try TestProgram(
      [
        "env", "LD_LIBRARY_PATH=/nowhere",
        "PATH=/nowhere:\(unsafe String(cString: getenv("PATH")))",
      ]
        + fixture.command(["send", "netmap:p{1", "1", "10"]))
    #expect(rest(of: started) == "ready\nsent 10\n")
    started.wait()
    let found = try TestProgram(["pgrep", "-f", "--", "--socket \(fixture.socket)"]).finish().output
    let process = try #require(Int32(found.split(separator: "\n").first ?? ""))
    let environment = try TestProgram.output(of: [
      "sh", "-c", "tr '\\0' '\\n' </proc/\(process)/environ",
    ]).split(separator: "\n")
    #expect(!environment.contains { $0.hasPrefix("LD_") }, "\(environment)")
    #expect(environment.contains { $0.hasPrefix("PATH=/usr/") && !$0.contains("nowhere") })
    kill(process, SIGTERM)
    fixture.waitUntilGone(within: .seconds(30))
  }
}
