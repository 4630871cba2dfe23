import Glibc
import Netmap
import NetmapCore

/// A process that opens and closes ports of all kinds, as fast as it can, until it is told to stop or killed.
final class OpenWorker {
  /// What is opened and closed, or set up and removed.
  enum Kind: Int, CaseIterable {
    case pipe, vale, backpressure, isolated, extra, token, persistent, module, interface, held

    var name: String {
      switch self {
      case .extra: "extra buffers"
      case .held: "several at once"
      case .module: "module host"
      default: "\(self)"
      }
    }
  }

  private let board: SoakBoard
  private let station: Int
  private let settings: WorkerSettings
  private let engine: HostEngine
  private var random: SoakRandom

  init(_ board: SoakBoard, socket: String, _ station: Int, _ settings: WorkerSettings) throws {
    self.board = board
    self.station = station
    self.settings = settings
    engine = try HostEngine(socket: socket)
    random = SoakRandom(seed: settings.seed &+ board[station, .incarnation] &* 1_000_003)
  }

  func run() throws {
    board[station, .state] = SoakBoard.State.ready.rawValue
    if settings.opensEachOnce {
      for kind in Kind.allCases where try operate(kind) { board.countOpen(station, kind.rawValue) }
      return
    }
    while board.phase == .run {
      let kind = Kind.allCases.randomElement(using: &random) ?? .pipe
      // A module is a process: it takes longer than all others.
      if kind == .module, !random.chance(5) { continue }
      do throws(NetmapError) {
        guard try operate(kind) else { continue }
        board.countOpen(station, kind.rawValue)
      } catch {
        // Another process has the port, or the switch is full, or root is missing: no fault of netmapd's.
        guard Self.isExpected(error) else { throw error }
        board.countOpen(station, Kind.allCases.count)
      }
    }
  }

  private static func isExpected(_ error: NetmapError) -> Bool {
    [EBUSY, EEXIST, ENXIO, ENOENT, ENOMEM, EMFILE, EAGAIN, EINVAL, ETOOMANYREFS].contains(
      error.code.rawValue)
  }

  /// The names of the persistent ports that a station creates and removes.
  static func persistentPorts(of station: Int) -> [PortName] {
    (0..<4).compactMap { try? PortName("keep\(station)x\($0)") }
  }

  private func name(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }

  /// - Returns: False for an operation that this machine does not have.
  private func operate(_ kind: Kind) throws(NetmapError) -> Bool {
    switch kind {
    case .pipe: try use("netmap:open\(name(4)){\(name(3))")
    case .vale: try use("vale\(name(3)):o\(name(8))")
    case .backpressure: try use("vale\(name(3)):o\(name(8))@backpressure")
    case .isolated: try use("netmap:openi\(name(4)){1/i")
    case .extra: try use("netmap:open\(name(4)){\(name(3))@conf:slots=64", extra: 1 + name(64))
    case .token: try useToken()
    case .persistent:
      guard let port = Self.persistentPorts(of: station).randomElement(using: &random) else {
        return false
      }
      try engine.switches.create(port)
      try engine.switches.remove(port)
    case .module: return try useModule()
    case .interface:
      guard settings.hasInterfaces else { return false }
      try use(
        "netmap:soak\(name(2))@backend:name=\(random.chance(50) ? "xdp,mode=copy" : "packet")")
    case .held:
      var ports: [NetmapPort] = []
      for number in 0..<3 + name(6) {
        ports.append(try NetmapPort("vale\(3 + name(2)):h\(station)x\(number)", engine: engine))
      }
      for port in ports.shuffled(using: &random) { port.close() }
    }
    return true
  }

  /// Opens a port, moves some packets, and closes it.
  private func use(_ name: String, extra: Int = 0) throws(NetmapError) {
    let port = try NetmapPort(name, extraBuffers: extra, engine: engine)
    if random.chance(50) {
      var ring = port.transmitRing(0)
      for _ in 0..<3 { _ = ring.append(length: 60) }
    }
    try port.sync(.transmit)
    try port.sync(.receive)
    // Half of the ports are closed when the object ends.
    if random.chance(50) { port.close() }
  }

  /// Opens a port, and uses it through a copy of its token after the first open has been closed.
  private func useToken() throws(NetmapError) {
    let port = try NetmapPort("netmap:opent\(station){1", engine: engine)
    let copy = try port.duplicateToken()
    if random.chance(30) {
      Glibc.close(copy)
      return
    }
    let second = try engine.port(token: copy)
    port.close()
    try second.sync(.transmit)
    second.close()
  }

  private func useModule() throws(NetmapError) -> Bool {
    guard let path = settings.module else { return false }
    let port = try NetmapPort("valem\(station):a", engine: engine)
    _ = try engine.switches.setModule(.loaded(path: path), of: "valem\(station)")
    try port.sync(.transmit)
    if random.chance(50) { _ = try engine.switches.setModule(.learning, of: "valem\(station)") }
    port.close()
    return true
  }
}
