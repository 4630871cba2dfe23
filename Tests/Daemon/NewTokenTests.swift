import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Tokens that clients ask for by their connection, and give back.
@Suite("Tokens by a connection", .serialized, .timeLimit(.minutes(15)))
struct NewTokenTests {
  @Test("a client gets tokens by its connection after the socket's path has gone")
  func withoutPath() throws {
    let fixture = try DaemonFixture()
    let address = try DaemonAddress(path: fixture.socket)
    let connection = try DaemonConnection(address: address)
    let token = try connection.newToken()
    let other = try connection.newToken()
    #expect(try token.daemon() == address)
    let copy = try token.duplicate()
    #expect(Token.identity(of: copy) == (try token.identity()))
    close(copy)
    #expect(try token.identity() != other.identity())
    let opened = try connection.register(RegisterRequest(name: PortName("x{1")), on: token)
    #expect(opened.registration.name.rawValue == "x{1")
    // Another process can become a client by it.
    let second = try DaemonConnection(through: Token(owning: token.duplicate()))
    #expect(try second.newToken().identity() != other.identity())
    token.close()
    _ = try connection.register(
      RegisterRequest(name: PortName("x{1"), flags: .exclusive), on: other)
    // netmapd cannot connect to itself either.
    unsafe unlink(fixture.socket)
    #expect(throws: NetmapError.self) { try connection.newToken() }
    #expect(try connection.listing().map(\.name) == ["x{1"])
  }

  @Test("an untrusted user's tokens by its connection are isolated, and count against its limit")
  func untrusted() throws {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--isolate-others"])
    _ = unsafe chmod(fixture.folder, 0o755)
    let address = try DaemonAddress(path: fixture.socket)
    try UserThread.run(65534) {
      let connection = try DaemonConnection(address: address)
      let token = try connection.newToken()
      let refused = #expect(throws: NetmapError.self) {
        try connection.register(
          RegisterRequest(name: PortName("own{1"), flags: .exclusive), on: token)
      }
      #expect(refused?.code == .notPermitted)
      let opened = try connection.register(RegisterRequest(name: PortName("own{1")), on: token)
      #expect(opened.registration.backend?.name == BackendDescription.isolated)
      var tokens: [Token] = []
      let error = #expect(throws: NetmapError.self) {
        while tokens.count < 200 { tokens.append(try connection.newToken()) }
      }
      #expect(error?.code == .tooManyFiles)
      #expect(tokens.count < 100)
    }
    // Other users do not notice.
    _ = try DaemonConnection(address: address).newToken()
  }

  @Test("the process that bound a token may undo it, unless another client has the rings mapped")
  func unbound() throws {
    let fixture = try DaemonFixture()
    let address = try DaemonAddress(path: fixture.socket)
    let connection = try DaemonConnection(address: address)
    let token = try connection.newToken()
    let name = try PortName("x{1")
    for _ in 0..<3 {
      let opened = try connection.register(
        RegisterRequest(name: name, flags: .exclusive), on: token)
      connection.unbind(opened)
    }
    let opened = try connection.register(RegisterRequest(name: name), on: token)
    let other = try DaemonConnection(address: address)
    _ = try other.mapPort(Token(owning: token.duplicate()))
    connection.unbind(opened)
    #expect(try connection.listing().map(\.name) == ["x{1"], "the other client has it mapped")
    try fixture.expectSound("after undone binds")
  }

  @Test("a bind whose answer nobody takes is undone")
  func abandoned() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let peer = try RawPeer(fixture)
    let token = try peer.openToken()
    let copy = Token(owning: try OwnedFile.duplicate(token.descriptor))
    let (mine, theirs) = try MessageSocket.pair()
    // The answer cannot be sent.
    #expect(mine.receiveLast() == nil)
    let name = try PortName("x{1")
    let request = Message.bytes(.register) {
      $0.put(RegisterRequest(name: name))
      $0.put(client: peer.tag)
    }
    try token.send(request, [theirs.descriptor])
    theirs.close()
    // netmapd decides requests on one token in turn.
    let opened = try connection.register(RegisterRequest(name: name, flags: .exclusive), on: copy)
    #expect(opened.registration.name.rawValue == "x{1")
  }
}
