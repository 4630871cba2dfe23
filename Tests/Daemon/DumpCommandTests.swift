import Glibc
import Netmap
import NetmapCore
import NetmapTestSupport
import Testing

/// `netmap ports --write-dump` and `netmap ports --dump`.
@Suite("netmap ports, dumps", .timeLimit(.minutes(15)))
struct DumpCommandTests {
  private let fixture: DaemonFixture

  init() throws { fixture = try DaemonFixture() }

  private var file: String { "\(fixture.folder)/ports.dump" }

  private func ports(_ options: String...) throws -> (status: CInt, output: String) {
    try TestProgram(
      [TestProgram.built("netmap"), "ports"] + options,
      environment: ["NETMAP_SOCKET": fixture.socket, "NETMAPD": TestProgram.built("netmapd")]
    ).finish()
  }

  @Test("a dump shows ports, rings, leases, sleepers and counters, also when netmapd has ended")
  func reading() throws {
    let engine = try fixture.engine()
    let sender = try NetmapPort("netmap:dumped{1", engine: engine)
    let receiver = try NetmapPort("netmap:dumped}1", engine: engine)
    let (a, b) = (
      try NetmapPort("vale0:a", engine: engine), try NetmapPort("vale0:b", engine: engine)
    )
    for port in [sender, a] {
      for _ in 0..<3 { try port.inject([UInt8](repeating: 0xff, count: 60)) }
      try port.sync(.transmit)
    }
    // A host-peer sleeps until packets arrive.
    let sleeper = try fixture.peer(["receive", "netmap:asleep{1", "0"])
    usleep(200_000)
    let (status, said) = try ports("--write-dump", file)
    #expect(status == 0 && said.contains("wrote"), "\(said)")
    var mode = stat()
    #expect(unsafe stat(file, &mode) == 0 && mode.st_mode & 0o777 == 0o600)
    sleeper.kill(SIGKILL)
    for port in [sender, receiver, a, b] { port.close() }
    fixture.endDaemon(SIGTERM)
    let (result, text) = try ports("--dump", file)
    #expect(result == 0, "\(text)")
    for part in [
      "dumped{1: pipe", "transmit ring 0: head 3, cur 3", "counted: 3 packets, 180 bytes",
      "mapped by process \(getpid())", "vale0, index", "from slot 0: finished, 3 slots, 3 packets",
      "asleep{1: pipe", "waiting for its progress: the futex of binding 0",
      "opened by process \(sleeper.process)",
      "switch vale0: 2 ports", ": no findings",
    ] { #expect(text.contains(part), "\(part): \(text)") }
    let (_, json) = try ports("--dump", file, "--json")
    for part in [
      "\"port\":\"dumped{1\"", "\"direction\":\"transmit\"", "\"head\":3", "\"findings\":[]",
      "\"switch\":\"vale0\"", "\"leases\":[{\"lease\":",
    ] { #expect(json.contains(part), "\(part): \(json)") }
    #expect(json.split(separator: "\n").allSatisfy { $0.hasPrefix("{") && $0.hasSuffix("}") })
  }

  @Test("the check runs over a dump, and a finding makes the command fail")
  func findings() throws {
    let port = try NetmapPort("netmap:damaged{1", engine: try fixture.engine())
    let ring = unsafe port.transmitRing(0).unsafeRing
    let lost = unsafe ring.load(0).bufferIndex
    unsafe ring.slot(0).pointee.bufferIndex = ring.load(1).bufferIndex
    #expect(try ports("--write-dump", file).status == 0)
    unsafe ring.slot(0).pointee.bufferIndex = lost
    let (status, text) = try ports("--dump", file)
    #expect(status == 1, "\(text)")
    #expect(text.contains("buffer \(lost) is in no slot or list"), "\(text)")
    let (again, json) = try ports("--dump", file, "--json")
    #expect(again == 1 && json.contains("is in no slot or list"), "\(json)")
    // The memory itself has been mended since.
    #expect(try ports("--check").status == 0)
    port.close()
  }

  @Test("a file that is no dump, and a dump that was cut off, are refused with a reason")
  func refusals() throws {
    let port = try NetmapPort("netmap:cut{1", engine: try fixture.engine())
    #expect(try ports("--write-dump", file).status == 0)
    port.close()
    let missing = try ports("--dump", "\(fixture.folder)/nothing")
    #expect(missing.status == 2 && missing.output.contains("nothing"))
    let other = try ports("--dump", TestProgram.built("netmapd"))
    #expect(other.status == 2 && other.output.contains("it is not a netmap dump"), "\(other)")
    #expect(unsafe truncate(file, 5000) == 0)
    let cut = try ports("--dump", file)
    #expect(cut.status == 2 && cut.output.contains("it is too short"), "\(cut)")
    // A link in a shared folder could lead to a file of root's.
    unsafe unlink(file)
    #expect(unsafe symlink("\(fixture.folder)/target", file) == 0)
    #expect(try ports("--write-dump", file).status == 1)
    #expect(unsafe access("\(fixture.folder)/target", F_OK) != 0)
  }

  @Test(
    "options that contradict each other are refused",
    arguments: [["--write-dump", "x", "--json"], ["--dump", "x", "--check"]])
  func options(_ options: [String]) throws {
    let (status, text) = try ports(options[0], options[1], options[2])
    #expect(status == 64 && text.contains("excludes"), "\(text)")
  }

  @Test("the thread that answers requests leaves the work of a dump to another one")
  func work() throws {
    let engine = try fixture.engine()
    var many: [NetmapPort] = []
    for number in 0..<100 {
      many.append(try NetmapPort("netmap:many\(number){1", engine: engine))
    }
    let server = try #require(fixture.serving)
    // Processor time, so that a busy machine changes nothing. Field 1 of schedstat, nanoseconds.
    func times() throws -> (server: Int, others: Int) {
      var (own, others) = (0, 0)
      let threads = try TestProgram.output(of: ["ls", "/proc/\(server)/task"])
      for thread in threads.split(separator: "\n") {
        // The thread may have ended.
        let path = "/proc/\(server)/task/\(thread)/schedstat"
        let text = (try? TestProgram.output(of: ["cat", path])) ?? ""
        let time = text.split(separator: " ").first.flatMap { Int($0) } ?? 0
        if Int32(thread) == server { own += time } else { others += time }
      }
      return (own, others)
    }
    let before = try times()
    for _ in 0..<5 { #expect(try ports("--write-dump", file).status == 0) }
    let after = try times()
    let (own, others) = (after.server - before.server, after.others - before.others)
    #expect(others > 5_000_000, "\(others) ns")
    #expect(own < others / 4, "\(own) ns of \(own + others) ns")
    for port in many { port.close() }
  }
}
