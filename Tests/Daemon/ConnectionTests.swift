import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// The messages that each kind of connection accepts, and from which process.
@Suite("Connections to netmapd", .serialized, .timeLimit(.minutes(15)))
struct ConnectionTests {
  @Test("a connection that has asked for a port cannot become a mailbox; the port ends with it")
  func helloAfterRegister() throws {
    let fixture = try DaemonFixture()
    let peer = try RawPeer(fixture)
    let token = try peer.connect()
    let (mine, theirs) = try MessageSocket.pair()
    try token.send(
      Message.bytes(.register) {
        if let name = try? PortName("x{1") {
          $0.put(RegisterRequest(name: name, flags: .exclusive))
        }
        $0.put(client: peer.tag)
      }, [theirs.descriptor])
    try token.send(Message.bytes(.hello))
    let mail = try #require(try mine.receive(within: 10))
    _ = try Message(mail.bytes).answer()
    #expect(try token.receive(waits: false) == nil, "something was said on a token")
    token.close()
    try expectSoon("the port's end") {
      (try? NetmapPort("netmap:x{1", engine: fixture.engine())) != nil
    }
    try fixture.expectSound("at the end")
  }

  @Test(
    "malformed, empty or misplaced messages on a token do not close its port, and get no answer",
    arguments: ["empty", "short", "kind", "version", "long", "hello"])
  func rubbishOnToken(_ what: String) throws {
    let fixture = try DaemonFixture()
    let peer = try RawPeer(fixture)
    let token = try peer.connect()
    #expect(try peer.register("x{1", on: token) == nil)
    var bytes = Message.bytes(.check)
    switch what {
    case "empty": bytes = []
    case "short": bytes = [1, 2, 3]
    case "version": bytes[4] &+= 1
    case "long": bytes = [UInt8](repeating: 1, count: 60_000)
    case "hello": bytes = Message.bytes(.hello)
    default: break
    }
    try token.send(bytes)
    // The token still holds the port.
    #expect(try peer.refusal(.mapPort, on: token) { $0.put(client: peer.tag) } == nil)
    #expect(try token.receive(waits: false) == nil)
    #expect(try fixture.engine().listing().map(\.name) == ["x{1"])
  }

  @Test("a request on a fresh connection that belongs to a mailbox is refused, and ends it")
  func mailboxRequestOnFresh() throws {
    let fixture = try DaemonFixture()
    let peer = try RawPeer(fixture)
    for kind in [Message.Kind.check, .list, .control, .forget, .portInfo, .done, .neighbour] {
      let socket = try peer.connect()
      try socket.send(Message.bytes(kind))
      let mail = try #require(try socket.receive(within: 10))
      #expect(throws: NetmapError.self) { try Message(mail.bytes).answer() }
      let end = try #require(try socket.receive(within: 10))
      #expect(end.bytes.isEmpty)
    }
  }

  @Test("netmapd does not answer on a socket that is connected to another process's listener")
  func foreignReply() throws {
    let fixture = try DaemonFixture()
    let peer = try RawPeer(fixture)
    // The other end has the credentials of the listener, here netmapd itself.
    let forged = try peer.connect()
    let token = try peer.connect()
    try token.send(
      Message.bytes(.register) {
        if let name = try? PortName("forged{1") { $0.put(RegisterRequest(name: name)) }
        $0.put(client: peer.tag)
      }, [forged.descriptor])
    let carrier = try peer.connect()
    try? carrier.send(Message.bytes(.hello), [forged.descriptor])
    usleep(100_000)
    #expect(try fixture.engine().listing().isEmpty)
    #expect(try fixture.engine().check().clients == 2)
  }

  @Test("a process cannot send requests in another process's name")
  func otherTag() throws {
    let fixture = try DaemonFixture()
    let holder = try fixture.peer(["receive", "netmap:p{1", "0"])
    let peer = try RawPeer(fixture)
    for slot in 0..<4 as Range<UInt64> {
      for epoch in 1..<6 as Range<UInt64> where epoch << 32 | slot != peer.tag {
        let token = try peer.connect()
        let name = try PortName("z{1")
        let code = try peer.refusal(.register, on: token) {
          $0.put(RegisterRequest(name: name))
          $0.put(client: epoch << 32 | slot)
        }
        // The tags of this process's other connections are valid for it too.
        if code != nil { #expect(code == "EBADF") }
        token.close()
      }
    }
    holder.kill(SIGKILL)
  }

  @Test("ports that a process closed and forgot right before its connection ended are not kept")
  func forgottenBeforeHangUp() throws {
    let fixture = try DaemonFixture()
    let watcher = try fixture.engine()
    let serving = try #require(fixture.serving)
    // The peer has not said that it is gone, so the daemon keeps the ports that it has not forgotten.
    let peer = try RawPeer(fixture)
    let tokens = try (0..<8).map { number in
      let token = try peer.connect()
      #expect(try peer.register("last\(number){1", on: token) == nil)
      return token
    }
    let bindings = try fixture.engine().check().bindings
    #expect(bindings == 8)
    // The daemon finds the end of the ports and the end of the connection at the same time.
    kill(serving, SIGSTOP)
    for token in tokens { token.close() }
    for number in UInt64(0)..<64 {
      try peer.mailbox.send(Message.bytes(.forget) { $0.put(number) })
    }
    peer.mailbox.close()
    kill(serving, SIGCONT)
    try expectSoon("the end of the ports") {
      let check = try watcher.check()
      return check.bindings == 0 && check.kept == 0
    }
  }

  @Test("netmapd stops watching a mailbox that hung up, even if a process keeps a copy of it")
  func keptMailboxes() throws {
    let fixture = try DaemonFixture()
    let peer = try RawPeer(fixture)
    var kept: [MessageSocket] = []
    for _ in 0..<20 {
      let (mine, theirs) = try MessageSocket.pair()
      let token = try peer.connect()
      try token.send(Message.bytes(.hello), [theirs.descriptor])
      let mail = try #require(try mine.receive(within: 5))
      #expect(mail.files.count == 5)
      // Hang up, but keep the socket that the daemon has a copy of.
      mine.close()
      kept.append(theirs)
    }
    let process = try #require(fixture.serving)
    usleep(300_000)
    let before = try processorTicks(of: process)
    usleep(1_000_000)
    #expect(try processorTicks(of: process) - before < 20)
    withExtendedLifetime(kept) {}
  }

  @Test("netmapd closes the answer sockets of requests that wait in a mailbox when it hangs up")
  func requestBehindHangup() throws {
    let fixture = try DaemonFixture()
    let mailbox = try #require(try DaemonAddress(path: fixture.socket).connect())
    try mailbox.send(Message.bytes(.hello))
    // The server looks once, soon after it has sent descriptors, whether they were received.
    usleep(200_000)
    _ = try #require(try mailbox.receive(within: 10))
    let (mine, theirs) = try MessageSocket.pair()
    let serving = try #require(fixture.serving)
    kill(serving, SIGSTOP)
    defer { kill(serving, SIGCONT) }
    try mailbox.send(Message.bytes(.hello))
    try mailbox.send(Message.bytes(.list) { $0.put(UInt32(0)) }, [theirs.descriptor])
    theirs.close()
    kill(serving, SIGCONT)
    let answer = try #require(try mine.receive(within: 10), "netmapd keeps the socket")
    #expect(answer.bytes.isEmpty)
  }

  @Test(
    "a process that closes all its descriptors in the middle of a sync keeps its lock while it lives"
  )
  func lockOfTheLiving() throws {
    let fixture = try DaemonFixture()
    let peer = try TestProgram(fixture.command(["close-all", "l{1"]))
    #expect(peer.readLine() == "locked\n")
    #expect(peer.readLine() == "held\n")
    peer.kill(SIGKILL)
    try fixture.expectOpenSoon(0)
  }

  @Test("a process that executes another program loses its locks and its client slot")
  func exec() throws {
    let fixture = try DaemonFixture()
    let peer = try TestProgram(fixture.command(["hold-lock-exec", "netmap:e{1", "sleep", "60"]))
    #expect(peer.readLine() == "locked\n")
    try expectSoon("the end of the client") {
      try fixture.engine().check().locksReleased == 1
    }
    peer.kill(SIGKILL)
  }
}

/// The processor time that a process has used, in ticks of a hundredth of a second.
func processorTicks(of process: Int32) throws -> Int {
  let text = try TestProgram.output(of: ["cat", "/proc/\(process)/stat"])
  let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
  return (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
}
