import CTrace
import Glibc
import Netmap
import NetmapClient
import NetmapCore

/// A group of processes that exchange packets with each other, and with no other group.
protocol SoakGroup: AnyObject {
  var row: LedgerRow { get set }
  /// The stations of the group whose processes may be killed, in sets that are killed together.
  var victims: [[Int]] { get }
  var stations: [Int] { get }
  func start() throws
  /// Kills the processes of some stations, notes what died with them, and starts others.
  func kill(_ stations: [Int]) throws
  /// Whether all packets that were sent have arrived, once the senders have stopped.
  var isQuiet: Bool { get throws }
  /// Completes the row, once all is quiet.
  func finish() throws
  /// The number of packets delivered so far.
  var delivered: UInt64 { get }
}

/// Kills and stops processes that exchange packets, and keeps a ledger of all packets.
final class KillSoak {
  private let options: SoakOptions
  private let bed: SoakBed
  private var random: SoakRandom
  private let hasNetwork: Bool
  private var groups: [any SoakGroup] = []
  /// Processes that stand still, and when they go on.
  private var stopped: [Int: UInt64] = [:]
  private var kills = 0
  private var stops = 0
  private var checks = 0
  /// For each group, its deliveries and when they last grew.
  private var advances: [(count: UInt64, time: UInt64)] = []

  init(_ options: SoakOptions) throws {
    self.options = options
    random = SoakRandom(seed: options.seed)
    // A namespace of its own for the interfaces; netmapd and the workers inherit it.
    hasNetwork = ctrace_new_network() == 0
    bed = try SoakBed(options)
  }

  func run() throws {
    try start()
    if options.fault != nil {
      bed.board.faultTime = now() + UInt64(options.seconds) * 1_000_000_000 / 4
    }
    while !bed.isOver {
      try event()
      bed.progress("\(kills) kills, \(stops) stops, \(checks) checks; \(summary)")
    }
    let ledger = try settle()
    print(options.isJSON ? ledger.json : ledger.text)
    if let fault = ledger.fault { try bed.fail("the ledger does not add up: \(fault)") }
    if !options.isJSON {
      print("")
      print(
        "soak kill: \(Int(bed.elapsed)) s, seed \(options.seed), \(kills) kills, \(stops) stops,"
          + " \(checks) checks without findings; nothing lost, repeated, out of order or damaged")
    }
  }

  private var summary: String {
    groups.map { "\($0.row.group) \(Ledger.grouped($0.delivered))" }.joined(separator: ", ")
  }

  private func start() throws {
    let connection = try DaemonConnection(address: try DaemonAddress(path: bed.socket))
    let seed = random.next()
    groups = [
      PipeGroup(bed, connection, first: 0, seed: seed),
      SwitchGroup(bed, connection, .plain, first: 2, seed: seed),
      SwitchGroup(bed, connection, .backpressure, first: 6, seed: seed),
      SwitchGroup(bed, connection, .filter, first: 10, seed: seed),
      IsolatedGroup(bed, first: 14, seed: seed),
      SwitchGroup(bed, connection, .host, first: 18, seed: seed),
    ]
    if hasNetwork {
      do {
        groups.append(try InterfaceGroup(bed, first: 16, seed: seed))
      } catch {
        print("soak kill: no interfaces: \(error)")
      }
    } else {
      print("soak kill: no interfaces: a network namespace needs root")
    }
    for group in groups { try group.start() }
    advances = groups.map { ($0.delivered, now()) }
  }

  // MARK: - Events

  private func event() throws {
    let group = groups.randomElement(using: &random) ?? groups[0]
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<40:
      let victims = group.victims.randomElement(using: &random) ?? []
      // Other processes of the group must go on, so that their syncs end.
      for station in group.stations { go(on: station) }
      try group.kill(victims)
      group.row.kills += victims.count
      kills += victims.count
    case 40..<85:
      let station = group.stations.randomElement(using: &random) ?? 0
      bed.send(SIGSTOP, to: station)
      stopped[station] = now() + .random(in: 0..<40_000_000, using: &random)
      group.row.stops += 1
      stops += 1
    case 85..<90:
      _ = try bed.check()
      checks += 1
    default: break
    }
    usleep(.random(in: 0..<20_000, using: &random))
    for (station, time) in stopped where now() >= time { go(on: station) }
    try bed.expectAllAlive()
    try expectAdvance()
  }

  private func go(on station: Int) {
    guard stopped.removeValue(forKey: station) != nil else { return }
    bed.send(SIGCONT, to: station)
  }

  /// Fails if a group has delivered nothing for a long time.
  private func expectAdvance() throws {
    for (index, group) in groups.enumerated() {
      let count = group.delivered
      if count != advances[index].count {
        advances[index] = (count, now())
      } else if now() - advances[index].time > 60_000_000_000 {
        try bed.fail("\(group.row.group): no packet has arrived for 60 s")
      }
    }
  }

  // MARK: - The end

  /// Lets all senders stop and all receivers take what has been sent.
  private func settle() throws -> Ledger {
    for station in Array(stopped.keys) { go(on: station) }
    bed.board.phase = .drain
    for group in groups {
      // Time of its own: on a busy machine the groups before it may have needed most of a minute.
      let end = now() + 60_000_000_000
      while try !group.isQuiet {
        try bed.expectAllAlive()
        if now() > end { try bed.fail("\(group.row.group): packets have not arrived in 60 s") }
        usleep(1000)
      }
    }
    _ = try bed.check()
    checks += 1
    for group in groups { try group.finish() }
    bed.board.phase = .end
    for station in bed.processes.keys.sorted() { try bed.waitForEnd(station) }
    return Ledger(rows: groups.map(\.row))
  }
}
