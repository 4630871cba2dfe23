import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// What happens to an interface while its host rings are open, and what the host has afterwards.
///
/// Each test compares pictures of the host's networking before and after, and sends traffic of the host.
@Suite(.serialized) struct HostFaultTests {
  /// A bridge between an interface and its host rings, in a process of its own.
  private func bridge(_ fixture: HostFixture, _ choice: String) throws -> TestProgram {
    try fixture.start(["bridge", "netmap:near@backend:name=\(choice)", "netmap:near^"])
  }

  /// Sends echo requests of the host until one is answered.
  ///
  /// - Returns: False when none was answered for 10 seconds.
  private func hostReachesPeer() throws -> Bool {
    let end = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < end {
      // A host whose interface is down says so.
      if (try? EchoSocket().ping((10, 0, 0, 2), number: 1, milliseconds: 200)) == true {
        return true
      }
      usleep(1000)
    }
    return false
  }

  /// Waits until the host's networking looks as it did, and reaches the other end.
  private func expectAsBefore(
    _ clean: NetworkPicture, _ when: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let end = ContinuousClock.now + .seconds(10)
    var now = try NetworkPicture("near")
    while now != clean, ContinuousClock.now < end {
      usleep(1000)
      now = try NetworkPicture("near")
    }
    #expect(
      now == clean, "\(when): \(clean.difference(to: now))", sourceLocation: sourceLocation)
    #expect(try hostReachesPeer(), "\(when)", sourceLocation: sourceLocation)
  }

  /// What a user does to an interface, and how it is undone.
  struct Change: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let change: [[String]]
    let restore: [[String]]
    /// Whether the host reaches the other end in between.
    let isReachable: Bool

    static let all = [
      Change(
        testDescription: "down and up", change: [["link", "set", "near", "down"]],
        restore: [
          // The kernel forgets IPv6 addresses of interfaces that go down.
          ["link", "set", "near", "up"],
          ["address", "replace", "fd00::1/64", "dev", "near", "nodad"],
        ], isReachable: false),
      Change(
        testDescription: "renamed", change: [["link", "set", "near", "name", "other"]],
        restore: [["link", "set", "other", "name", "near"]], isReachable: true),
      Change(
        testDescription: "a smaller MTU", change: [["link", "set", "near", "mtu", "1300"]],
        restore: [["link", "set", "near", "mtu", "1500"]], isReachable: true),
      Change(
        testDescription: "a larger MTU", change: [["link", "set", "near", "mtu", "3000"]],
        restore: [["link", "set", "near", "mtu", "1500"]], isReachable: true),
      Change(
        testDescription: "another address",
        change: [["link", "set", "near", "address", "02:00:00:00:00:77"]],
        restore: [["link", "set", "near", "address", "02:00:00:00:00:01"]], isReachable: true),
    ]

    func run(_ commands: [[String]]) throws {
      for command in commands { _ = try TestProgram.output(of: ["ip"] + command) }
    }
  }

  @Test(
    "an interface that is changed while a bridge runs: the bridge goes on, and leaves nothing",
    arguments: HostFixture.choices, Change.all)
  func changed(choice: String, change: Change) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      // What the change itself leaves.
      try change.run(change.change)
      try change.run(change.restore)
      #expect(try hostReachesPeer())
      let clean = try NetworkPicture("near")
      for isUndoneBeforeTheEnd in [true, false] {
        let bridge = try bridge(fixture, choice)
        #expect(try hostReachesPeer())
        try change.run(change.change)
        if change.isReachable { #expect(try hostReachesPeer()) }
        if isUndoneBeforeTheEnd {
          try change.run(change.restore)
          #expect(try hostReachesPeer())
          #expect(InterfaceState("near").egressPrograms == 1)
        }
        bridge.kill(SIGKILL)
        if !isUndoneBeforeTheEnd { try change.run(change.restore) }
        try expectAsBefore(clean, "after the bridge")
      }
    }
  }

  @Test(
    "an interface that is deleted: EIO, no hang, and nothing stays", arguments: HostFixture.choices)
  func deleted(choice: String) throws {
    try NetworkNamespace.run {
      let bare = try NetworkPicture(nil)
      let engine = try EmbeddedEngine()
      for _ in 0..<2 {
        let fixture = try HostFixture()
        let name = "netmap:near*@backend:name=\(choice)"
        let port = try NetmapPort(name, engine: engine)
        let remover = try NamespaceThread {
          usleep(20_000)
          return (try? NetworkNamespace.run("ip", "link", "del", "near")) != nil
        }.start()
        let ready = try waitForError(of: port)
        #expect(try remover.join())
        #expect(ready == .error)
        for direction in Direction.allCases {
          #expect(throws: NetmapError.self) { try port.sync(direction) }
        }
        let refusal = #expect(throws: NetmapError.self) { try NetmapPort(name, engine: engine) }
        #expect(refusal?.code == .noSuchDevice)
        port.close()
        let left = try NetworkPicture(nil)
        #expect(left == bare, "\(bare.difference(to: left))")
        withExtendedLifetime(fixture) {}
      }
    }
  }

  @Test(
    "an interface that moves to another namespace works there while the port is open",
    arguments: HostFixture.choices)
  func moved(choice: String) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      let host = try OtherHost()
      let here = try TestProgram(["sleep", "1000"])
      defer { here.kill(SIGKILL) }
      func back() throws {
        try host.run("ip", "link", "set", "near", "netns", "\(here.process)")
        for command in [
          ["link", "set", "near", "up"], ["address", "add", "10.0.0.1/24", "dev", "near"],
          ["address", "add", "fd00::1/64", "dev", "near", "nodad"],
        ] {
          _ = try TestProgram.output(of: ["ip"] + command)
        }
      }
      try host.take("near", "10.0.0.1/24")
      try back()
      #expect(try hostReachesPeer())
      let clean = try NetworkPicture("near")
      let engine = try EmbeddedEngine()
      let port = try NetmapPort("netmap:near*@backend:name=\(choice)", engine: engine)
      #expect(InterfaceState("near").egressPrograms == 1)
      try host.take("near", "10.0.0.1/24")
      let ready = try waitForError(of: port)
      #expect(ready == .error)
      // Its new host owns it, although the program has not closed its port.
      let end = ContinuousClock.now + .seconds(10)
      var answer = ""
      while !answer.hasPrefix("ok"), ContinuousClock.now < end {
        answer = (try? host.run(driver, "ping", "10.0.0.2", "1", "56", "500")) ?? ""
      }
      #expect(answer.hasPrefix("ok"))
      let programs = try host.run("ip", "-d", "link", "show", "near")
      #expect(!programs.contains("xdp"), "\(programs)")
      port.close()
      try back()
      try expectAsBefore(clean, "after the move back")
      let again = try NetmapPort("netmap:near*@backend:name=\(choice)", engine: engine)
      #expect(InterfaceState("near").egressPrograms == 1)
      again.close()
      try expectAsBefore(clean, "after the second port")
      withExtendedLifetime(fixture) {}
    }
  }

  /// Attaches programs of others: tcx links, and a clsact discipline with filters.
  private func addForeignPrograms() throws -> [ForeignProgram] {
    // Kernels without tc actions have these filters, too.
    for command in [
      ["qdisc", "add", "dev", "near", "clsact"],
      ["filter", "add", "dev", "near", "egress", "u32", "match", "u32", "0", "0", "flowid", "1:1"],
      [
        "filter", "add", "dev", "near", "ingress", "u32", "match", "u32", "0", "0", "flowid", "1:1",
      ],
    ] {
      _ = try TestProgram.output(of: ["tc"] + command)
    }
    return try [ForeignProgram("near", .tcxIngress), ForeignProgram("near", .tcxEgress)]
  }

  @Test(
    "tc programs of others, attached before or while host rings are open, work on and stay",
    arguments: HostFixture.choices, [true, false])
  func foreignFilters(choice: String, areFirst: Bool) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      var programs: [ForeignProgram] = []
      if areFirst { programs = try addForeignPrograms() }
      let before = try NetworkPicture("near")
      let bridge = try bridge(fixture, choice)
      #expect(try hostReachesPeer())
      if !areFirst { programs = try addForeignPrograms() }
      #expect(try hostReachesPeer())
      bridge.kill(SIGKILL)
      if areFirst {
        try expectAsBefore(before, "after the bridge")
      } else {
        _ = try NetworkNamespace.run("tc", "qdisc", "del", "dev", "near", "clsact")
        programs = []
        try expectAsBefore(before, "after the bridge and the foreign programs")
      }
      withExtendedLifetime(programs) {}
    }
  }

  @Test("an XDP program of somebody else: EBUSY unless packet sockets are asked for, and it stays")
  func foreignXDP() throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      let foreign = try ForeignProgram("near", .xdp)
      let before = try NetworkPicture("near")
      let engine = try EmbeddedEngine()
      let refusal = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:near*", engine: engine)
      }
      #expect(refusal?.code == .busy && refusal?.remedy.contains("name=packet") == true)
      try expectAsBefore(before, "after the refusal")
      let bridge = try bridge(fixture, "packet")
      #expect(try hostReachesPeer())
      #expect(InterfaceState("near").egressPrograms == 1)
      bridge.kill(SIGKILL)
      try expectAsBefore(before, "after the bridge")
      withExtendedLifetime(foreign) {}
    }
  }

  @Test(
    "an XDP program that somebody attaches to an interface with host rings is refused, or works",
    arguments: HostFixture.choices)
  func laterXDP(choice: String) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      let before = try NetworkPicture("near")
      let bridge = try bridge(fixture, choice)
      var foreign: ForeignProgram?
      if choice == "packet" {
        foreign = try ForeignProgram("near", .xdp)
      } else {
        #expect(throws: ProgramError.self) { try ForeignProgram("near", .xdp) }
      }
      #expect(try hostReachesPeer())
      bridge.kill(SIGKILL)
      #expect(isDisconnected())
      #expect(InterfaceState("near").hasXDPProgram == (foreign != nil))
      foreign = nil
      try expectAsBefore(before, "after both")
    }
  }

  /// Whether the host's packets do not go to host rings any more, within 10 seconds.
  private func isDisconnected() -> Bool {
    let end = ContinuousClock.now + .seconds(10)
    while InterfaceState("near").egressPrograms > 0, ContinuousClock.now < end { usleep(1000) }
    return InterfaceState("near").egressPrograms == 0
  }

  @Test("a queue that is taken: EBUSY, and nothing of the leg stays")
  func queueTaken() throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      let holder = try fixture.start(["hold", "netmap:near/T@backend:name=xdp"])
      defer { holder.kill(SIGKILL) }
      let before = try NetworkPicture("near")
      let engine = try EmbeddedEngine()
      for name in ["netmap:near*", "netmap:near*@backend:name=xdp,mode=copy"] {
        let refusal = #expect(throws: NetmapError.self) { try NetmapPort(name, engine: engine) }
        #expect(refusal?.code == .busy)
        try expectAsBefore(before, "after \(name)")
      }
    }
  }

  enum Rights: CaseIterable {
    case networkAdministration, none
  }

  @Test("without rights: EPERM, what would help, and nothing stays", arguments: Rights.allCases)
  func rights(_ rights: Rights) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      let before = try NetworkPicture("near")
      // Its thread gives up the capabilities, and those that the engine starts have none either.
      let refusals = try NamespaceThread { () -> [String] in
        do {
          switch rights {
          case .networkAdministration: try keepOnlyNetAdminCapability()
          case .none: try dropAllCapabilities()
          }
          let engine = try EmbeddedEngine()
          return ["netmap:near*", "netmap:near^", "netmap:near*@backend:name=packet"].map { name in
            do throws(NetmapError) {
              _ = try NetmapPort(name, engine: engine)
              return "\(name) opens"
            } catch {
              return error.code == .notPermitted ? error.remedy : "\(error)"
            }
          }
        } catch {
          return ["\(error)"]
        }
      }.start().join()
      #expect(refusals.count == 3)
      for refusal in refusals { #expect(refusal.lowercased().contains("cap_"), "\(refusal)") }
      try expectAsBefore(before, "after the refusals")
      withExtendedLifetime(fixture) {}
    }
  }

  @Test(
    "a near end that somebody deletes disconnects the host until the port is opened again",
    arguments: HostFixture.choices)
  func legDeleted(choice: String) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      let before = try NetworkPicture("near")
      let engine = try EmbeddedEngine()
      let port = try NetmapPort("netmap:near*@backend:name=\(choice)", engine: engine)
      try NetworkNamespace.run("ip", "link", "del", "netmap0")
      // The interface's own rings go on.
      try port.inject(numberedFrame(1, length: 60))
      try port.sync(.transmit)
      #expect(try !EchoSocket().ping((10, 0, 0, 2), number: 1, milliseconds: 50))
      port.close()
      try expectAsBefore(before, "after the port")
      let bridge = try bridge(fixture, choice)
      #expect(try hostReachesPeer())
      bridge.kill(SIGKILL)
      try expectAsBefore(before, "after the bridge")
    }
  }

  /// Discards packets, which the host sends also by itself, until a wait says that the port has an error.
  private func waitForError(of port: NetmapPort) throws -> Readiness {
    let end = ContinuousClock.now + .seconds(20)
    var ready = try port.wait(for: .receive, timeout: .seconds(5))
    while ready == .receive, ContinuousClock.now < end {
      for index in 0..<port.receiveRingCount { port.receiveRing(index).discardAll() }
      ready = try port.wait(for: .receive, timeout: .seconds(5))
    }
    return ready
  }
}

extension ReceiveRing {
  fileprivate consuming func discardAll() {
    var ring = self
    ring.skip()
  }
}
