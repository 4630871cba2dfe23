import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Programs to which the descriptor is the port: they close it, and say nothing else.
@Suite("Views that end with the token", .serialized, .timeLimit(.minutes(15)))
struct ViewEndTests {
  /// Opens and closes a port as a C program does.
  private func openAndClose(
    _ name: String, _ times: Int, _ connection: DaemonConnection
  ) throws {
    for _ in 0..<times {
      let token = try Token.unbound(at: connection.address)
      let opened = try connection.register(
        RegisterRequest(name: PortName(name)), on: token, viewEnd: .withToken)
      // The ring drivers end before the token, as an interface's sockets must.
      _ = try opened.mapPort(connection)
      token.close()
    }
  }

  @Test("a program can open and close a pipe any number of times beside another program")
  func pipe() throws {
    let fixture = try DaemonFixture()
    let keeper = try NetmapPort("netmap:p}1", engine: fixture.engine())
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    try openAndClose("p{1", 300, connection)
    let check = try fixture.expectSound("after 300 opens")
    #expect(check.kept == 0)
    #expect(check.bindings == 1)
    withExtendedLifetime(keeper) {}
  }

  @Test("and an interface, beside another program that has it open", .needsRoot)
  func interface() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      let keeper = try NetmapPort("netmap:\(pair.second)", engine: fixture.engine())
      let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
      try openAndClose(pair.first, 200, connection)
      #expect(try fixture.expectSound("after 200 opens").kept == 0)
      withExtendedLifetime(keeper) {}
    }
  }

  @Test("the view of a process that has not said so stays until the process forgets the port")
  func otherwise() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let opened = try connection.register(RegisterRequest(name: PortName("p{1")))
    opened.token.close()
    try expectSoon("the port's end") { try connection.check().bindings == 0 }
    #expect(try connection.check().kept == 1)
    connection.forget(opened.registration)
    try expectSoon("the view's end") { try connection.check().kept == 0 }
  }

  @Test("a process with two views of a port keeps the longer one")
  func twoViews() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    for first in [ViewEnd.withToken, .whenForgotten] {
      let second = first == .withToken ? ViewEnd.whenForgotten : .withToken
      let request = RegisterRequest(name: try PortName("p{1"))
      let opened = try connection.register(request, viewEnd: first)
      let again = try connection.mapPort(opened.token, viewEnd: second)
      opened.token.close()
      try expectSoon("the port's end") { try connection.check().bindings == 0 }
      #expect(try connection.check().kept == 1)
      connection.forget((first == .withToken ? again : opened).registration)
      try expectSoon("the view's end") { try connection.check().kept == 0 }
    }
  }

  @Test("a view ends only when every copy of the token is closed")
  func copies() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let request = RegisterRequest(name: try PortName("p{1"))
    let opened = try connection.register(request, viewEnd: .withToken)
    let copy = try opened.token.duplicate()
    opened.token.close()
    usleep(100_000)
    #expect(try connection.check().bindings == 1)
    close(copy)
    try expectSoon("the port's end") { try connection.check().bindings == 0 }
    #expect(try connection.check().kept == 0)
  }

  @Test("a sync in progress keeps the view, and the rings in it, until it has ended")
  func syncInProgress() throws {
    let fixture = try DaemonFixture()
    let keeper = try NetmapPort("netmap:p}1", engine: fixture.engine())
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let request = RegisterRequest(name: try PortName("p{1"))
    let opened = try connection.register(request, viewEnd: .withToken)
    let segment = opened.registration.segment
    let kring = unsafe try #require(segment.kring(end: 0, .transmit, 0))
    #expect(unsafe kring.tryLock(connection.tag))
    opened.token.close()
    try expectSoon("the port's end") { try connection.check().bindings == 1 }
    for _ in 0..<5 {
      usleep(20_000)
      #expect(try connection.check().kept == 1)
    }
    unsafe kring.unlock()
    try expectSoon("the view's end") { try connection.check().kept == 0 }
    try fixture.expectSound("at the end")
    withExtendedLifetime(keeper) {}
  }
}
