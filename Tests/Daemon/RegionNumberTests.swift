import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Programs, libnetmap among them, take regions of one number for the same memory.
@Suite("Numbers of regions", .serialized, .timeLimit(.minutes(15)))
struct RegionNumberTests {
  /// Opens pipes, and returns their regions' numbers.
  private func numbers(_ count: Int, _ fixture: DaemonFixture) throws -> (Set<UInt16>, UInt64) {
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    var ports: [Opened] = []
    for index in 0..<count {
      ports.append(try connection.register(RegisterRequest(name: PortName("r\(index){1"))))
    }
    let numbers = Set(ports.map(\.registration.memoryID))
    #expect(numbers.count == count)
    return (numbers, connection.instance)
  }

  @Test("no daemon gives a region the number of a region of the daemons before it at its address")
  func restarts() throws {
    let fixture = try DaemonFixture(starts: false)
    var all: Set<UInt16> = []
    var instances: Set<UInt64> = []
    for round in 0..<6 {
      try fixture.start()
      let (found, instance) = try numbers(round == 0 ? 40 : 5, fixture)
      #expect(all.isDisjoint(with: found), "\(found)")
      #expect(!found.contains(0) && !found.contains(1))
      all.formUnion(found)
      instances.insert(instance)
      fixture.endDaemon(round % 2 == 0 ? SIGKILL : SIGTERM)
    }
    #expect(instances.count == 6)
  }

  @Test("nor does another broker of the same daemon", .needsRoot)
  func brokers() throws {
    let fixture = try DaemonFixture()
    let (first, instance) = try numbers(3, fixture)
    let broker = try #require(fixture.serving)
    try #require(broker != fixture.daemon?.process)
    kill(broker, SIGKILL)
    try expectSoon("another broker") { fixture.serving.map { $0 != broker } ?? false }
    let (second, later) = try fixture.besideRestarts { try numbers(3, fixture) }
    #expect(first.isDisjoint(with: second))
    #expect(instance != later)
  }

  @Test("the region that interfaces share is number 1 in every daemon")
  func shared() throws {
    let fixture = try DaemonFixture(starts: false)
    for _ in 0..<2 {
      try fixture.start()
      let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
      #expect(try connection.portInfo(nil).memoryID == 1)
      fixture.endDaemon(SIGTERM)
    }
  }

  @Test("the count of blocks survives in its file, and begins again after the last")
  func file() throws {
    let fixture = try DaemonFixture(starts: false)
    let address = try DaemonAddress(path: fixture.socket)
    let first = try #require(try RegionBlocks(address).take())
    #expect(first == 0, "a new host begins at 2")
    for step in 1..<20 as Range<UInt16> {
      // Each time as another daemon.
      let expected = (first + step) % RegionNumbers.blockCount
      #expect(try RegionBlocks(address).take() == expected)
    }
    let last = RegionNumbers.blockCount - 1
    for text in ["\(last)\n", "\(last)"] {
      try write(text, to: "\(fixture.socket).regions")
      let blocks = try RegionBlocks(address)
      #expect(blocks.take() == last)
      #expect(blocks.take() == 0)
      #expect(blocks.take() == 1)
    }
    for text in ["", "x\n", "99999\n", "-1\n", "4095\n", String(repeating: "7", count: 100)] {
      try write(text, to: "\(fixture.socket).regions")
      let blocks = try RegionBlocks(address)
      let block = try #require(blocks.take(), "\(text)")
      #expect(block < RegionNumbers.blockCount)
      #expect(try RegionBlocks(address).take() == (block + 1) % RegionNumbers.blockCount)
    }
  }

  private func write(_ text: String, to path: String) throws {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    try #require(file >= 0)
    defer { close(file) }
    let bytes = Array(text.utf8)
    _ = unsafe Glibc.write(file, bytes, bytes.count)
  }
}

extension DaemonFixture {
  /// Runs `body`, and repeats it while no broker answers.
  fileprivate func besideRestarts<R>(_ body: () throws -> R) throws -> R {
    for _ in 0..<100 {
      if let result = try? body() { return result }
      usleep(50_000)
    }
    return try body()
  }
}
