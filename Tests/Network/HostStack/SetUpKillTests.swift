import Glibc
import NetmapTestSupport
import Testing

/// A process is killed before each system call with which it sets a port up, uses it and closes it, and netmapd before
/// each call with which it does so for others. Whatever the call, the host's networking is then as it began.
///
/// By default the tests try some of the calls, spread over all. With NETMAP_TEST_EVERY_CALL in the environment they try
/// every one, which takes minutes.
@Suite(.serialized, .timeLimit(.minutes(60))) struct SetUpKillTests {
  private static let isComplete = environmentNumber("NETMAP_TEST_EVERY_CALL") != nil
  /// How many calls to try otherwise.
  private static let samples = 5

  static let ports = [
    "netmap:near*@backend:name=xdp", "netmap:near*@backend:name=packet",
    "netmap:near@backend:name=xdp", "netmap:near@backend:name=packet",
  ]

  /// Tries points of an operation: each one, or some.
  ///
  /// - Parameters:
  ///   - name: The operation, for messages.
  ///   - attempt: Kills after a number of calls, and checks what is left. Returns what kill-at-call has said.
  /// - Throws: What `attempt` throws, or the failure of a requirement.
  private func tryCalls(_ name: String, _ attempt: (Int) throws -> String) throws {
    // The number of calls of the whole operation, which varies: the kernel gives up a queue late, and an open then tries
    // again.
    var count = Int.max
    for _ in 0..<3 {
      let whole = try attempt(1_000_000)
      #expect(whole.hasPrefix("ended after"), "\(name): \(whole)")
      count = min(count, try #require(Int(whole.split(separator: " ").last ?? ""), "\(name)"))
    }
    #expect(count > 50, "\(name)")
    let spacing = Self.isComplete ? 1 : max(1, count / Self.samples)
    // Other calls each time.
    let first = Self.isComplete ? 0 : Int.random(in: 0..<spacing)
    var killed = 0
    for point in stride(from: first, to: count, by: spacing) {
      let outcome = try attempt(point)
      if outcome.hasPrefix("killed") { killed += 1 }
    }
    print("\(name): killed before \(killed) of \(count) calls")
    #expect(killed * 2 > count / spacing, "\(name): \(killed)")
  }

  /// Waits until the host's networking looks as it did, and the peer answers.
  private func expectAsBefore(
    _ clean: NetworkPicture, _ state: InterfaceState, _ context: String
  ) throws {
    let end = ContinuousClock.now + .seconds(10)
    while InterfaceState("near") != state, ContinuousClock.now < end { usleep(500) }
    var now = try NetworkPicture("near")
    while now != clean, ContinuousClock.now < end { now = try NetworkPicture("near") }
    try #require(now == clean, "\(context): \(clean.difference(to: now))")
    var isHeard = false
    while !isHeard, ContinuousClock.now < end {
      isHeard = try EchoSocket().ping((10, 0, 0, 2), number: 1, milliseconds: 500)
    }
    try #require(isHeard, "\(context): the peer does not answer")
  }

  @Test("a process that opens an interface by itself", arguments: ports)
  func embedded(port: String) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      #expect(try EchoSocket().ping((10, 0, 0, 2), number: 1))
      let (clean, state) = (try NetworkPicture("near"), InterfaceState("near"))
      try tryCalls(port) { count in
        let killer = try TestProgram(
          [TestProgram.built("kill-at-call"), "\(count)", driver, "churn", port, "1"],
          separatesErrors: true)
        let outcome = killer.end()
        let said = outcome.output.trimmed
        try #require(outcome.status == 0, "\(port), call \(count): \(said) \(outcome.errors)")
        try expectAsBefore(clean, state, "\(port), call \(count), \(said)")
        return said
      }
      withExtendedLifetime(fixture) {}
    }
  }

  @Test(
    "netmapd, both halves or the one that makes the call", .needsRoot, arguments: [false, true])
  func daemon(isHalf: Bool) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      #expect(try EchoSocket().ping((10, 0, 0, 2), number: 1))
      let (clean, state) = (try NetworkPicture("near"), InterfaceState("near"))
      let port = Self.ports[0]
      try tryCalls("netmapd\(isHalf ? ", one half" : ""), \(port)") { count in
        let daemon = try DaemonFixture()
        let halves = [daemon.daemon?.process, daemon.serving].compactMap { $0.map { "\($0)" } }
        try #require(halves.count == 2)
        let killer = try TestProgram(
          [TestProgram.built("kill-at-call"), "\(count)", "--of", halves.joined(separator: ",")]
            + (isHalf ? ["--half"] : []) + [driver, "churn", port, "1"],
          environment: ["NETMAP_SOCKET": daemon.socket, "NETMAPD": "/nonexistent"],
          separatesErrors: true)
        let outcome = killer.end()
        let said = outcome.output.trimmed
        let context = "netmapd, call \(count): \(said)"
        try #require(outcome.status == 0, "\(context) \(outcome.errors)")
        if !isHalf { daemon.endDaemon(SIGKILL) }
        try expectAsBefore(clean, state, context)
        guard isHalf else { return said }
        // The surviving half ends, or has a new other half.
        let next = try TestProgram(
          [driver, "churn", port, "1"],
          environment: ["NETMAP_SOCKET": daemon.socket, "NETMAPD": TestProgram.built("netmapd")]
        ).finish()
        try #require(next.status == 0, "\(context), then \(next.output)")
        try expectAsBefore(clean, state, "\(context), after the next port")
        return said
      }
      withExtendedLifetime(fixture) {}
    }
  }
}

extension String {
  fileprivate var trimmed: String { String(prefix { $0 != "\n" }) }
}
