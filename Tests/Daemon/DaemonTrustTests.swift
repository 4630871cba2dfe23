import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// A program trusts the daemon of root or of its own user, and sends nothing to any other daemon.
@Suite("Which daemons a program trusts", .serialized, .needsRoot, .timeLimit(.minutes(15)))
struct DaemonTrustTests {
  /// Users that do not otherwise exist: one that uses netmap, and one that runs a false daemon.
  private static let (user, other) = (64123, 64124)
  private static let usual = "/tmp/netmap-\(user)"

  /// The command that runs a program as another user.
  private func setpriv(_ user: Int, _ options: String...) -> [String] {
    ["setpriv", "--reuid", "\(user)", "--regid", "\(user)", "--clear-groups"] + options
  }

  /// The command that runs a program without a configured daemon address, on a host where root's daemon does
  /// not run.
  private var untold: [String] {
    [
      "env", "-u", "NETMAP_SOCKET", "-u", "XDG_RUNTIME_DIR",
      "NETMAPD=\(TestProgram.built("netmapd"))",
      "unshare", "-m", "sh", "-c", "mount -t tmpfs none /run && exec \"$@\"", "sh",
    ]
  }

  private var sender: [String] {
    [TestProgram.built("host-peer"), "send", "netmap:p{1", "1", "10"]
  }

  /// A process that listens at `socket` and prints what it receives.
  private func listener(
    _ socket: String, as user: Int, connections: Int = 1
  ) throws -> TestProgram {
    let program = try TestProgram(
      setpriv(user) + [TestProgram.built("host-peer"), "overhear", socket, "\(connections)"])
    try #require(program.readLine() == "ready\n")
    return program
  }

  private func makeFolder(_ path: String, of user: Int, mode: mode_t = 0o755) throws {
    remove(path)
    try #require(unsafe mkdir(path, mode) == 0 && chmod(path, mode) == 0, "errno \(errno)")
    try #require(unsafe chown(path, UInt32(user), UInt32(user)) == 0)
  }

  private func remove(_ path: String) {
    _ = try? TestProgram(["rm", "-rf", path]).finish()
  }

  @Test("nothing is sent to another user's daemon at this user's usual address")
  func usualAddress() throws {
    try makeFolder(Self.usual, of: Self.other)
    defer { remove(Self.usual) }
    let fake = try listener("\(Self.usual)/netmapd.sock", as: Self.other)
    let said = try TestProgram(untold + setpriv(Self.user) + sender).finish()
    #expect(said.output.contains("EPERM") && said.output.contains("user \(Self.other)"), "\(said)")
    #expect(said.output.contains("NETMAP_SOCKET"), "no remedy in the message: \(said)")
    #expect(fake.finish().output == "heard 0\n")
  }

  @Test("nothing is sent to another user's daemon at a configured address")
  func namedAddress() throws {
    let folder = "\(Self.usual)-named"
    try makeFolder(folder, of: Self.other)
    defer { remove(folder) }
    let fake = try listener("\(folder)/x.sock", as: Self.other)
    let said = try TestProgram(
      ["env", "NETMAP_SOCKET=\(folder)/x.sock"] + setpriv(Self.user) + sender
    ).finish()
    #expect(said.output.contains("EPERM"), "\(said)")
    #expect(fake.finish().output == "heard 0\n")
  }

  @Test(
    "another user's XDG_RUNTIME_DIR, which su(1) passes on, is ignored, also for root without rights"
  )
  func runtimeFolder() throws {
    let folder = "\(Self.usual)-xdg"
    try makeFolder(folder, of: Self.other)
    try makeFolder("\(folder)/netmap", of: Self.other)
    remove(Self.usual)
    defer {
      remove(folder)
      remove(Self.usual)
    }
    let fake = try listener("\(folder)/netmap/netmapd.sock", as: Self.other)
    let root = ["env", "XDG_RUNTIME_DIR=\(folder)", "setpriv", "--bounding-set=-net_admin"]
    for wrapper in [["env", "XDG_RUNTIME_DIR=\(folder)"] + setpriv(Self.user), root] {
      let said = try TestProgram(untold + wrapper + sender).finish()
      #expect(said.output == "ready\nsent 10\n", "\(wrapper): \(said)")
    }
    // The program has started a daemon of the user.
    var status = stat()
    #expect(unsafe lstat(Self.usual, &status) == 0)
    #expect(status.st_mode & 0o7777 == 0o700 && status.st_uid == UInt32(Self.user))
    fake.kill(SIGKILL)
    // The daemon exits by itself.
    for _ in 0..<2000 where unsafe access("\(Self.usual)/netmapd.sock", F_OK) == 0 {
      usleep(10_000)
    }
  }

  @Test(
    "a usual address in a folder that others may write to, or behind a link, is refused",
    arguments: ["writable", "link", "other's"])
  func folder(_ kind: String) throws {
    let real = "\(Self.usual)-real"
    defer {
      remove(real)
      remove(Self.usual)
    }
    remove(Self.usual)
    switch kind {
    case "writable": try makeFolder(Self.usual, of: Self.user, mode: 0o777)
    case "other's": try makeFolder(Self.usual, of: Self.other, mode: 0o777)
    default:
      try makeFolder(real, of: Self.user, mode: 0o700)
      try #require(unsafe symlink(real, Self.usual) == 0)
    }
    // A daemon of this user that ran there before.
    let running = try listener("\(Self.usual)/netmapd.sock", as: Self.user)
    var said = try TestProgram(untold + setpriv(Self.user) + sender).finish()
    #expect(said.output.contains("EPERM") && said.output.contains(Self.usual), "\(said)")
    #expect(running.finish().output == "heard 0\n")
    // The program does not start a daemon there either.
    said = try TestProgram(untold + setpriv(Self.user) + sender).finish()
    #expect(said.status != 0 && said.output.contains(Self.usual), "\(said)")
  }

  @Test("nothing is sent on a socket that is not a token of a trusted daemon")
  func token() throws {
    let folder = "\(Self.usual)-token"
    try makeFolder(folder, of: Self.other)
    defer { remove(folder) }
    let socket = "\(folder)/x.sock"
    let fake = try listener(socket, as: Self.other, connections: 2)
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let port = try NetmapPort("netmap:p{1", engine: engine)
    // With an engine that is a client of the real daemon, and with one that is not a client yet.
    for engine in [engine, try fixture.engine()] {
      var error = #expect(throws: NetmapError.self) {
        _ = try engine.port(token: connected(to: socket, CInt(SOCK_SEQPACKET.rawValue)))
      }
      #expect(error?.code == .notPermitted, "\(String(describing: error))")
      #expect(error?.reason.contains("user \(Self.other)") == true)
      let (mine, theirs) = try MessageSocket.pair()
      error = #expect(throws: NetmapError.self) {
        _ = try engine.port(token: dup(theirs.descriptor))
      }
      #expect(error?.code == .invalidArgument)
      #expect(try mine.receive(waits: false) == nil)
    }
    #expect(fake.finish().output == "heard 0\n")
    port.close()
  }

  private func connected(to path: String, _ kind: CInt) throws -> CInt {
    let file = Glibc.socket(AF_UNIX, kind | CInt(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
    let result = unsafe withUnsafePointer(to: address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(file, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    try #require(result == 0, "errno \(errno)")
    return file
  }

  @Test(
    "where root is not mapped, its daemon is used if configured and if only root owns its folder"
  )
  func userNamespace() throws {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--isolate-others"])
    let inside = setpriv(Self.user) + ["unshare", "--user", "--map-current-user"]
    let command = inside + fixture.command(["send", "netmap:p{1", "1", "10"])
    _ = unsafe chmod(fixture.folder, 0o755)
    var said = try TestProgram(command).finish()
    #expect(said.output == "ready\nsent 10\n", "\(said)")
    _ = unsafe chmod(fixture.folder, 0o777)
    said = try TestProgram(command).finish()
    #expect(said.output.contains("EPERM") && said.output.contains("namespace"), "\(said)")
  }

  @Test("which users' daemons a process trusts, by the user map of its namespace")
  func verdicts() {
    func verdict(_ user: UInt32, _ map: String?, _ listener: UInt32) -> DaemonTrust.Verdict {
      DaemonTrust(user: user, overflow: "65534\n", map: map).verdict(on: listener)
    }
    let host = "         0          0 4294967295\n"
    for map in [host, nil] {
      #expect(verdict(1000, map, 0) == .trusted)
      #expect(verdict(1000, map, 1000) == .trusted)
      #expect(verdict(1000, map, 1001) == .refused)
      #expect(verdict(0, map, 1000) == .refused)
      // Here 65534 is an ordinary user.
      #expect(verdict(65534, map, 65534) == .trusted)
      #expect(verdict(1000, map, 65534) == .refused)
    }
    let sandbox = "      1000       1000          1\n"
    #expect(verdict(1000, sandbox, 1000) == .trusted)
    #expect(verdict(1000, sandbox, 65534) == .trustedIfNamed)
    let container = "         0       1000          1\n         1     100000      65536\n"
    #expect(verdict(0, container, 0) == .trusted)
    #expect(verdict(0, container, 65534) == .trustedIfNamed)
    #expect(verdict(0, container, 5) == .refused)
    // Root has a number in this namespace, other users have none.
    let some = "0 0 1\n"
    #expect(verdict(0, some, 0) == .trusted)
    #expect(verdict(0, some, 65534) == .refused)
    #expect(verdict(65534, some, 65534) == .refused)
    // No user has a number.
    #expect(verdict(65534, "", 65534) == .trustedIfNamed)
  }

  @Test("a user without access to the host's daemon is told how to start one, and that works")
  func noAccess() throws {
    remove(Self.usual)
    defer { remove(Self.usual) }
    let script = """
      mount -t tmpfs none /run && mkdir /run/netmap
      '\(TestProgram.built("netmapd"))' --idle-exit 5
      chmod 600 /run/netmap/netmapd.sock
      exec "$@"
      """
    let command =
      [
        "env", "-u", "NETMAP_SOCKET", "-u", "XDG_RUNTIME_DIR",
        "NETMAPD=\(TestProgram.built("netmapd"))", "unshare", "-m", "sh", "-c", script, "sh",
      ]
    var said = try TestProgram(command + setpriv(Self.user) + sender).finish()
    #expect(said.output.contains("EACCES") && said.output.contains("group"), "\(said)")
    let word = said.output.split(separator: " ").first { $0.hasPrefix("NETMAP_SOCKET=") }
    #expect(word == "NETMAP_SOCKET=\(Self.usual)/netmapd.sock")
    said = try TestProgram(
      command + ["env", String(word ?? "X=1")] + setpriv(Self.user) + sender
    ).finish()
    #expect(said.output == "ready\nsent 10\n", "\(said)")
    for _ in 0..<2000 where unsafe access("\(Self.usual)/netmapd.sock", F_OK) == 0 {
      usleep(10_000)
    }
  }
}
