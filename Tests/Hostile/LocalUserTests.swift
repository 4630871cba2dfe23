import Glibc
import NetmapTestSupport
import Testing

/// Files that a local user can prepare to attack other users who start a daemon.
@Suite("Local users", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct LocalUserTests {
  /// Users that exist on no machine.
  private static let (attacker, victim) = (654_321, 654_322)

  private func open(_ environment: [String]) throws -> TestProgram.Outcome {
    try TestProgram(
      HostileTestbed.user(Self.victim)
        + ["env", "-u", "XDG_RUNTIME_DIR", "-u", "NETMAP_SOCKET"] + environment
        + [
          "NETMAPD=\(TestProgram.built("netmapd"))", TestProgram.built("host-peer"), "send",
          "netmap:own{1", "1", "10",
        ]
    ).end()
  }

  @Test("a program sends nothing to another user's daemon", arguments: [false, true])
  func fakeDaemon(_ isLinked: Bool) throws {
    try HostileTestbed.asRoot {
      let folder = "/tmp/netmap-\(Self.victim)"
      let real = isLinked ? "/tmp/netmap-\(Self.attacker)-own" : folder
      func clear() { _ = try? TestProgram.output(of: ["rm", "-rf", folder, real]) }
      clear()
      defer { clear() }
      let user = HostileTestbed.user(Self.attacker)
      _ = try TestProgram.output(of: user + ["mkdir", "-m", "755", real])
      if isLinked { _ = try TestProgram.output(of: user + ["ln", "-s", real, folder]) }
      let daemon = try TestProgram(
        user + [TestProgram.built("hostile-peer"), "fake-daemon", "\(real)/netmapd.sock"])
      defer { daemon.kill(SIGKILL) }
      #expect(daemon.readLine() == "ready\n")
      let outcome = try open([])
      #expect(outcome.status != 0, "\(outcome)")
      daemon.send(SIGKILL)
      let said = rest(of: daemon)
      #expect(!said.contains("got"), "\(said)")
    }
  }

  @Test("the daemon does not write to a log that is a hard link to another file")
  func linkedLog() throws {
    try HostileTestbed.asRoot {
      var name = Array("/tmp/netmap-shared-XXXXXX".utf8CString)
      try #require(unsafe mkdtemp(&name) != nil)
      let folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      defer { _ = try? TestProgram.output(of: ["rm", "-rf", folder]) }
      _ = unsafe chmod(folder, 0o1777)
      let file = "\(folder)/precious"
      let user = HostileTestbed.user(Self.victim)
      _ = try TestProgram.output(
        of: user + ["sh", "-c", "echo precious >\(file); chmod 600 \(file)"])
      try #require(unsafe link(file, "\(folder)/netmapd.sock.log") == 0)
      let outcome = try open(["NETMAP_SOCKET=\(folder)/netmapd.sock"])
      #expect(try TestProgram.output(of: ["cat", file]) == "precious\n", "\(outcome)")
    }
  }
}
