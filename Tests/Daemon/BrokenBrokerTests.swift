import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapDaemon
import NetmapTestSupport
import Testing

/// Attacks by members on the two processes of root's netmapd, and attacks by a process that has taken over the
/// broker.
@Suite(
  "The opener with a hostile or hanging broker", .serialized, .timeLimit(.minutes(15)),
  .needsRoot)
struct BrokenBrokerTests {
  private static let loads = ["--set-module", "vale0=\(ModuleTestbed.portGuard)", "--config", "1"]

  /// Runs vale-ctl by another program.
  private func load(_ testbed: ModuleTestbed, by wrapper: [String]) throws -> (CInt, String) {
    let outcome = try TestProgram(
      wrapper + [TestProgram.built("vale-ctl")] + Self.loads,
      environment: ["NETMAP_SOCKET": testbed.fixture.socket]
    ).end()
    return (outcome.status, outcome.output)
  }

  @Test("root in a container cannot load modules: other mount namespace, other user namespace")
  func container() throws {
    let testbed = try ModuleTestbed()
    let port = try testbed.port("vale0:a")
    _ = unsafe chmod(testbed.fixture.folder, 0o777)
    _ = unsafe chmod(testbed.fixture.socket, 0o777)
    let wrappers = [["unshare", "--mount"], ["unshare", "--user", "--map-root-user"]]
    for wrapper in wrappers {
      let (status, text) = try load(testbed, by: wrapper)
      #expect(status == 1 && text.contains("in a container"), "\(wrapper): \(text)")
    }
    #expect(try testbed.report().active == "learning")
    let (status, text) = try load(testbed, by: [])
    #expect(status == 0, "\(text)")
    #expect(try testbed.report().active == "port-guard")
    withExtendedLifetime(port) {}
  }

  @Test("--no-modules refuses modules from shared objects; built-in ones can still be chosen")
  func withoutModules() throws {
    let testbed = try ModuleTestbed(["--no-modules"])
    let port = try testbed.port("vale0:a")
    let (status, text) = try load(testbed, by: [])
    #expect(status == 1 && text.contains("--no-modules"), "\(text)")
    #expect(try testbed.valeCtl("--set-module", "vale0=hub") == (0, ""))
    withExtendedLifetime(port) {}
  }

  /// A file that an attacker mounts a file system on.
  private func withHangingFile(_ body: (String) throws -> Void) throws {
    var name = Array("/tmp/netmap-hang-XXXXXX".utf8CString)
    let file = unsafe mkstemp(&name)
    close(file)
    let path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
      release(path)
      unsafe unlink(path)
    }
    try body(path)
  }

  /// Ends every wait for the file: until then not even a killed process ends.
  private func release(_ path: String) {
    _ = unsafe umount2(path, CInt(MNT_FORCE) | CInt(MNT_DETACH))
  }

  private func attack(_ fixture: DaemonFixture, _ words: String...) throws -> TestProgram {
    let program = try TestProgram(
      [TestProgram.built("hostile-peer")] + words, environment: ["NETMAP_SOCKET": fixture.socket])
    let line = program.readLine()
    try #require(line.hasPrefix("ready"), "\(line)")
    return program
  }

  private func attach(_ fixture: DaemonFixture, _ interface: String) throws -> Duration {
    try ContinuousClock().measure {
      let result = try TestProgram(
        [TestProgram.built("vale-ctl"), "-a", "vale7:\(interface)"],
        environment: ["NETMAP_SOCKET": fixture.socket]
      ).finish()
      #expect(result.status == 0, "\(result.output)")
    }
  }

  @Test("a seal that cannot be received from does not delay the opener")
  func hangingSeal() throws {
    try NetworkNamespace.run {
      let testbed = try ModuleTestbed()
      let pair = try VethPair()
      let port = try testbed.port("vale0:a")
      try withHangingFile { path in
        let program = try attack(
          testbed.fixture, "hanging-seal", path, "vale0", ModuleTestbed.portGuard)
        defer {
          release(path)
          program.kill(SIGKILL)
        }
        let time = try attach(testbed.fixture, pair.first)
        #expect(time < .seconds(5), "\(time)")
        #expect(try load(testbed, by: []).0 == 0)
        #expect(program.readLine().hasPrefix("refused"))
        let daemon = try #require(testbed.fixture.daemon)
        daemon.send(SIGTERM)
        #expect(daemon.wait() == 0)
      }
      withExtendedLifetime(port) {}
    }
  }

  /// The daemon's other broker, besides a known one.
  private func successor(of broker: Int32, _ fixture: DaemonFixture) throws -> Int32? {
    let daemon = try #require(fixture.daemon).process
    let text = try TestProgram.output(of: ["cat", "/proc/\(daemon)/task/\(daemon)/children"])
    return text.split(separator: " ").compactMap { Int32($0) }.first { $0 != broker }
  }

  @Test("a broker that cannot die because a close hangs has a successor within seconds")
  func hangingClose() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      _ = try attach(fixture, pair.first)
      let broker = try #require(fixture.serving)
      try withHangingFile { path in
        let program = try attack(fixture, "hanging-close", path)
        defer {
          release(path)
          program.kill(SIGKILL)
        }
        kill(broker, SIGKILL)
        try expectSoon("another broker", within: 5) { try successor(of: broker, fixture) != nil }
        // The broker's descriptors are still open, but no client process has the BPF link.
        try expectSoon("a normal interface", within: 2) {
          !InterfaceState(pair.first).hasXDPProgram
        }
        let peer = try RawPeer(fixture)
        #expect(try peer.refusal(.check, on: peer.mailbox) == nil)
        let daemon = try #require(fixture.daemon)
        let time = ContinuousClock().measure {
          daemon.send(SIGTERM)
          #expect(daemon.wait() == 0)
        }
        #expect(time < .seconds(15), "\(time)")
      }
    }
  }

  @Test("a broker that cannot exit when idle does not keep the socket from the next daemon")
  func hangingExit() throws {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--idle-exit", "1"])
    try withHangingFile { path in
      let program = try attack(fixture, "hanging-close", path)
      defer {
        release(path)
        program.kill(SIGKILL)
      }
      let daemon = try #require(fixture.daemon)
      let time = ContinuousClock().measure { #expect(daemon.wait() == 0) }
      #expect(time < .seconds(20), "\(time)")
      #expect(unsafe access(fixture.socket, F_OK) != 0)
    }
  }

  @Test("netmapd has a broker even if it was started with SIGCHLD ignored")
  func ignoredChildren() throws {
    let fixture = try DaemonFixture(wrapper: [
      "python3", "-c",
      "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
        + " os.execvp(sys.argv[1], sys.argv[1:])",
    ])
    #expect(fixture.serving != fixture.daemon?.process)
  }

  @Test("a socket that a broker has shut down listens again")
  func shutDown() throws {
    let fixture = try DaemonFixture(starts: false)
    let address = try DaemonAddress(path: fixture.socket)
    let file = try address.listen()
    let daemon = try DaemonProgram.spawn(
      TestProgram.built("netmapd"),
      ["--foreground", "--listener", "3", "--socket", fixture.socket], listener: file,
      log: DaemonLog(path: "\(fixture.socket).log"), waits: false)
    defer {
      kill(daemon, SIGTERM)
      waitpid(daemon, nil, 0)
    }
    _ = try RawPeer(address)
    // The broker has the same socket.
    shutdown(file, CInt(SHUT_RDWR))
    close(file)
    #expect(try address.connect() == nil)
    let children = try TestProgram.output(of: ["cat", "/proc/\(daemon)/task/\(daemon)/children"])
    let process = try #require(children.split(separator: " ").compactMap { Int32($0) }.first)
    kill(process, SIGKILL)
    try expectSoon("a socket that listens") { try address.connect() != nil }
    let peer = try RawPeer(address)
    #expect(try peer.refusal(.check, on: peer.mailbox) == nil)
  }

  @Test("the broker has no terminal, and a network namespace of its own")
  func surroundings() throws {
    let fixture = try DaemonFixture()
    let (opener, broker) = (
      try #require(fixture.daemon).process, try #require(fixture.serving)
    )
    let files = try TestProgram.output(of: [
      "sh", "-c", "readlink /proc/\(broker)/fd/0 /proc/\(broker)/fd/1",
    ])
    #expect(files == "/dev/null\n/dev/null\n")
    let places = try TestProgram.output(of: [
      "sh", "-c", "readlink /proc/\(broker)/ns/net /proc/\(opener)/ns/net",
    ]).split(separator: "\n")
    #expect(places.count == 2 && places[0] != places[1])
  }

  /// An opener in this process, and the broker's end of its socket.
  private final class Testbed {
    let opener: Opener
    let mine: MessageSocket
    let theirs: MessageSocket
    final class Count { var value = 0 }
    let asked = Count()

    init() throws {
      (mine, theirs) = try MessageSocket.pair()
      let asked = asked
      opener = try Opener(try DaemonAddress(path: "/tmp/nowhere.sock")) { _ in
        asked.value += 1
        return true
      }
    }

    /// Sends a request.
    ///
    /// - Returns: Whether the opener keeps serving the broker, and the bytes of the answer.
    func ask(_ kind: UInt16, _ values: [UInt32], _ files: [CInt] = []) throws -> (Bool, [UInt8]) {
      var writer = MessageWriter()
      writer.put(UInt16(5))
      writer.put(kind)
      for value in values { writer.put(value) }
      try mine.send(writer.bytes, files)
      let goesOn = opener.serve(theirs.descriptor)
      return (goesOn, try mine.receive(waits: false)?.bytes ?? [])
    }
  }

  @Test("the opener gives up its path only once when the broker asks to end")
  func leaving() throws {
    let testbed = try Testbed()
    for _ in 0..<3 { #expect(try testbed.ask(11, [1]).1.last == 1) }
    #expect(testbed.asked.value == 1)
  }

  @Test("the opener accepts only a message socket as a seal, and starts no process otherwise")
  func noSeal() throws {
    let testbed = try Testbed()
    var ends: [CInt] = [-1, -1]
    unsafe socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends)
    defer { for end in ends { close(end) } }
    let (goesOn, answer) = try testbed.ask(12, [0], [ends[0]])
    #expect(goesOn && answer.count > 4 && answer[2] == 1)
  }
}
