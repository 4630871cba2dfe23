import Glibc
import Netmap
import NetmapClient
import NetmapCore

/// Two senders and receivers on a VALE switch.
///
/// The ledger counts copies: a broadcast, or a packet for a station that is not there, has one for each port. All stations
/// receive, also the senders. A port ends with its process.
final class SwitchGroup: SoakGroup {
  enum Kind: String {
    case plain = "vale"
    /// Senders wait for room in the receivers' rings.
    case backpressure = "vale, backpressure"
    /// A module decides about the packets.
    case filter = "vale, filter"
    /// A module in a process of its own carries the packets. It sends each packet to all ports.
    case host = "vale, module host"
  }

  var row: LedgerRow
  private let bed: SoakBed
  private let connection: DaemonConnection
  private let kind: Kind
  private let first: Int
  private let seed: UInt64
  private var watches: [Int: PortWatch] = [:]

  private static let count = 4
  private static let senders = 2

  init(
    _ bed: SoakBed, _ connection: DaemonConnection, _ kind: Kind, first: Int, seed: UInt64
  ) {
    self.bed = bed
    self.connection = connection
    self.kind = kind
    self.first = first
    self.seed = seed
    row = LedgerRow(group: kind.rawValue)
  }

  var stations: [Int] { Array(first..<first + Self.count) }
  var victims: [[Int]] { stations.map { [$0] } + [[first, first + 2]] }
  private var vale: String { "vale\(first)" }

  var delivered: UInt64 {
    stations.reduce(0) { sum, receiver in
      stations.reduce(sum) { $0 &+ bed.board[receiver, from: $1].total }
    }
  }

  private func start(_ station: Int) throws {
    var settings = WorkerSettings()
    settings.seed = seed
    settings.batch = 32
    settings.announces = true
    settings.fault = bed.options.fault
    var name = "\(vale):p\(station)"
    if station < first + Self.senders {
      settings.targets = stations.filter { $0 >= first + Self.senders }
      settings.floods = 5
      settings.receives = true
      settings.pause = kind == .backpressure ? 200 : 400
    } else {
      settings.pause = station == first + Self.count - 1 ? 3000 : 0
      if kind == .backpressure { name += "@backpressure" }
    }
    try bed.start(station, name, settings)
    watches[station] = try PortWatch(connection, "\(vale):p\(station)")
  }

  func start() throws {
    for station in stations.reversed() { try start(station) }
    let choice: SwitchModuleChoice
    switch kind {
    case .plain, .backpressure: return
    case .filter: choice = .filter(rules: "default allow")
    case .host: choice = .loaded(path: bed.program("libfault-module.so"))
    }
    do throws(NetmapError) {
      _ = try bed.engine.switches.setModule(choice, of: vale)
    } catch {
      throw SoakError("\(vale): \(error)")
    }
  }

  func kill(_ victims: [Int]) throws {
    for station in victims { bed.kill(station) }
    for station in victims { try note(station) }
    for station in victims { try start(station) }
  }

  /// Waits until nobody can send to the port of a dead process any more, and counts what died with it.
  private func note(_ station: Int) throws {
    guard let watch = watches.removeValue(forKey: station) else { return }
    let end = now() + 20_000_000_000
    func wait(_ what: String, until isDone: () -> Bool) throws {
      while !isDone() {
        try bed.expectAllAlive()
        if now() > end { try bed.fail("station \(station): \(what) in 20 s") }
        usleep(200)
      }
    }
    try wait("netmapd has not closed the port of a dead process") { watch.isClosed }
    for (_, other) in watches {
      let before = other.sending
      try wait("a sync of a sender has not ended") {
        let now = other.sending
        return before.holder == 0 || now.holder != before.holder || now.syncs != before.syncs
      }
    }
    if kind == .host {
      let before = try host()
      if before?.lock != nil {
        try wait("a sync of the module host has not ended") {
          guard let now = try? host() else { return false }
          return now.lock == nil || now.syncs != before?.syncs
        }
      }
    }
    let unconfirmed = bed.board[station, .staged] - bed.board[station, .confirmed]
    // A broadcast that waits for room at one receiver may have reached others.
    row.cutOffMax += (unconfirmed + 1) * UInt64(Self.count)
    try watch.forEachUnread { bytes in try noteUnread(bytes, at: station) }
    count(watch)
    watch.forget()
  }

  /// Counts a packet in the ring of a dead receiver, unless the receiver had recorded it.
  private func noteUnread(_ bytes: RawSpan, at station: Int) throws {
    guard let packet = SoakPacket(bytes), stations.contains(packet.sender) else {
      try bed.fail("\(row.group): a damaged packet was in the ring of a dead receiver")
    }
    var cell = bed.board[station, from: packet.sender]
    if packet.incarnation > cell.incarnation {
      (cell.before, cell.count, cell.end) = (cell.total, 0, 0)
      cell.incarnation = packet.incarnation
    }
    if packet.incarnation < cell.incarnation || packet.number < cell.end { return }
    cell.end = packet.number + 1
    bed.board[station, from: packet.sender] = cell
    row.unread += 1
  }

  /// Adds the counters of a port at its end.
  private func count(_ watch: PortWatch) {
    let (sent, received) = (watch.counters(.transmit), watch.counters(.receive))
    row.sent = row.sent &+ sent.packets &- sent.broadcasts &+ sent.copies
    for drops in [sent.drops, received.drops, watch.unreached] {
      for reason in DropReason.allCases { row.drops[reason] &+= drops[reason] }
    }
  }

  /// The port of the module host, of which only netmapd knows.
  private struct Host {
    let lock: DumpedClient?
    let syncs: UInt64
    let sent: RingCounters
    let received: RingCounters
    let isEmpty: Bool
  }

  /// - Returns: Nil when there is no host.
  private func host() throws -> Host? {
    let dumped: DumpedEngine
    do throws(NetmapError) {
      dumped = try DumpedEngine(try bed.engine.dump())
    } catch {
      try bed.fail("netmapd cannot be dumped: \(error)")
    }
    let port = dumped.dumpedPorts.first { port in
      port.bindings.contains { $0.owner?.isHidden == true }
        && port.places.contains { $0.hasPrefix("\(vale), ") }
    }
    guard let port, let sending = port.rings.first(where: { $0.direction == .transmit }),
      let receiving = port.rings.first(where: { $0.direction == .receive })
    else { return nil }
    return Host(
      lock: sending.lock, syncs: sending.counters.syncs, sent: sending.counters,
      received: receiving.counters,
      isEmpty: receiving.cursors.hwcur == receiving.cursors.hwtail && receiving.leases.isEmpty
        && receiving.reservation == receiving.arriving)
  }

  var isQuiet: Bool {
    get throws {
      // A dump makes netmapd and the soak work. Ask for one only once nothing is sent to the host any more.
      guard isDrained else { return false }
      guard kind == .host else { return true }
      guard let host = try host() else { try bed.fail("\(row.group): the module host has ended") }
      // What the host has delivered since the look at the rings is in them now.
      return host.isEmpty && isDrained
    }
  }

  /// Whether the senders have stopped and the receivers have taken what is in their rings.
  private var isDrained: Bool {
    stations.allSatisfy { station in
      (station >= first + Self.senders || bed.board.state(of: station) == .drained)
        && watches[station]?.isEmpty == true
    }
  }

  func finish() throws {
    for station in stations {
      if let watch = watches[station] { count(watch) }
    }
    if kind == .host {
      guard let host = try host() else { try bed.fail("\(row.group): the module host has ended") }
      // What the host has taken is sent again, and its copies count.
      let copies = host.sent.packets &- host.sent.broadcasts &+ host.sent.copies
      row.sent = row.sent &+ copies &- host.received.packets
      for drops in [host.sent.drops, host.received.drops] {
        for reason in DropReason.allCases { row.drops[reason] &+= drops[reason] }
      }
    }
    row.delivered = delivered
    // What was delivered and not counted as sent must be of syncs that a kill cut off: the row checks the number.
    let found = row.outgoing
    row.cutOff = found >= row.sent ? found - row.sent : 0
  }
}
