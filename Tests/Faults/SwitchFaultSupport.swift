import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// The counters of the stations, in a file that outlives them; see host-peer's `SwitchTraffic.swift`.
@safe
final class StationBoard {
  let path: String
  private let words: UnsafeMutablePointer<UInt64>

  init(_ fixture: DaemonFixture) throws {
    path = "\(fixture.folder)/board"
    let file = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(file >= 0 && ftruncate(file, 4096) == 0)
    let memory = unsafe try #require(
      unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0))
    close(file)
    unsafe words = memory.assumingMemoryBound(to: UInt64.self)
  }

  deinit {
    unsafe munmap(words, 4096)
    unsafe unlink(path)
  }

  func stopSenders() { unsafe words[0] = 1 }
  func received(_ station: Int) -> UInt64 { unsafe words[1 + station] }
}

/// A switch with 16 ports: sending and receiving processes, and a sender and a receiver of this process,
/// between which no packet may be lost, unless the switch says so: on a loaded machine, broadcasts of the stations can
/// fill the receiver's ring while this process has no CPU.
final class StationSwitch {
  enum Kind: Hashable { case sender, receiver }

  let fixture: DaemonFixture
  let board: StationBoard
  private let witnessSender: NetmapPort
  private let witness: NetmapPort
  private var witnessed: UInt64 = 0
  private var arrived: UInt64 = 0
  /// The packets that have not arrived because the witness's ring was full.
  private var lost: UInt64 = 0
  private let idle: [NetmapPort]
  private(set) var programs: [Int: TestProgram] = [:]
  private var incarnations: [Int: UInt64] = [:]

  /// Stations 1 to 4 send, and 5 to 12 receive.
  ///
  /// Stations 13 and 14 belong to this process, and two ports are idle.
  static let senders = 1...4
  static let receivers = 5...12

  /// The receivers whose senders wait for room.
  private let holding: Set<Int>
  private let pause: Int

  /// - Parameters:
  ///   - fixture: The daemon.
  ///   - holding: The receivers whose senders wait for room.
  ///   - pause: Microseconds that senders pause after each batch.
  ///   - witnessPort: The port on which this process receives. With back-pressure no packet is dropped when
  ///     broadcasts fill its ring while this process does not run.
  /// - Throws: An error when a process does not start.
  init(
    _ fixture: DaemonFixture, holding: Set<Int> = [], pause: Int = 300,
    witnessPort: String = "vale0:wr"
  ) throws {
    self.fixture = fixture
    self.holding = holding
    self.pause = pause
    board = try StationBoard(fixture)
    witnessSender = try NetmapPort("vale0:ws", engine: try fixture.engine())
    witness = try NetmapPort(witnessPort, engine: try fixture.engine())
    idle = try ["i0", "i1"].map { try NetmapPort("vale0:\($0)", engine: try fixture.engine()) }
    for station in Self.receivers { try start(station) }
    for station in Self.senders { try start(station) }
    try announceWitness()
  }

  /// Starts the process of a station, also after the test has killed it.
  func start(_ station: Int) throws {
    incarnations[station, default: 0] += 1
    let name = "vale0:p\(station)"
    if Self.senders.contains(station) {
      // Each receiver in turn, and a broadcast every ninth time.
      let targets = Self.receivers.map(String.init) + ["255"]
      programs[station] = try fixture.peer([
        "station-send", name, "\(station)", targets.joined(separator: ","),
        "\(incarnations[station] ?? 1)", board.path, "\(pause)",
      ])
    } else {
      programs[station] = try fixture.peer([
        "station-listen", holding.contains(station) ? "\(name)@backpressure" : name,
        "\(station)", board.path,
      ])
    }
  }

  func send(_ signal: CInt, to station: Int) { programs[station]?.send(signal) }

  func kill(_ station: Int) {
    programs[station]?.kill(SIGKILL)
    programs[station] = nil
  }

  private func announceWitness() throws {
    try witness.inject(Self.frame(to: 255, from: 14, 0))
    try witness.sync(.transmit)
  }

  private static func address(_ station: UInt8) -> [UInt8] {
    station == 255 ? Array(repeating: 255, count: 6) : [2, 0, 0x77, 0, 0, station]
  }

  /// A frame that makes the switch associate a station's address with the sending port.
  static func announcement(_ station: UInt8) -> [UInt8] { frame(to: 255, from: station, 0) }

  /// 61 bytes, which stations ignore.
  private static func frame(to: UInt8, from: UInt8, _ number: UInt64) -> [UInt8] {
    address(to) + address(from) + [0x88, 0xb5, 0xee, 0xee]
      + (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
      + [UInt8](repeating: 0, count: 37)
  }

  /// Sends packets through the switch within this process, and expects each of them in order.
  ///
  /// - Parameters:
  ///   - count: Number of packets.
  ///   - mayStall: Whether a sender is stopped. If it has stopped while it was filling the witness's ring, it
  ///     delays this ring, and the next call expects the packets.
  ///   - context: A description for error messages.
  /// - Returns: Whether all packets have arrived.
  /// - Throws: The errors of the ports' calls.
  @discardableResult
  func witnessPasses(
    _ count: Int = 3, mayStall: Bool = false, _ context: @autoclosure () -> String
  ) throws -> Bool {
    // Delayed packets arrive first, and make room.
    try expectWitness(within: .seconds(20))
    try countLosses()
    #expect(arrived == witnessed, "\(context()): what was held up")
    for _ in 0..<count {
      try witnessSender.inject(Self.frame(to: 14, from: 13, witnessed))
      try witnessSender.sync(.transmit)
      witnessed += 1
    }
    try expectWitness(within: mayStall ? .milliseconds(100) : .seconds(20))
    if !mayStall { try countLosses() }
    #expect(mayStall || arrived == witnessed, "\(context())")
    return arrived == witnessed
  }

  /// Takes packets that have not arrived for lost, if the sender has counted as many that found the ring full.
  private func countLosses() throws {
    let missing = lost + (witnessed - arrived)
    guard missing > 0 else { return }
    let sender = try fixture.engine().listing().first { $0.name == "vale0:ws" }
    let drops = sender?.transmit.reasons[.ringFull] ?? 0
    #expect(missing <= drops, "\(missing) packets are missing, \(drops) found the ring full")
    if missing <= drops { (lost, arrived) = (missing, witnessed) }
  }

  /// Waits for all sent packets, which must arrive in order.
  private func expectWitness(within time: Duration) throws {
    let end = ContinuousClock.now + time
    repeat {
      try emptyWitness { number in
        #expect(number >= arrived, "out of order")
        lost += number - min(arrived, number)
        arrived = number + 1
      }
      if arrived == witnessed { return }
      // Sends packets that have waited for room.
      try witnessSender.sync(.transmit)
      usleep(100)
    } while ContinuousClock.now < end
  }

  /// Takes the packets from the witness, and calls `body` with the numbers of those that this process sent.
  private func emptyWitness(_ body: (UInt64) -> Void) throws {
    let witness = witness
    try witness.sync(.receive)
    var ring = witness.receiveRing(0)
    while let packet = ring.next() {
      guard packet.bytes.byteCount == 61 else { continue }
      let isOwn = unsafe packet.bytes.unsafeLoad(fromByteOffset: 14, as: UInt8.self) == 0xee
      if isOwn, unsafe packet.bytes.unsafeLoad(fromByteOffset: 11, as: UInt8.self) == 13 {
        unsafe body(packet.bytes.unsafeLoadUnaligned(fromByteOffset: 16, as: UInt64.self))
      }
    }
    try witness.sync(.receive)
  }

  /// Stops the senders, and expects that each port has received or counted every packet sent to it.
  ///
  /// - Parameters:
  ///   - isComplete: Whether no process was killed; the counters of a killed process are gone.
  ///   - context: A description for error messages.
  /// - Throws: An error when the daemon does not answer.
  func settle(isComplete: Bool, _ context: @autoclosure () -> String) throws {
    board.stopSenders()
    for station in Self.senders {
      let said = programs[station]?.readLine() ?? ""
      #expect(said.hasPrefix("sent "), "\(context()): station \(station): \(said)")
    }
    let patience = ContinuousClock.now + .seconds(20)
    var problem: String? = ""
    while problem != nil, ContinuousClock.now < patience {
      usleep(5_000)
      try expectWitness(within: .zero)
      for port in idle + [witnessSender] { try port.sync(.receive) }
      problem = try imbalance(isComplete)
    }
    #expect(problem == nil, "\(context()): \(problem ?? "")")
    for station in Self.receivers {
      guard let program = programs[station] else { continue }
      #expect(Glibc.kill(program.process, 0) == 0, "\(context()): station \(station)")
      program.send(SIGKILL)
      let said = rest(of: program)
      #expect(said.isEmpty, "\(context()): station \(station): \(said)")
      program.wait()
      programs[station] = nil
    }
    for station in Self.senders { kill(station) }
  }

  /// A description of a mismatch of the counters; nil if they match.
  private func imbalance(_ isComplete: Bool) throws -> String? {
    let ports = try fixture.engine().listing().filter { $0.name.hasPrefix("vale0:") }
    for station in Self.receivers {
      let counted = ports.first { $0.name == "vale0:p\(station)" }?.receive.packets ?? 0
      let seen = board.received(station)
      if counted != seen { return "station \(station) has seen \(seen) of \(counted)" }
    }
    guard isComplete else { return nil }
    var (sent, arrived) = (UInt64(0), UInt64(0))
    for port in ports {
      sent = sent &+ port.transmit.packets &- port.transmit.broadcasts &+ port.transmit.copies
      arrived = arrived &+ port.transmit.drops &+ port.receive.packets &+ port.receive.drops
    }
    return sent == arrived ? nil : "\(sent) sent, \(arrived) accounted for"
  }
}
