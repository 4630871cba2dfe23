import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// netmapd's tunables: options, configuration files, and `netmap config`.
@Suite("netmap config", .serialized, .timeLimit(.minutes(15)))
struct ConfigCommandTests {
  private func config(_ fixture: DaemonFixture, _ words: String...) throws -> TestProgram.Outcome {
    try TestProgram(
      [TestProgram.built("netmap"), "config"] + words,
      environment: ["NETMAP_SOCKET": fixture.socket, "NETMAPD": TestProgram.built("netmapd")]
    ).end()
  }

  /// Starts a netmapd that must fail, and returns what it says.
  private func refusal(_ fixture: DaemonFixture, _ options: [String], status: CInt) throws -> String
  {
    let outcome = try TestProgram(
      [TestProgram.built("netmapd"), "--foreground", "--socket", fixture.socket] + options
    ).end()
    #expect(outcome.status == status, "\(options): \(outcome)")
    #expect(unsafe access(fixture.socket, F_OK) != 0, "no socket is left behind")
    return outcome.output + outcome.errors
  }

  private func write(_ bytes: some Collection<UInt8>, _ fixture: DaemonFixture) throws -> String {
    let path = "\(fixture.folder)/netmapd.conf"
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    let bytes = Array(bytes)
    guard file >= 0, unsafe Glibc.write(file, bytes, bytes.count) == bytes.count else {
      throw FixtureError(text: "\(path): errno \(errno)")
    }
    close(file)
    return path
  }

  private func state(_ tunable: Tunable, _ fixture: DaemonFixture) throws -> TunableState {
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    return try #require(try connection.tunables().first { $0.tunable == tunable })
  }

  @Test("values come from the command line, the environment, a file, or the default, in this order")
  func origins() throws {
    let fixture = try DaemonFixture(
      starts: false, wrapper: ["env", "NETMAP_BUFFERS=30000", "NETMAP_RINGS=301"])
    let path = try write(
      "ring_num = 250\nif_num=77 # opens\nbuf_num = 20000\nfwd=0\n".utf8, fixture)
    try fixture.start(["--config", path, "--set", "fwd=1", "--set=admode=7", "--rings", "302"])
    let expected: [(Tunable, Int, String)] = [
      (.interfaceCount, 77, "\(path):2"), (.bufferCount, 30_000, "$NETMAP_BUFFERS"),
      (.ringCount, 302, "--rings"), (.forward, 1, "--set"), (.adapterMode, 0, "--set"),
      (.switchBatch, 1024, "default"), (.bufferCurrentCount, 0, "in use"),
    ]
    for (tunable, value, origin) in expected {
      let found = try state(tunable, fixture)
      #expect(found.value == value && found.origin == origin, "\(found)")
    }
  }

  @Test("a daemon in the background has the values of its command line and its file")
  func background() throws {
    let fixture = try DaemonFixture(starts: false)
    let path = try write("if_num=78\n".utf8, fixture)
    let outcome = try TestProgram([
      TestProgram.built("netmapd"), "--socket", fixture.socket, "--idle-exit", "2", "--config",
      path, "--set", "max_bridges=3",
    ]).end()
    #expect(outcome.status == 0, "\(outcome)")
    #expect(try state(.interfaceCount, fixture) == .init(.interfaceCount, 78, origin: "\(path):1"))
    #expect(try state(.switchCount, fixture) == .init(.switchCount, 3, origin: "--set"))
    fixture.waitUntilGone(within: .seconds(60))
  }

  @Test("without --config netmapd reads /etc/netmap/netmapd.conf", .needsRoot)
  func standardFile() throws {
    // A mount namespace of its own, whose /etc has nothing else.
    let script = """
      mount -t tmpfs tmpfs /etc && mkdir /etc/netmap &&
      echo 'ring_num = 333' > /etc/netmap/netmapd.conf && exec "$@"
      """
    let fixture = try DaemonFixture(
      starts: false, wrapper: ["unshare", "-m", "sh", "-c", script, "sh"])
    try fixture.start()
    #expect(
      try state(.ringCount, fixture)
        == .init(.ringCount, 333, origin: "/etc/netmap/netmapd.conf:1"))
    fixture.endDaemon(SIGTERM)
    try fixture.start(["--set", "ring_num=334"])
    #expect(try state(.ringCount, fixture).origin == "--set")
  }

  @Test("a wrong option or file is refused with its place, the reason and the remedy")
  func wrong() throws {
    let fixture = try DaemonFixture(starts: false)
    for (options, words) in [
      (["--set", "no_such=1"], ["no_such", "netmap config"]),
      (["--set", "buf_num"], ["buf_num", "NAME=VALUE"]),
      (["--set", "buf_num=3"], ["4...1000000", "default"]),
      (["--set", "buf_num=x"], ["'x' is not a number"]),
      (["--set", "buf_curr_num=3"], ["set buf_num"]),
      (["--set", "buf_num=9000", "--buffers", "9000"], ["--buffers", "buf_num"]),
    ] {
      let said = try refusal(fixture, options, status: 64)
      for word in words { #expect(said.contains(word), "\(options): \(said)") }
    }
    let garbage = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 5) }
    for (bytes, words) in [
      (Array("fwd=1\n\nadmode one\n".utf8), [":3", "'='", "NAME=VALUE"]),
      (Array("buf_num = 3\n".utf8), [":1", "4...1000000"]),
      (garbage, ["netmapd.conf:"]),
      ([UInt8](repeating: 10, count: 70_000), ["65536"]),
    ] {
      let path = try write(bytes, fixture)
      let said = try refusal(fixture, ["--config", path], status: 1)
      for word in words { #expect(said.contains(word), "\(said)") }
      #expect(said.utf8.count < 1000 && said.contains(path))
    }
    let missing = try refusal(fixture, ["--config", "/no/such.conf"], status: 1)
    #expect(missing.contains("/no/such.conf") && missing.contains("ENOENT"))
    #expect(try refusal(fixture, ["--config", "/dev/zero"], status: 1).contains("regular file"))
    let pipe = "\(fixture.folder)/pipe"
    #expect(unsafe mkfifo(pipe, 0o600) == 0)
    #expect(try refusal(fixture, ["--config", pipe], status: 1).contains("regular file"))
  }

  @Test("the list has every tunable; get and set work by name")
  func command() throws {
    let fixture = try DaemonFixture()
    let list = try config(fixture)
    #expect(list.status == 0)
    let lines = list.output.split(separator: "\n")
    #expect(lines.count == Tunable.allCases.count + 1)
    for (line, tunable) in zip(lines.dropFirst(), Tunable.allCases) {
      #expect(line.hasPrefix("\(tunable.name) ") && line.contains(tunable.rule.meaning))
    }
    let json = try config(fixture, "--json").output.split(separator: "\n")
    #expect(json.count == Tunable.allCases.count)
    #expect(
      json.contains {
        $0.hasPrefix(
          "{\"name\":\"bridge_batch\",\"value\":1024,\"default\":1024,\"from\":\"default\",\"effect\":\"at once\",\"meaning\":"
        )
      })
    let set = try config(fixture, "set", "bridge_batch=5000", "verbose=1")
    #expect(set.status == 0 && set.output.contains("bridge_batch = 1024 (at once)"))
    #expect(set.output.contains("verbose = 1 (no effect: "))
    #expect(try config(fixture, "get", "bridge_batch").output == "1024\n")
    #expect(
      try config(fixture, "get", "verbose", "--json").output.contains(
        "\"from\":\"user \(geteuid()),"))
    for (words, status, text) in [
      (["get", "no_such"], 64, "no_such"), (["set", "no_such=1"], 64, "no_such"),
      (["set", "fwd"], 64, "NAME=VALUE"), (["set", "buf_num=3"], 1, "EINVAL"),
      (["set", "max_bridges=3"], 1, "--set max_bridges=3"),
      (["set", "if_curr_num=3"], 1, "EACCES"),
    ] as [([String], CInt, String)] {
      let outcome = try TestProgram(
        [TestProgram.built("netmap"), "config"] + words,
        environment: ["NETMAP_SOCKET": fixture.socket]
      ).end()
      #expect(outcome.status == status, "\(words): \(outcome)")
      #expect((outcome.output + outcome.errors).contains(text), "\(words): \(outcome)")
    }
    fixture.endDaemon(SIGTERM)
    let none = try config(fixture)
    #expect(none.status == 1 && (none.output + none.errors).contains("no netmapd is running"))
  }

  @Test("a change at run time counts for the next open, in the process that opens")
  func atRunTime() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let before = try NetmapPort("netmap:a{1", engine: engine)
    #expect(try config(fixture, "set", "no_timestamp=1", "priv_buf_size=4096").status == 0)
    let after = try NetmapPort("netmap:b{1", engine: engine)
    for port in [before, after] { try port.sync(.receive) }
    #expect(before.receiveRing(0).timestamp > .zero)
    #expect(after.receiveRing(0).timestamp == .zero)
    #expect(unsafe before.receiveRing(0).unsafeRing.bufferSize == 2048)
    #expect(unsafe after.receiveRing(0).unsafeRing.bufferSize == 4096)
    // At once, on a switch that exists.
    let (c, d) = (
      try NetmapPort("vale0:c", engine: engine), try NetmapPort("vale0:d", engine: engine)
    )
    for (batch, arrives) in [("0", false), ("1024", true)] {
      #expect(try config(fixture, "set", "bridge_batch=\(batch)").status == 0)
      try c.inject([UInt8](repeating: 0xff, count: 60))
      try c.sync(.transmit)
      try d.sync(.receive)
      var ring = d.receiveRing(0)
      #expect((ring.next() != nil) == arrives)
    }
    // A process that is attached already opens no interface.
    try NetworkNamespace.run {
      let inside = try DaemonFixture()
      let pair = try VethPair()
      #expect(try config(inside, "set", "admode=1").status == 0)
      let engine = try inside.engine()
      let error = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:\(pair.first)", engine: engine)
      }
      #expect(error?.code == .unsupported)
      #expect(try config(inside, "set", "admode=0", "buf_num=9000").status == 0)
      let port = try NetmapPort("netmap:\(pair.first)", engine: engine)
      #expect(try state(.bufferCurrentCount, inside).value == 9000)
      port.close()
      try inside.expectSound("after admode")
    }
    try fixture.expectSound("after changes")
  }

  @Test("only root and the user who runs netmapd may set; other members may read", .needsRoot)
  func rights() throws {
    let fixture = try DaemonFixture()
    _ = unsafe chmod(fixture.folder, 0o755)
    _ = unsafe chmod(fixture.socket, 0o666)
    let address = try DaemonAddress(path: fixture.socket)
    try UserThread.run(65534) {
      let peer = try RawPeer(address)
      #expect(try peer.refusal(.tunables, on: peer.mailbox) { $0.put(TunableRequest.list) } == nil)
      #expect(
        try peer.refusal(.tunables, on: peer.mailbox) { $0.put(TunableRequest.set(.forward, 1)) }
          == "EPERM")
    }
    #expect(try state(.forward, fixture).value == 0)
    let isolating = try DaemonFixture(starts: false)
    try isolating.start(["--isolate-others"])
    _ = unsafe chmod(isolating.folder, 0o755)
    let other = try DaemonAddress(path: isolating.socket)
    try UserThread.run(65534) {
      let peer = try RawPeer(other)
      for request in [TunableRequest.list, .set(.forward, 1)] {
        #expect(try peer.refusal(.tunables, on: peer.mailbox) { $0.put(request) } == "EPERM")
      }
    }
  }

  @Test("malformed requests about tunables are refused, and harm no other client")
  func malformed() throws {
    let fixture = try DaemonFixture()
    let writes: [(inout MessageWriter) -> Void] = [
      { _ in }, { $0.put(UInt8(2)) }, { $0.put(UInt8(1)) },
      {
        $0.put(UInt8(1))
        $0.put(String(repeating: "x", count: 40_000))
        $0.put(Int64(1))
      },
      {
        $0.put(UInt8(1))
        $0.put("fwd")
      },
    ]
    let peer = try RawPeer(fixture)
    for write in writes {
      #expect(try peer.refusal(.tunables, on: peer.mailbox, write) == "EINVAL")
    }
    for value in [Int64.min, .max] {
      #expect(
        try peer.refusal(.tunables, on: peer.mailbox) {
          $0.put(UInt8(1))
          $0.put("buf_num")
          $0.put(value)
        } == "EINVAL")
    }
    #expect(try peer.refusal(.tunables, on: peer.mailbox) { $0.put(UInt8(0)) } == nil)
  }
}
