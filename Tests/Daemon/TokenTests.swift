import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

/// Tokens as programs use netmap's file descriptors: opened long before they are bound, written to by mistake, and
/// mixed with other sockets.
@Suite("Tokens", .serialized, .timeLimit(.minutes(15)))
struct TokenTests {
  @Test("netmapd does not exit for idleness while a token exists that is not bound yet")
  func unboundTokenIsUse() throws {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--idle-exit", "1"])
    let address = try DaemonAddress(path: fixture.socket)
    let token = try Token.unbound(at: address)
    usleep(3_000_000)
    let connection = try DaemonConnection(address: address)
    let opened = try connection.register(RegisterRequest(name: PortName("x{1")), on: token)
    #expect(opened.registration.name.rawValue == "x{1")
    #expect(try connection.listing().map(\.name) == ["x{1"])
    let error = #expect(throws: NetmapError.self) {
      try connection.register(RegisterRequest(name: PortName("y{1")), on: token)
    }
    #expect(error?.code == .busy, "a token is bound once")
    connection.forget(opened.registration)
    token.close()
    fixture.waitUntilGone(within: .seconds(20))
  }

  @Test("a token that is closed before it is bound does not keep netmapd running")
  func closedTokenIsNoUse() throws {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--idle-exit", "1"])
    try Token.unbound(at: DaemonAddress(path: fixture.socket)).close()
    fixture.waitUntilGone(within: .seconds(20))
  }

  @Test("another process than the one that opened a token can bind it")
  func boundByAnother() throws {
    let fixture = try DaemonFixture()
    let token = try Token.unbound(at: DaemonAddress(path: fixture.socket))
    let copy = Token(owning: try token.duplicate())
    token.close()
    let connection = try DaemonConnection(through: copy)
    let opened = try connection.register(RegisterRequest(name: PortName("vale0:a")), on: copy)
    #expect(opened.registration.name.rawValue == "vale0:a")
  }

  /// What a program may write to a descriptor that it takes for a file, and what it may receive elsewhere.
  static let rubbish: [(name: String, bytes: [UInt8])] = [
    ("empty", []), ("short", [1, 2, 3]), ("text", Array("usage: program [-i port]\n".utf8)),
    ("long", [UInt8](repeating: 1, count: 60_000)), ("hello", Message.bytes(.hello)),
    ("answer", Message.bytes(.done)),
    (
      "refusal",
      Message.refusal(NetmapError(.busy, "open", "x", reason: "it is busy", remedy: ""))
    ),
    ("mailbox", Message.bytes(.check)), ("kind", Message.bytes(.done) + [0]),
    ("version", Message.bytes(.register).enumerated().map { $0.offset == 4 ? 99 : $0.element }),
  ]

  @Test(
    "nothing that is written to a token ends it, closes its port, or is answered on it",
    arguments: [false, true])
  func written(isBound: Bool) throws {
    let fixture = try DaemonFixture()
    let peer = try RawPeer(fixture)
    let token = try peer.openToken()
    if isBound { #expect(try peer.register("x{1", on: token) == nil) }
    for (name, bytes) in Self.rubbish {
      try token.send(bytes)
      try token.send(bytes, [STDERR_FILENO])
      // With a socket for the answer netmapd may say there what is wrong.
      let (mine, theirs) = try MessageSocket.pair()
      try token.send(bytes, [theirs.descriptor])
      // The token itself is no socket for an answer.
      try token.send(bytes, [token.descriptor])
      withExtendedLifetime(mine) {}
      #expect(try token.receive(waits: false) == nil, "\(name)")
    }
    if !isBound { #expect(try peer.register("x{1", on: token) == nil) }
    #expect(try peer.refusal(.mapPort, on: token) { $0.put(client: peer.tag) } == nil)
    #expect(try token.receive(waits: false) == nil)
    #expect(try fixture.engine().listing().map(\.name) == ["x{1"])
    // A hello with a good socket for the answer is a request.
    let count = try fixture.engine().check().ignoredDatagrams
    #expect(count == UInt64(Self.rubbish.count * 4 - 1))
  }

  @Test("a program that floods a token delays no other program")
  func flood() throws {
    let fixture = try DaemonFixture()
    let address = try DaemonAddress(path: fixture.socket)
    let connection = try DaemonConnection(address: address)
    let floods = try (0..<4).map { _ in
      try #require(try address.connect(for: .token)).take()
    }
    let ending = Flag()
    let threads = try floods.map { file in
      try EngineThread.start("flood") {
        let bytes = [UInt8](repeating: 7, count: 100)
        while !ending.isSet {
          _ = unsafe send(file, bytes, bytes.count, CInt(MSG_DONTWAIT))
        }
      }
    }
    for _ in 0..<20 {
      let time = try fixture.openTime(connection, "x{1")
      #expect(time < .seconds(2))
    }
    ending.isSet = true
    for thread in threads { pthread_join(thread, nil) }
    for file in floods { close(file) }
    try fixture.expectSound("after the flood")
  }

  @Test("a program may make its token nonblocking, also while others fill it")
  func nonblocking() throws {
    let fixture = try DaemonFixture()
    let address = try DaemonAddress(path: fixture.socket)
    let connection = try DaemonConnection(address: address)
    let token = try Token.unbound(at: address)
    let copy = try token.duplicate()
    defer { close(copy) }
    #expect(fcntl(copy, F_SETFL, O_NONBLOCK) == 0)
    let ending = Flag()
    let thread = try EngineThread.start("flood") {
      while !ending.isSet { _ = unsafe send(copy, [1, 2], 2, CInt(MSG_DONTWAIT)) }
    }
    let opened = try connection.register(RegisterRequest(name: PortName("x{1")), on: token)
    #expect(try connection.mapPort(token).registration.name == opened.registration.name)
    ending.isSet = true
    pthread_join(thread, nil)
  }

  @Test("copies of a token have one identity, and other tokens have others")
  func identity() throws {
    let fixture = try DaemonFixture()
    let address = try DaemonAddress(path: fixture.socket)
    let (one, other) = (try Token.unbound(at: address), try Token.unbound(at: address))
    let copy = try one.duplicate()
    defer { close(copy) }
    let found = try #require(Token.identity(of: copy))
    #expect(try found == one.identity())
    #expect(try found != other.identity())
    // Also when the daemon has gone.
    fixture.endDaemon(SIGKILL)
    #expect(Token.identity(of: copy) == found)
  }

  @Test("a descriptor that is no token is known as such, and nothing is sent on it")
  func foreign() throws {
    let fixture = try DaemonFixture()
    let address = try DaemonAddress(path: fixture.socket)
    // A program's own listener, such as that of netmap's fd_server.
    let own = try DaemonAddress(path: "\(fixture.folder)/own.sock")
    let listener = try own.listen()
    defer { close(listener) }
    let client = try #require(try own.connect())
    let server = MessageSocket(owning: accept(listener, nil, nil))
    let (mine, theirs) = try MessageSocket.pair()
    let mailbox = try #require(try address.connect())
    let event = OwnedFile(eventfd(0, CInt(EFD_CLOEXEC)))
    for file in [
      client.descriptor, server.descriptor, mine.descriptor, theirs.descriptor, listener,
      mailbox.descriptor, event.descriptor, STDERR_FILENO, -1, 1 << 20,
    ] {
      #expect(Token.identity(of: file) == nil, "descriptor \(file)")
    }
    for descriptor in [client.descriptor, theirs.descriptor, mailbox.descriptor] {
      let error = #expect(throws: NetmapError.self) {
        try fixture.engine().port(token: dup(descriptor))
      }
      #expect(error?.code == .invalidArgument)
    }
    #expect(try server.receive(waits: false) == nil)
    #expect(try mine.receive(waits: false) == nil)
  }

  @Test("a token whose daemon another user runs is not this program's")
  func othersDaemon() throws {
    let fixture = try DaemonFixture()
    let token = try Token.unbound(at: DaemonAddress(path: fixture.socket))
    let copy = try token.duplicate()
    defer { close(copy) }
    // Root's daemon serves everybody; that of another user than root serves nobody else.
    let folder = "\(fixture.folder)/other"
    _ = unsafe mkdir(folder, 0o755)
    _ = unsafe chmod(fixture.folder, 0o755)
    defer { unsafe rmdir(folder) }
    _ = unsafe chown(folder, 65534, 65534)
    let path = "\(folder)/x.sock"
    defer { unsafe unlink(path) }
    let listening = Listening()
    try UserThread.run(65534) { listening.file = try DaemonAddress(path: path).listen() }
    defer { close(listening.file) }
    let file = socket(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    defer { close(file) }
    #expect(connect(file, to: path) == 0)
    #expect(Token.identity(of: file) == nil)
    #expect(Token.identity(of: copy) != nil)
  }

  private func connect(_ file: CInt, to path: String) -> CInt {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    // The name of a token alone does not make a daemon trusted.
    var name = address
    unsafe withUnsafeMutableBytes(of: &name.sun_path) {
      unsafe $0.copyBytes(from: [0] + "netmap-token-0123456789abcdef0123456789abcdef".utf8)
    }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
    let bound = unsafe withUnsafePointer(to: name) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(file, $0, socklen_t(2 + 1 + 13 + 32))
      }
    }
    guard bound == 0 else { return bound }
    return unsafe withUnsafePointer(to: address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe Glibc.connect(file, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }

  @Test("switch ports, their pipes and other pipes open without /proc", .needsRoot)
  func withoutProc() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let token = try Token.unbound(at: DaemonAddress(path: fixture.socket))
    let empty = "\(fixture.folder)/empty"
    _ = unsafe mkdir(empty, 0o700)
    defer { unsafe rmdir(empty) }
    try UserThread.run(0) {
      // 0x200 is CLONE_FS: this thread alone gets another root directory.
      let isJailed = unsafe unshare(0x200) == 0 && chroot(empty) == 0 && chdir("/") == 0
      try #require(isJailed)
      let request = try RegisterRequest(name: PortName("vale0:a"))
      let opened = try connection.register(request, on: token)
      #expect(opened.registration.name.rawValue == "vale0:a")
      #expect(try connection.portInfo(request).memoryID == opened.registration.memoryID)
      let error = #expect(throws: NetmapError.self) {
        try connection.answer(.attach(RegisterRequest(name: PortName("vale0:eth0"))))
      }
      #expect(error?.remedy.contains("/proc") == true, "\(String(describing: error))")
    }
  }
}

/// A flag that one thread sets and others read.
private final class Flag: Sendable {
  private let value = Atomic<Bool>(false)

  var isSet: Bool {
    get { value.load(ordering: .relaxed) }
    set { value.store(newValue, ordering: .relaxed) }
  }
}

private final class Listening: @unchecked Sendable {
  var file: CInt = -1
}
