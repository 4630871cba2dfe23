import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// Modules that misbehave in their host process, while other processes are not affected.
@Suite("Faults: modules of switches", .serialized, .timeLimit(.minutes(15)))
struct ModuleFaults {
  private static let library = TestProgram.built("libfault-module.so")

  private func frame(_ number: UInt8) -> [UInt8] {
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, number]
      + [UInt8](repeating: 0, count: 45)
  }

  private func numbers(_ port: NetmapPort, _ count: Int, within seconds: Double = 30) throws
    -> [UInt8]
  {
    var result: [UInt8] = []
    let end = ContinuousClock.now + .seconds(seconds)
    repeat {
      try port.wait(for: .receive, timeout: .milliseconds(20))
      var ring = port.receiveRing(0)
      while let packet = ring.next() {
        if packet.bytes.byteCount > 14 { result.append(packet.bytes[14]) }
      }
    } while result.count < count && ContinuousClock.now < end
    return result
  }

  private func wait(
    _ switches: Switches, until condition: (SwitchModuleReport) -> Bool
  ) throws -> SwitchModuleReport {
    let end = ContinuousClock.now + .seconds(10)
    while true {
      let report = try switches.module(of: "vale0")
      if condition(report) || ContinuousClock.now > end { return report }
      usleep(5000)
    }
  }

  @Test(
    "a module that traps, loops, ends or is stopped: the fallback takes over; others are unaffected",
    arguments: ["trap", "loop", "exit", "stop"], SwitchModuleChoice.Fallback.allCases)
  func contained(_ fault: String, _ fallback: SwitchModuleChoice.Fallback) throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let (a, b) = (
      try NetmapPort("vale0:a", engine: engine), try NetmapPort("vale0:b", engine: fixture.engine())
    )
    let (c, d) = (
      try NetmapPort("vale1:c", engine: engine), try NetmapPort("vale1:d", engine: fixture.engine())
    )
    let switches = engine.switches
    try switches.setModule(
      .loaded(path: Self.library, configuration: "\(fault) 5", fallback: fallback), of: "vale0")
    let host = try switches.module(of: "vale0").process
    try #require(host > 0)
    for number in 0..<5 as Range<UInt8> { try a.inject(frame(number)) }
    try a.sync(.transmit)
    #expect(try numbers(b, 5) == [0, 1, 2, 3, 4])
    // The host counts packets after their delivery: a host that is killed in between has them counted as lost
    // too. It publishes the number of packets that the module has seen after that.
    #expect(try wait(switches) { $0["seen"] == 5 }["seen"] == 5)
    if fault == "stop" { kill(host, SIGSTOP) }
    for number in 5..<10 as Range<UInt8> { try a.inject(frame(number)) }
    try a.sync(.transmit)
    let end = ContinuousClock.now + .seconds(60)
    // netmapd leaves the waits of a module's host for a CPU out as well.
    var clock = fixture.clock(with: [host])
    // The other switch works in the meantime.
    var others: UInt8 = 0
    var report = try switches.module(of: "vale0")
    while report["failures"] == 0, ContinuousClock.now < end {
      try c.inject(frame(others))
      try c.sync(.transmit)
      #expect(try numbers(d, 1) == [others])
      others &+= 1
      report = try switches.module(of: "vale0")
      clock.look()
    }
    let time = clock.time
    #expect(time < .seconds(3), "\(fault) took \(time)")
    report = try wait(switches) { $0["lost"] == 5 }
    #expect(report["failures"] == 1)
    #expect(report["lost"] == 5)
    #expect(report.active == (fallback == .learning ? "learning" : "stopped"))
    try a.inject(frame(77))
    try a.sync(.transmit)
    #expect(
      try numbers(b, 1, within: fallback == .learning ? 30 : 0.1)
        == (fallback == .learning ? [77] : []))
    // The switch accepts another module.
    try switches.setModule(
      .loaded(path: Self.library, configuration: "none", fallback: fallback), of: "vale0")
    try a.inject(frame(78))
    try a.sync(.transmit)
    #expect(try numbers(b, 1) == [78])
    try fixture.expectSound("after \(fault)")
  }

  @Test("a module that answers with nonsense drops packets, which are counted, and goes on")
  func nonsense() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let (a, b) = (
      try NetmapPort("vale0:a", engine: engine), try NetmapPort("vale0:b", engine: engine)
    )
    try engine.switches.setModule(
      .loaded(path: Self.library, configuration: "nonsense 5"), of: "vale0")
    for number in 0..<200 as Range<UInt8> { try a.inject(frame(number)) }
    try a.sync(.transmit)
    let report = try wait(engine.switches) { $0["packets"] == 200 }
    #expect(report["packets"] == 200 && report["failures"] == 0)
    let arrived = try numbers(b, 200, within: 0.2)
    #expect(arrived.starts(with: [0, 1, 2, 3, 4]))
    // About one in 65536 of the other verdicts can be a valid port by chance.
    #expect(report["dropped"] ?? 0 > 190)
  }

  @Test("netmapd does not end a slow module: packets that its ring has no room for are counted")
  func slow() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let (a, b) = (
      try NetmapPort("vale0:a", engine: engine), try NetmapPort("vale0:b", engine: engine)
    )
    try engine.switches.setModule(
      .loaded(path: Self.library, configuration: "slow 0"), of: "vale0")
    var sent = 0
    while sent < 6000 {
      if (try? a.inject(frame(UInt8(truncatingIfNeeded: sent)))) == nil {
        try a.sync(.transmit)
        continue
      }
      sent += 1
    }
    try a.sync(.transmit)
    // Longer than the time after which the daemon ends a host that makes no progress.
    usleep(800_000)
    let report = try wait(engine.switches) { $0["refused"] ?? 0 > 1000 }
    #expect(report["failures"] == 0 && report.active == "fault-module")
    #expect(report["refused"] ?? 0 > 1000)
    #expect(try numbers(b, 100).count >= 100)
  }

  @Test("netmapd does not take a host that waits for a processor for one that hangs")
  func starved() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let (a, b) = (
      try NetmapPort("vale0:a", engine: engine), try NetmapPort("vale0:b", engine: engine)
    )
    try engine.switches.setModule(
      .loaded(path: Self.library, configuration: "none"), of: "vale0")
    let host = try engine.switches.module(of: "vale0").process
    guard let quota = ProcessorQuota(host) else {
      return try Requirement.skip("no control group for processors can be made")
    }
    let end = ContinuousClock.now + .seconds(4)
    var longest = Duration.zero
    while ContinuousClock.now < end {
      let start = ContinuousClock.now
      for number in 0..<10 as Range<UInt8> { try a.inject(frame(number)) }
      try a.sync(.transmit)
      #expect(try numbers(b, 10) == Array(0..<10))
      longest = max(longest, ContinuousClock.now - start)
    }
    #expect(longest > .milliseconds(500), "it has not been kept waiting")
    withExtendedLifetime(quota) {}
    let report = try engine.switches.module(of: "vale0")
    #expect(report["failures"] == 0 && report.process == host, "\(report)")
  }

  @Test("a host killed repeatedly under traffic: the switch always goes on")
  func killed() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let (a, b) = (
      try NetmapPort("vale0:a", engine: engine), try NetmapPort("vale0:b", engine: fixture.engine())
    )
    for round in 0..<10 as Range<UInt8> {
      try engine.switches.setModule(
        .loaded(path: Self.library, configuration: "none"), of: "vale0")
      let host = try engine.switches.module(of: "vale0").process
      for number in 0..<100 as Range<UInt8> {
        try a.inject(frame(number))
        try a.sync(.transmit)
        if number == 50 + round { kill(host, SIGKILL) }
      }
      _ = try wait(engine.switches) { $0["failures"] == UInt64(round) + 1 }
      _ = try numbers(b, 1000, within: 0.05)
      try a.inject(frame(200 + round))
      try a.sync(.transmit)
      #expect(try numbers(b, 1).last == 200 + round)
    }
    let report = try engine.switches.module(of: "vale0")
    #expect(report["failures"] == 10)
    try fixture.expectSound("after ten hosts")
  }
}
