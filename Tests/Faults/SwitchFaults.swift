import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Faults on a switch with 16 ports: other ports lose no packet, and the counters account for every packet.
@Suite("VALE: faults", .serialized, .timeLimit(.minutes(faultMinutes)))
struct SwitchFaults {
  private static var anybody: [Int] { Array(StationSwitch.senders) + StationSwitch.receivers }

  @Test("any sender or receiver killed at full speed, and started again")
  func killed() throws {
    var (seed, generator) = seededGenerator("switch, killed")
    let fixture = try DaemonFixture()
    let stations = try StationSwitch(fixture, pause: 1000)
    // Starting a process takes longer than all other steps.
    for round in 0..<faultRounds {
      let context = "seed \(seed), round \(round)"
      let victim = Self.anybody.randomElement(using: &generator) ?? 1
      usleep(.random(in: 0..<2_000, using: &generator))
      stations.kill(victim)
      try stations.witnessPasses(3, context)
      try stations.start(victim)
      try stations.witnessPasses(1, context)
      if round % 10 == 0 { try fixture.expectSound(context) }
    }
    try stations.settle(isComplete: false, "seed \(seed)")
    try fixture.expectSound("seed \(seed), at the end")
  }

  @Test(
    "any sender or receiver stopped at full speed, and continued: every packet is accounted for")
  func stopped() throws {
    var (seed, generator) = seededGenerator("switch, stopped")
    let fixture = try DaemonFixture()
    let stations = try StationSwitch(fixture)
    var stalls = 0
    for round in 0..<faultRounds {
      let context = "seed \(seed), round \(round)"
      let victim = Self.anybody.randomElement(using: &generator) ?? 1
      stations.send(SIGSTOP, to: victim)
      let isSender = StationSwitch.senders.contains(victim)
      let hasArrived = try stations.witnessPasses(2, mayStall: isSender, context)
      if !hasArrived { stalls += 1 }
      usleep(.random(in: 0..<2_000, using: &generator))
      stations.send(SIGCONT, to: victim)
      try stations.witnessPasses(1, context)
      if round % 20 == 0 { try fixture.expectSound(context) }
    }
    // A sender is in one of 16 rings at a time.
    #expect(stalls <= faultRounds / 4, "seed \(seed)")
    print("switch, stopped: \(stalls) of \(faultRounds) held the witness's own ring up")
    try stations.settle(isComplete: true, "seed \(seed)")
    try fixture.expectSound("seed \(seed), at the end")
  }

  @Test("receivers with back-pressure stopped, continued and killed: only their senders wait")
  func heldBack() throws {
    var (seed, generator) = seededGenerator("switch, back-pressure")
    let fixture = try DaemonFixture()
    let holding: Set = [5, 9, 12]
    let stations = try StationSwitch(fixture, holding: holding, pause: 100)
    for round in 0..<faultRounds {
      let context = "seed \(seed), round \(round)"
      let victim = holding.randomElement(using: &generator) ?? 5
      stations.send(SIGSTOP, to: victim)
      // Long enough for rings to fill and senders to sleep.
      usleep(.random(in: 0..<8_000, using: &generator))
      try stations.witnessPasses(2, context)
      if generator.chance(20) {
        stations.kill(victim)
        try stations.witnessPasses(2, context)
        try stations.start(victim)
      } else {
        stations.send(SIGCONT, to: victim)
      }
    }
    let drops = try fixture.engine().listing().filter { port in
      holding.contains { port.name == "vale0:p\($0)" }
    }.map(\.receive.reasons[.ringFull])
    #expect(drops == [0, 0, 0], "seed \(seed): nothing was dropped where senders wait")
    try stations.settle(isComplete: false, "seed \(seed)")
    try fixture.expectSound("seed \(seed), at the end")
  }

  @Test("a port removed and put back while others send to it")
  func removed() throws {
    var (seed, generator) = seededGenerator("switch, removed")
    let fixture = try DaemonFixture()
    let stations = try StationSwitch(fixture, pause: 500)
    let engine = try fixture.engine()
    let name = try PortName("vale0:v0")
    _ = try engine.switches.create(try PortName("v0"))
    for round in 0..<faultRounds {
      let context = "seed \(seed), round \(round)"
      try engine.switches.attach(name, backpressure: round % 3 == 0)
      if round % 2 == 0 {
        let guest = try NetmapPort("netmap:v0", engine: engine)
        // Packets for station 5 go to this port until station 5 sends again, and are dropped once this port is
        // gone.
        try guest.inject(StationSwitch.announcement(5))
        try guest.sync(.transmit)
        usleep(.random(in: 0..<1_000, using: &generator))
        try guest.sync(.receive)
        guest.close()
      } else {
        usleep(.random(in: 0..<500, using: &generator))
      }
      try stations.witnessPasses(1, context)
      // The daemon notices the close a moment later.
      try detach(name, engine)
      try stations.witnessPasses(1, context)
    }
    try engine.switches.remove(try PortName("v0"))
    try stations.settle(isComplete: false, "seed \(seed)")
    try fixture.expectSound("seed \(seed), at the end")
  }

  private func detach(_ name: PortName, _ engine: HostEngine) throws {
    let patience = ContinuousClock.now + .seconds(10)
    while true {
      do throws(NetmapError) {
        try engine.switches.detach(name)
        return
      } catch {
        guard error.code == .busy, ContinuousClock.now < patience else { throw error }
        usleep(500)
      }
    }
  }

  @Test("the switch emptied and refilled, with 16 ports of two processes each time")
  func refilled() throws {
    let fixture = try DaemonFixture()
    let descriptors = try fixture.daemonDescriptors()
    let engines = [try fixture.engine(), try fixture.engine()]
    for round in 0..<faultRounds {
      try fill(engines, round)
      try fixture.expectOpen(0, "round \(round)")
    }
    try fixture.expectDescriptors(descriptors + 8, "at the end")
  }

  /// Opens 16 ports, sends a broadcast from each to all others, and closes the ports.
  private func fill(_ engines: [HostEngine], _ round: Int) throws {
    let ports = try (0..<16).map { try NetmapPort("vale0:p\($0)", engine: engines[$0 % 2]) }
    for (number, port) in ports.enumerated() {
      try port.inject(
        [UInt8](repeating: 255, count: 6) + [2, 0, 0, 0, 0, UInt8(number), 0x88, 0xb5])
      try port.sync(.transmit)
    }
    for port in ports {
      try port.sync(.receive)
      let count = port.receiveRing(0).count
      #expect(count == 15, "round \(round): \(port.name)")
    }
    for port in ports.shuffled() { port.close() }
  }

  @Test("an address that flaps, and 2^20 random ones, do not affect other ports")
  func flapping() throws {
    let fixture = try DaemonFixture()
    let stations = try StationSwitch(fixture, pause: 1000, witnessPort: "vale0:wr@backpressure")
    let flapper = try TestProgram(
      fixture.command(["station-flap", "vale0:f0", "vale0:f1", "77", "\(1 << 20)"]))
    #expect(flapper.readLine() == "ready\n")
    let end = ContinuousClock.now + .seconds(60)
    let ended = DetachedFlag()
    DetachedThread {
      _ = rest(of: flapper)
      ended.set()
    }
    var rounds = 0
    while !ended.isSet, ContinuousClock.now < end {
      try stations.witnessPasses(3, "round \(rounds)")
      rounds += 1
    }
    #expect(ended.isSet && rounds > 3)
    #expect(flapper.wait() == 0)
    try stations.settle(isComplete: false, "flapping")
    try fixture.expectSound("at the end")
  }

  @Test(
    "three senders to one receiver with back-pressure: every packet arrives, even of a stopped one"
  )
  func threeToOne() throws {
    var (seed, generator) = seededGenerator("switch, three to one")
    let fixture = try DaemonFixture()
    let reader = try NetmapPort("vale0:r@backpressure", engine: try fixture.engine())
    let count: UInt64 = 20_000
    // Odd sender numbers make group addresses, so the packets are broadcasts, and the reader is the only
    // receiver.
    let senders = try (0..<3).map {
      try fixture.peer(["send-all", "vale0:s\($0)", "\(2 * $0 + 1)", "\(count)", "32"])
    }
    let stopper = senders[1]
    var expected: [UInt64: UInt64] = [:]
    var total: UInt64 = 0
    let end = ContinuousClock.now + .seconds(60)
    while total < 3 * count, ContinuousClock.now < end {
      if generator.chance(1) {
        stopper.send(SIGSTOP)
        usleep(.random(in: 0..<2_000, using: &generator))
        stopper.send(SIGCONT)
      }
      guard try reader.wait(for: .receive, timeout: .seconds(20)) == .receive else { break }
      var ring = reader.receiveRing(0)
      while let packet = ring.next() {
        let sender = unsafe packet.bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self)
        let number = unsafe packet.bytes.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt64.self)
        try #require(number == expected[sender, default: 0], "seed \(seed), sender \(sender)")
        expected[sender] = number + 1
        total += 1
      }
    }
    #expect(total == 3 * count, "seed \(seed): \(expected)")
    for sender in senders {
      #expect(rest(of: sender) == "sent \(count)\n")
      sender.wait()
    }
    #expect(reader.statistics.receive.drops.total == 0)
  }
}
