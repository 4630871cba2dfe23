import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// The rights of untrusted users, which --isolate-others admits.
@Suite("Untrusted users of netmapd", .serialized, .timeLimit(.minutes(15)))
struct UntrustedUserTests {
  /// A daemon of root's that every user may connect to.
  private func fixture(_ options: [String] = []) throws -> DaemonFixture {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--isolate-others"] + options)
    _ = unsafe chmod(fixture.folder, 0o755)
    return fixture
  }

  @Test("an untrusted user's requests about other users are refused")
  func requests() throws {
    let fixture = try fixture()
    let address = try DaemonAddress(path: fixture.socket)
    let holder = try fixture.peer(["receive", "netmap:mine{1", "0"])
    try UserThread.run(65534) {
      let peer = try RawPeer(address)
      #expect(try peer.refusal(.check, on: peer.mailbox) == "EPERM")
      #expect(try peer.refusal(.dump, on: peer.mailbox) == "EPERM")
      #expect(
        try peer.refusal(.control, on: peer.mailbox) {
          $0.put(SwitchRequest.next(switch: 0, port: 0))
        } == "EPERM")
      #expect(
        try peer.refusal(.portInfo, on: peer.mailbox) {
          if let name = try? PortName("mine{1") {
            $0.put(portInfo: RegisterRequest(name: name), memoryID: 0)
          }
        } == "EPERM")
      #expect(
        try peer.refusal(.poolsInfo, on: peer.mailbox) {
          if let name = try? PortName("mine{1") { $0.put(RegisterRequest(name: name)) }
        } == "EPERM")
      let connection = try DaemonConnection(address: address)
      #expect(try connection.listing().isEmpty)
      #expect(connection.directory.entries.isEmpty)
      #expect(connection.directory.process(of: ClientTag(slot: 0, epoch: 1)) == nil)
      for (flags, extensions) in [(.exclusive, []), ([], .backpressure)]
        as [(BindingFlags, PortExtensions)]
      {
        #expect(try peer.register("x{1", flags, extensions, on: peer.connect()) == "EPERM")
      }
      #expect(try peer.register("lo", on: peer.connect()) == "EPERM")
      #expect(try peer.register("own{1", on: peer.connect()) == nil)
    }
    holder.kill(SIGKILL)
  }

  @Test("an untrusted user has its own names: it shares no port, and blocks no name of other users")
  func names() throws {
    let fixture = try fixture()
    let address = try DaemonAddress(path: fixture.socket)
    let engine = try fixture.engine()
    let own = try NetmapPort("netmap:v0{1", engine: engine)
    let other = try NetmapPort("netmap:v0}1", engine: engine)
    try UserThread.run(65534) {
      let connection = try DaemonConnection(address: address)
      let opened = try ["v0{1", "v0}1", "vale0:a"].map { name in
        try connection.register(RegisterRequest(name: PortName(name)))
      }
      #expect(opened.map(\.registration.name.rawValue) == ["v0{1", "v0}1", "vale0:a"])
      #expect(try connection.listing().map(\.name) == ["v0{1", "v0}1", "vale0:a"])
    }
    // The packets of the trusted pipe still arrive at its other end.
    try own.inject([7])
    try own.sync(.transmit)
    #expect(try other.wait(for: .receive, timeout: .seconds(5)) == .receive)
    let exclusive = try NetmapPort("vale0:a/x", engine: engine)
    exclusive.close()
  }

  @Test("an untrusted user cannot use a trusted process's token")
  func attach() throws {
    let fixture = try fixture()
    let address = try DaemonAddress(path: fixture.socket)
    let connection = try DaemonConnection(address: address)
    let opened = try connection.register(RegisterRequest(name: PortName("t{1")))
    let copy = try opened.token.duplicate()
    try UserThread.run(65534) {
      let peer = try RawPeer(address)
      let token = MessageSocket(owning: copy)
      #expect(try peer.refusal(.mapPort, on: token) { $0.put(client: peer.tag) } == "EPERM")
      // Attaching as another client, created with the token itself, fails too.
      let answer = try #require(try peer.ask(.hello, on: token))
      _ = try answer.answer()
      #expect(try peer.refusal(.mapPort, on: token) { $0.put(client: peer.tag) } == "EPERM")
    }
    withExtendedLifetime(opened) {}
  }

  @Test("ports closed and not forgotten count towards the limit; other users can open ports")
  func kept() throws {
    let fixture = try fixture()
    let address = try DaemonAddress(path: fixture.socket)
    let before = try fixture.daemonDescriptors()
    try UserThread.run(65534) {
      let peer = try RawPeer(address)
      var refusals = 0
      for number in 0..<400 {
        let token = try peer.connect()
        if try peer.register("k\(number){1", on: token) != nil { refusals += 1 }
        token.close()
      }
      #expect(refusals >= 200)
      withExtendedLifetime(peer) {}
    }
    #expect(try fixture.daemonDescriptors() - before < 1000)
    _ = try NetmapPort("netmap:own{1", engine: try fixture.engine())
  }

  @Test("hundreds of silent connections do not keep other users out")
  func silent() throws {
    let fixture = try fixture()
    let address = try DaemonAddress(path: fixture.socket)
    let before = try fixture.daemonDescriptors()
    nonisolated(unsafe) var sockets: [MessageSocket] = []
    try UserThread.run(65534) {
      for _ in 0..<500 {
        guard let socket = try address.connect() else { break }
        unsafe sockets.append(socket)
      }
    }
    usleep(300_000)
    #expect(try fixture.daemonDescriptors() - before < 200)
    _ = try NetmapPort("netmap:own{1", engine: try fixture.engine())
    unsafe withExtendedLifetime(sockets) {}
  }

  @Test("an isolated listener isolates all users, including root; the daemon removes both sockets")
  func isolatedListener() throws {
    let fixture = try DaemonFixture(starts: false)
    let second = "\(fixture.folder)/second.sock"
    try fixture.start(["--listen", "\(second):isolated"])
    let peer = try RawPeer(try DaemonAddress(path: second))
    #expect(try peer.refusal(.check, on: peer.mailbox) == "EPERM")
    #expect(try peer.refusal(.dump, on: peer.mailbox) == "EPERM")
    let token = try peer.connect()
    #expect(try peer.register("x{1", on: token) == nil)
    #expect(try fixture.engine().listing().map(\.backend) == ["isolated"])
    let trusted = try RawPeer(fixture)
    #expect(try trusted.refusal(.check, on: trusted.mailbox) == nil)
    token.close()
    fixture.endDaemon(SIGTERM)
    try expectSoon("the sockets' end") {
      unsafe access(second, F_OK) != 0 && access(fixture.socket, F_OK) != 0
    }
  }
}
