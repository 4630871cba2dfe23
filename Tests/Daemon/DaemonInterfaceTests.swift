import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Network interfaces that processes share through netmapd.
@Suite("Interfaces through netmapd", .serialized, .timeLimit(.minutes(15)))
struct DaemonInterfaceTests {
  static let choices = ["xdp,mode=copy", "xdp,mode=generic", "packet"]

  /// A veth pair with two queues in use on either end.
  static func twoQueues() throws -> VethPair {
    let pair = try VethPair(queues: 2)
    for name in [pair.first, pair.second] {
      try NetworkNamespace.run("ethtool", "-L", name, "rx", "2", "tx", "2")
    }
    return pair
  }

  /// A frame with an experimental EtherType, and with a number.
  static func frame(_ number: UInt8) -> [UInt8] {
    [2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 0x88, 0xb5, number] + [UInt8](repeating: number, count: 45)
  }

  /// Takes packets until `count` have arrived, or no packet arrives for five seconds.
  static func receive(_ port: NetmapPort, _ count: Int) throws -> [[UInt8]] {
    var result: [[UInt8]] = []
    while result.count < count {
      guard try port.wait(for: .receive, timeout: .seconds(5)) == .receive else { break }
      for index in 0..<port.receiveRingCount {
        var ring = port.receiveRing(index)
        while let packet = ring.next() {
          result.append(unsafe packet.bytes.withUnsafeBytes { unsafe Array($0) })
        }
      }
    }
    return result
  }

  @Test("frames go from one process to another, with each backend", arguments: choices)
  func flow(choice: String) throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      let receiver = try fixture.peer([
        "flow-receive", "netmap:\(pair.second)/R@backend:name=\(choice)", "20000",
      ])
      let sender = try fixture.peer([
        "flow-send", "netmap:\(pair.first)/T@backend:name=\(choice)", "1", "0", "100",
      ])
      #expect(rest(of: receiver).hasPrefix("received 20000 of [1]"))
      _ = receiver.wait()
      let list = try fixture.engine().listing()
      let words = choice.split(separator: ",mode=").joined(separator: " ")
      #expect(list.map(\.name) == [pair.first])
      #expect(list.map(\.backend) == [words])
      #expect(list.first?.transmit.packets ?? 0 >= 20000)
      #expect(list.first?.processes == [sender.process])
      sender.kill(SIGKILL)
      #expect(try fixture.engine().listing().isEmpty)
    }
  }

  @Test(
    "one process for each ring of an interface with two queues: each sees its own ring's frames")
  func rings() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try Self.twoQueues()
      let receivers = try (0..<2).map {
        try fixture.peer(["flow-receive", "netmap:\(pair.second)-\($0)/R", "20000"])
      }
      let senders = try (0..<2).map {
        try fixture.peer(["flow-send", "netmap:\(pair.first)-\($0)/T", "\($0 + 1)", "0", "100"])
      }
      for (index, receiver) in receivers.enumerated() {
        #expect(rest(of: receiver).hasPrefix("received 20000 of [\(index + 1)]"))
        _ = receiver.wait()
      }
      for sender in senders { sender.kill(SIGKILL) }
    }
  }

  @Test("an exclusive interface is refused to others until its process has ended")
  func exclusive() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      let engine = try fixture.engine()
      for _ in 0..<5 {
        let holder = try fixture.peer(["hold", "netmap:\(pair.first)/x"])
        let error = #expect(throws: NetmapError.self) {
          try NetmapPort("netmap:\(pair.first)", engine: engine)
        }
        #expect(error?.code == .busy, "\(String(describing: error))")
        holder.kill(SIGKILL)
        let port = try NetmapPort("netmap:\(pair.first)/x", engine: engine)
        port.close()
      }
    }
  }

  @Test("extra buffers, and memory shared between interfaces and pipes")
  func memory() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      let engine = try fixture.engine()
      let port = try NetmapPort("netmap:\(pair.first)", extraBuffers: 8, engine: engine)
      #expect(port.extraBufferCount == 8)
      #expect(port.memoryID == 1)
      let pipe = try NetmapPort("netmap:x{1@1", engine: engine)
      let shared = try NetmapPort("netmap:y{1@share=netmap:\(pair.first)", engine: engine)
      #expect(pipe.memoryID == 1 && shared.memoryID == 1)
      // Packets from the pipe leave through the interface without a copy.
      let (other, end) = try (
        NetmapPort("netmap:\(pair.second)", engine: engine),
        NetmapPort("netmap:x}1", engine: engine)
      )
      try pipe.inject(Self.frame(5))
      try pipe.sync(.transmit)
      #expect(try end.wait(for: .receive, timeout: .seconds(5)) == .receive)
      var input = end.receiveRing(0)
      var output = port.transmitRing(0)
      #expect(input.forward(to: &output) == 1)
      try port.sync(.transmit)
      #expect(try Self.receive(other, 1) == [Self.frame(5)])
    }
  }

  @Test("an interface is looked up in the caller's network namespace, not in the daemon's")
  func namespaces() throws {
    // The daemon starts in the tests' namespace, where no such interface exists.
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    try NetworkNamespace.run {
      let outer = try VethPair()
      let first = try NetmapPort("netmap:\(outer.first)", engine: engine)
      try NetworkNamespace.run {
        // A different interface of the same name.
        let inner = try VethPair()
        let (a, b) = try (
          NetmapPort("netmap:\(inner.first)", engine: engine),
          NetmapPort("netmap:\(inner.second)", engine: engine)
        )
        try a.inject(Self.frame(1))
        try a.sync(.transmit)
        #expect(try Self.receive(b, 1) == [Self.frame(1)])
        #expect(try engine.listing().map(\.name) == ["v0", "v0", "v1"])
      }
      let second = try NetmapPort("netmap:\(outer.second)", engine: engine)
      try first.inject(Self.frame(2))
      try first.sync(.transmit)
      #expect(try Self.receive(second, 1) == [Self.frame(2)])
    }
    let error = #expect(throws: NetmapError.self) { try NetmapPort("netmap:v0", engine: engine) }
    #expect(error?.code == .noSuchDevice, "\(String(describing: error))")
  }

  @Test(
    "a member of the socket's group without any privilege sends and receives; others are refused")
  func unprivileged() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      let group: gid_t = 54_321
      #expect(unsafe chmod(fixture.folder, 0o755) == 0)
      #expect(unsafe chown(fixture.socket, 0, group) == 0)
      #expect(unsafe chmod(fixture.socket, 0o660) == 0)
      // In a place where every user may run it: the build folder may be closed to other users.
      let program = "\(fixture.folder)/host-peer"
      try NetworkNamespace.run("cp", TestProgram.built("host-peer"), program)
      defer { unsafe unlink(program) }
      func command(_ group: gid_t, _ arguments: String...) -> [String] {
        [
          "setpriv", "--reuid", "54322", "--regid", "\(group)", "--clear-groups", "env",
          "NETMAP_SOCKET=\(fixture.socket)", program,
        ] + arguments
      }
      for choice in Self.choices {
        let receiver = try TestProgram(
          command(
            group, "flow-receive", "netmap:\(pair.second)/R@backend:name=\(choice)", "10000"))
        let said = receiver.read()
        #expect(said.hasPrefix("ready"), "\(said)")
        let sender = try TestProgram(
          command(
            group, "flow-send", "netmap:\(pair.first)/T@backend:name=\(choice)", "1", "0", "100"))
        #expect(rest(of: receiver).hasPrefix("received 10000 of [1]"))
        _ = receiver.wait()
        sender.kill(SIGKILL)
      }
      let untrusted = try TestProgram(command(54_323, "hold", "netmap:\(pair.first)")).finish()
      #expect(untrusted.output.contains("EACCES"), "\(untrusted.output)")
      #expect(untrusted.output.contains("join the group"), "\(untrusted.output)")
    }
  }

  @Test(
    "the daemon killed while frames flow: they go on, and a new daemon says who has the interface")
  func daemonKilled() throws {
    for choice in Self.choices {
      try NetworkNamespace.run {
        let fixture = try DaemonFixture()
        let pair = try VethPair()
        let name = "netmap:\(pair.second)/R@backend:name=\(choice)"
        let holder = try fixture.peer(["hold", name])
        let receiver = try fixture.peer(["flow-receive", name, "50000"])
        let sender = try fixture.peer([
          "flow-send", "netmap:\(pair.first)/T@backend:name=\(choice)", "1", "0", "100",
        ])
        usleep(20_000)
        fixture.endDaemon(SIGKILL)
        let said = rest(of: receiver)
        #expect(said.hasPrefix("received 50000 of [1]"), "\(choice): \(said)")
        _ = receiver.wait()
        sender.kill(SIGKILL)
        if choice != "packet" {
          try fixture.start()
          let error = #expect(throws: NetmapError.self) {
            try NetmapPort(name, engine: try fixture.engine())
          }
          #expect(error?.code == .busy, "\(String(describing: error))")
          #expect(error?.reason.contains("whose netmapd has ended") == true)
        }
        holder.kill(SIGKILL)
        // The last process's end leaves nothing attached to the interface.
        let state = InterfaceState(pair.second)
        #expect(!state.hasXDPProgram && state.ingressPrograms == 0, "\(choice): \(state)")
      }
    }
  }

  @Test("an interface that is removed ends the waits of its ports, and harms no other port")
  func removed() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let (gone, kept) = try (VethPair("g0", "g1"), VethPair("k0", "k1"))
      let waiting = try fixture.peer(["flow-receive", "netmap:\(gone.first)", "0"])
      let receiver = try fixture.peer(["flow-receive", "netmap:\(kept.second)/R", "20000"])
      let sender = try fixture.peer([
        "flow-send", "netmap:\(kept.first)/T", "1", "0", "100",
      ])
      try NetworkNamespace.run("ip", "link", "delete", gone.first)
      let said = rest(of: waiting)
      #expect(said.contains("EIO"), "\(said)")
      _ = waiting.wait()
      #expect(rest(of: receiver).hasPrefix("received 20000 of [1]"))
      _ = receiver.wait()
      sender.kill(SIGKILL)
    }
  }
}
