import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapDaemon
import NetmapTestSupport
import Testing

/// Root's netmapd consists of two processes: the opener, which has rights, and the broker, which handles input
/// from clients.
@Suite(
  "The opener and the broker", .serialized, .timeLimit(.minutes(15)), .needsRoot)
struct OpenerTests {
  /// A field of `/proc/PID/status` for each thread of a process, without the field's name.
  private func status(_ field: String, of process: Int32) throws -> Set<String> {
    let text = try TestProgram.output(of: [
      "sh", "-c", "cat /proc/\(process)/task/*/status",
    ])
    let lines = text.split(separator: "\n").filter { $0.hasPrefix("\(field):") }
    return Set(
      lines.map { $0.dropFirst(field.count + 1).split(separator: "\t").joined(separator: " ") })
  }

  private func isNormal(_ interface: String) -> Bool {
    let state = InterfaceState(interface)
    return !state.hasXDPProgram && state.ingressPrograms == 0
  }

  /// Waits for at most a second.
  private func expectNormal(
    _ interface: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let end = ContinuousClock.now + .seconds(1)
    while !isNormal(interface), ContinuousClock.now < end { usleep(1000) }
    #expect(isNormal(interface), "a second later", sourceLocation: sourceLocation)
  }

  private func attach(_ fixture: DaemonFixture, _ interface: String) throws {
    let result = try TestProgram(
      [TestProgram.built("vale-ctl"), "-a", "vale0:\(interface)"],
      environment: ["NETMAP_SOCKET": fixture.socket]
    ).finish()
    try #require(result.status == 0, "\(result.output)")
  }

  @Test(
    "the broker has no rights: another user, no capabilities, no new ones, a filter on each thread")
  func confined() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      // This starts all kinds of threads: the control thread, the worker, and the thread that monitors links.
      try attach(fixture, pair.first)
      let opener = try #require(fixture.daemon).process
      let broker = try #require(fixture.serving)
      #expect(broker != opener)
      #expect(try status("Uid", of: opener) == ["0 0 0 0"])
      let users = try status("Uid", of: broker)
      #expect(users.count == 1 && !users.contains("0 0 0 0"), "\(users)")
      // Any other process of this user could stop the broker.
      #expect(!users.contains("65534 65534 65534 65534"), "\(users)")
      #expect(try status("Groups", of: broker).allSatisfy { $0.allSatisfy { $0 == " " } })
      for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        #expect(try status(field, of: broker) == ["0000000000000000"], "\(field)")
      }
      #expect(try status("NoNewPrivs", of: broker) == ["1"])
      #expect(try status("Seccomp", of: broker) == ["2"])
    }
  }

  @Test(
    "the broker's user and user nobody are untrusted; the daemon's own user is root")
  func trust() throws {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--isolate-others"])
    _ = unsafe chmod(fixture.folder, 0o755)
    let address = try DaemonAddress(path: fixture.socket)
    let broker = try #require(fixture.serving)
    let line = try #require(try status("Uid", of: broker).first)
    let user = try #require(line.split(separator: " ").first.flatMap { UInt32($0) })
    for untrusted in [user, 65534] {
      try UserThread.run(untrusted) {
        let peer = try RawPeer(address)
        #expect(try peer.refusal(.check, on: peer.mailbox) == "EPERM", "\(untrusted)")
      }
    }
    let root = try RawPeer(address)
    #expect(try root.refusal(.check, on: root.mailbox) == nil)
  }

  @Test("names that no interface can have are refused for every user, and the broker goes on")
  func oddNames() throws {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--isolate-others"])
    _ = unsafe chmod(fixture.folder, 0o755)
    let address = try DaemonAddress(path: fixture.socket)
    let broker = try #require(fixture.serving)
    var names: [[UInt8]] = [
      "a/b", "/", ".", "..", "../lo", "a b", " ", "sixteen_bytes_xx", "\u{e9}", "%d", "a:b",
      String(repeating: "x", count: 63),
    ].map { Array($0.utf8) }
    names += [[1], [10], [0x7f], [0xff], [0x80, 0x81], [UInt8](repeating: 0xc3, count: 15)]
    let all = names
    @Sendable func ask() throws {
      for bytes in all {
        let name = try PortName(bytes: bytes)
        let peer = try RawPeer(address)
        for kind in [Message.Kind.register, .portInfo] {
          let socket = kind == .register ? try peer.connect() : peer.mailbox
          let refusal = try peer.refusal(kind, on: socket) {
            if kind == .portInfo {
              $0.put(portInfo: RegisterRequest(name: name), memoryID: 0)
            } else {
              $0.put(RegisterRequest(name: name))
              $0.put(client: peer.tag)
            }
          }
          #expect(refusal != nil, "\(kind) \(bytes)")
        }
        // A pipe without a base port can have any name.
        guard bytes.count < 16 else { continue }
        let pipe = try PortName(bytes: bytes + Array("{1".utf8))
        let refusal = try peer.refusal(.register, on: peer.connect()) {
          $0.put(RegisterRequest(name: pipe))
          $0.put(client: peer.tag)
        }
        #expect(refusal == nil, "\(bytes)")
      }
    }
    try ask()
    try UserThread.run(65534) { try ask() }
    #expect(fixture.serving == broker)
  }

  @Test("the broker killed: its interfaces are normal within a second, and another broker serves")
  func brokerKilled() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      for _ in 0..<5 {
        try attach(fixture, pair.first)
        #expect(!isNormal(pair.first))
        let broker = try #require(fixture.serving)
        kill(broker, SIGKILL)
        expectNormal(pair.first)
        for _ in 0..<2000
        where fixture.serving == broker || fixture.serving == fixture.daemon?.process {
          usleep(1000)
        }
        #expect(fixture.serving != broker)
      }
      let engine = try fixture.engine()
      let (a, b) = try (
        NetmapPort("netmap:p{1", engine: engine), NetmapPort("netmap:p}1", engine: engine)
      )
      try a.inject([1])
      try a.sync(.transmit)
      #expect(try b.wait(for: .receive, timeout: .seconds(5)) == .receive)
    }
  }

  @Test(
    "the opener killed: the broker ends, interfaces are normal within a second, a new daemon serves"
  )
  func openerKilled() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      for _ in 0..<3 {
        try attach(fixture, pair.first)
        let broker = try #require(fixture.serving)
        let life = clinux_pidfd_open(broker)
        defer { close(life) }
        fixture.daemon?.kill(SIGKILL)
        var end = pollfd(fd: life, events: Int16(POLLIN), revents: 0)
        let ended = unsafe poll(&end, 1, 1000)
        #expect(ended == 1, "the broker lives on")
        expectNormal(pair.first)
        fixture.endDaemon(SIGKILL)
        try fixture.start()
      }
    }
  }

  @Test(
    "a broker that keeps ending does not keep the opener busy, and SIGTERM still ends the opener")
  func backOff() throws {
    let fixture = try DaemonFixture()
    let opener = try #require(fixture.daemon)
    for _ in 0..<6 {
      if let broker = fixture.serving, broker != opener.process { kill(broker, SIGKILL) }
      usleep(20_000)
    }
    opener.send(SIGTERM)
    #expect(opener.wait() == 0)
    #expect(unsafe access(fixture.socket, F_OK) != 0)
  }

  @Test(
    "a user opens interfaces only in its own namespace; a descriptor of another is not enough"
  )
  func foreignNamespace() throws {
    let fixture = try DaemonFixture()
    for path in [fixture.folder, fixture.socket] { _ = unsafe chmod(path, 0o777) }
    // A namespace of root's, whose descriptor any process can obtain.
    let name = "nmopener\(getpid())"
    _ = try TestProgram.output(of: ["ip", "netns", "add", name])
    defer { _ = try? TestProgram.output(of: ["ip", "netns", "del", name]) }
    _ = try TestProgram.output(of: [
      "ip", "-n", name, "link", "add", "name", "f0", "type", "veth", "peer", "name", "f1",
    ])
    let command = fixture.command(["hold", "netmap:f0@backend:name=packet"])
    // Inside the namespace, root and another user may open the interface.
    for user in [[], ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]] {
      let inside = try TestProgram(["ip", "netns", "exec", name] + user + command)
      #expect(inside.readLine().hasPrefix("ready"))
      inside.kill(SIGKILL)
    }
    // From outside, with a descriptor that root has left open.
    let holder = try TestProgram(["ip", "netns", "exec", name, "sleep", "1000"])
    defer { holder.kill(SIGKILL) }
    let inside = "readlink /proc/\(holder.process)/ns/net"
    for _ in 0..<500 {
      let places = try TestProgram.output(of: ["sh", "-c", "\(inside); readlink /proc/self/ns/net"])
        .split(separator: "\n")
      if places.count == 2, places[0] != places[1] { break }
      usleep(10_000)
    }
    let hold = fixture.command(["hold-in", "/proc/self/fd/9", "f0"]).joined(separator: " ")
    let outside = try TestProgram([
      "sh", "-c",
      "exec 9</proc/\(holder.process)/ns/net;"
        + " exec setpriv --reuid=54321 --regid=54321 --clear-groups \(hold)",
    ]).finish()
    #expect(outside.output.contains("EPERM"), "\(outside.output)")
  }
}

/// Tests the filter alone, in a child that installs it.
@Suite("System calls of the broker", .serialized, .timeLimit(.minutes(15)))
struct CallFilterTests {
  /// The end of a child that installs the filter and makes a call: its exit status, or the negated signal; nil
  /// if it does not end.
  ///
  /// The child has a copy of the Swift runtime's locks from the time of the fork: it may wait forever for a
  /// lock that another thread held. The function then tries another child.
  private func child(_ body: () -> CInt) -> CInt? {
    for _ in 0..<5 {
      let process = clinux_fork()
      if process == 0 {
        // Copies of the tokens of other tests, which run beside this one, would keep their ports open.
        for file in 3..<CInt(4096) { close(file) }
        guard clinux_no_new_privileges() == 0, (try? CallFilter(for: getpid()).install()) != nil
        else {
          _exit(99)
        }
        _exit(body())
      }
      let end = OwnedFile(clinux_pidfd_open(process))
      var state = pollfd(fd: end.descriptor, events: Int16(POLLIN), revents: 0)
      let hasEnded = unsafe poll(&state, 1, 10_000) == 1
      if !hasEnded { kill(process, SIGKILL) }
      var status: CInt = 0
      while unsafe waitpid(process, &status, 0) < 0 && errno == EINTR {}
      if hasEnded { return status & 0x7f == 0 ? status >> 8 & 0xff : -(status & 0x7f) }
    }
    return nil
  }

  private func expect(
    _ end: CInt, sourceLocation: SourceLocation = #_sourceLocation, _ body: () -> CInt
  ) {
    let seen = child(body)
    #expect(seen == end, sourceLocation: sourceLocation)
  }

  /// The `errno` of a call that has returned -1.
  private func refusal(_ result: CInt) -> CInt { result < 0 ? errno : 0 }

  @Test("EPERM for files, sockets and executable memory")
  func refused() {
    expect(EPERM) { refusal(unsafe open("/dev/null", O_RDONLY)) }
    expect(EPERM) { refusal(unsafe open("/proc/self/ns/net", O_RDONLY)) }
    expect(EPERM) { refusal(unsafe unlink("/nothing")) }
    expect(EPERM) { refusal(socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0)) }
    expect(EPERM) { refusal(socket(AF_PACKET, CInt(CLINUX_SOCK_RAW), 0)) }
    expect(EPERM) { refusal(socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)) }
    expect(EPERM) { refusal(listen(0, 1)) }
    // A datagram socket could send to any name.
    expect(EPERM) {
      var ends: [CInt] = [-1, -1]
      return refusal(unsafe socketpair(AF_UNIX, CInt(SOCK_DGRAM.rawValue), 0, &ends))
    }
    expect(EPERM) {
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      return unsafe withUnsafePointer(to: &address) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          unsafe sendto(1, "x", 1, 0, $0, 10) < 0 ? errno : 0
        }
      }
    }
    expect(EPERM) { refusal(unsafe chdir("/")) }
    expect(EPERM) {
      let page = unsafe mmap(
        nil, pageSize, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      return unsafe page == MAP_FAILED ? errno : 0
    }
    expect(EPERM) {
      var limit = rlimit(rlim_cur: 1, rlim_max: 1)
      return refusal(unsafe setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit))
    }
  }

  @Test("exec, namespaces, other users and signals to other processes end the broker")
  func fatal() {
    expect(-SIGSYS) { execl("/bin/true") }
    expect(-SIGSYS) { unshare(CInt(CLINUX_CLONE_NEWNET)) }
    expect(-SIGSYS) { setns(0, CInt(CLINUX_CLONE_NEWNET)) }
    expect(-SIGSYS) { kill(1, SIGTERM) }
    expect(-SIGSYS) { setgid(0) }
    // The C library forks with clone(2), which the filter allows for threads only.
    expect(EPERM) { refusal(clinux_fork()) }
  }

  private func execl(_ path: String) -> CInt {
    var arguments: [UnsafeMutablePointer<CChar>?] = unsafe [strdup(path), nil]
    return unsafe execv(path, &arguments)
  }

  @Test("doorbells, wake-ups, mappings, passing descriptors and threads are allowed")
  func allowed() {
    let end = child {
      guard eventfd(0, CInt(EFD_CLOEXEC)) >= 0, epoll_create1(CInt(EPOLL_CLOEXEC)) >= 0 else {
        return 1
      }
      guard let memory = try? SharedMemory(creating: "test", byteCount: 4096) else { return 2 }
      memory.store(UInt32(1), at: 0)
      guard let (one, other) = try? MessageSocket.pair() else { return 3 }
      guard (try? one.send([1], [memory.descriptor])) != nil,
        let mail = try? other.receive(waits: true), mail.files.count == 1
      else { return 4 }
      var ends: [CInt] = [-1, -1]
      guard unsafe socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0,
        unsafe send(ends[0], "x", 1, CInt(MSG_NOSIGNAL)) == 1
      else { return 8 }
      guard clinux_pidfd_open(getpid()) >= 0 else { return 5 }
      guard unsafe clinux_is_readable(memory.base) != 0 else { return 6 }
      guard let thread = try? EngineThread.start("test", {}) else { return 7 }
      return pthread_join(thread, nil)
    }
    #expect(end == 0)
  }
}
