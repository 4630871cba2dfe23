import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

@Suite("Programs that close descriptors they did not open", .timeLimit(.minutes(15)))
struct ClosedDescriptorTests {
  @Test(
    "a program that closes everything can open ports afterwards, and keeps its own files",
    arguments: [false, true])
  func closeEverything(guards: Bool) throws {
    let fixture = try DaemonFixture()
    let program = try fixture.peer(["close-everything", "c", guards ? "guard" : "plain"])
    let engine = try fixture.engine()
    // The daemon ends the client whose descriptors were closed: it keeps nothing for it.
    try expectSoon("the end of the former client") {
      let check = try engine.check()
      return check.kept == 0 && check.bindings == 2 && check.clients == 2
    }
    #expect(try engine.listing().map(\.name).sorted() == ["c{2", "c}2"])
    program.kill(SIGKILL)
    try fixture.expectSound("at the end")
  }

  @Test("a connection whose descriptors were closed says so, and sends nothing to other files")
  func closedMailbox() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let opened = try connection.register(RegisterRequest(name: PortName("x{1")))
    #expect(connection.isUsable)
    let (mine, theirs) = try MessageSocket.pair()
    let file = connection.mail.descriptor
    #expect(dup2(theirs.descriptor, file) == file)
    #expect(!connection.isUsable)
    let error = #expect(throws: NetmapError.self) { try connection.listing() }
    #expect(error?.code == .badDescriptor)
    connection.forget(opened.registration)
    #expect(try mine.receive(waits: false) == nil, "something was sent to a foreign socket")
    // The open port is the token's: a new connection of the process attaches it again.
    let again = try DaemonConnection(through: opened.token)
    #expect(try again.mapPort(opened.token).registration.name.rawValue == "x{1")
    close(file)
  }
}
