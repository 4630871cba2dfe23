import Netmap
import NetmapTestSupport
import Testing

/// Which backends each kind of interface has, and that frames pass through it both ways.
@Suite struct InterfaceKindTests {
  struct Kind: Sendable, CustomTestStringConvertible {
    let name: String
    /// The arguments of ip(8) that make the interface, beside a veth pair `near` and `far`.
    let commands: [String]
    /// What an open without a choice gets.
    let best: String
    /// Where frames come out that the interface sends, and go in that it receives; its own name for an interface
    /// that receives what it sends, and nil for one that has no other side.
    let otherSide: String?
    var testDescription: String { name }

    /// Whether the driver runs XDP programs itself.
    var isNative: Bool { best == "xdp copy" }
  }

  static let kinds = [
    Kind(name: "near", commands: [], best: "xdp copy", otherSide: "far"),
    Kind(
      name: "tap0", commands: ["tuntap add dev tap0 mode tap"], best: "xdp copy", otherSide: nil),
    Kind(
      name: "bridge0", commands: ["link add bridge0 type bridge", "link set near master bridge0"],
      best: "packet", otherSide: "far"),
    Kind(
      name: "macvlan0", commands: ["link add link near name macvlan0 type macvlan"], best: "packet",
      otherSide: "far"),
    Kind(name: "ifb0", commands: ["link add ifb0 type ifb"], best: "packet", otherSide: nil),
    Kind(name: "lo", commands: ["link set lo mtu 1500"], best: "packet", otherSide: "lo"),
  ]

  /// Every backend that can be named, and whether a kind of interface has it.
  static let choices: [(choice: String, isThere: @Sendable (Kind) -> Bool)] = [
    ("xdp,mode=zerocopy", { _ in false }), ("xdp,mode=copy", { $0.isNative }),
    ("xdp,mode=generic", { _ in true }), ("packet", { _ in true }),
  ]

  private func inNamespace(of kind: Kind, _ body: () throws -> Void) throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      for command in kind.commands {
        _ = try TestProgram.output(of: ["ip"] + command.split(separator: " ").map(String.init))
      }
      if !kind.commands.isEmpty {
        try NetworkNamespace.run("ip", "link", "set", kind.name, "addrgenmode", "none", "up")
      }
      try body()
      withExtendedLifetime(pair) {}
    }
  }

  @Test("each backend opens, or is refused as not supported", arguments: kinds)
  func backends(of kind: Kind) throws {
    try inNamespace(of: kind) {
      let engine = try EmbeddedEngine()
      let state = InterfaceState(kind.name)
      let port = try NetmapPort("netmap:\(kind.name)", engine: engine)
      #expect(Self.label(port) == kind.best, "\(port.backend?.refusals ?? [])")
      port.close()
      for (choice, isThere) in Self.choices {
        let name = "netmap:\(kind.name)@backend:name=\(choice)"
        if isThere(kind) {
          let port = try NetmapPort(name, engine: engine)
          #expect(Self.label(port) == choice.replacing(",mode=", with: " "))
          port.close()
        } else {
          let error = #expect(throws: NetmapError.self) { try NetmapPort(name, engine: engine) }
          #expect(error?.code == .unsupported, "\(choice): \(String(describing: error))")
        }
      }
      #expect(InterfaceState(kind.name) == state)
    }
  }

  @Test("the largest frames of the loopback interface pass")
  func largest() throws {
    try NetworkNamespace.run {
      let port = try NetmapPort("netmap:lo", engine: EmbeddedEngine())
      let frames = [65_550, 60, 65_549].map { numberedFrame($0, length: $0) }
      try port.send(frames)
      #expect(try Self.receive(on: port, frames.count) == frames)
    }
  }

  @Test(
    "frames of many sizes pass both ways by each backend, and each once",
    arguments: kinds.filter { $0.otherSide != nil },
    ["xdp,mode=copy", "xdp,mode=generic", "packet"])
  func frames(through kind: Kind, by choice: String) throws {
    guard kind.isNative || choice != "xdp,mode=copy" else { return }
    try inNamespace(of: kind) {
      let engine = try EmbeddedEngine()
      let port = try NetmapPort("netmap:\(kind.name)@backend:name=\(choice)", engine: engine)
      let frames = [60, 61, 64, 127, 1000, 1513, 1514].map { length in
        // To all stations: a bridge and a macvlan receive no others.
        [UInt8](repeating: 0xff, count: 6) + numberedFrame(length, length: length).dropFirst(6)
      }
      guard kind.otherSide != kind.name else {
        try port.send(frames)
        #expect(try Self.receive(on: port, frames.count) == frames)
        return
      }
      let other = try NetmapPort("netmap:far@backend:name=packet", engine: engine)
      try port.send(frames)
      #expect(try Self.receive(on: other, frames.count) == frames)
      try other.send(frames)
      #expect(try Self.receive(on: port, frames.count) == frames)
    }
  }

  /// Receives until no frame arrives for a second. Leaves out frames of the hosts, which announce themselves.
  private static func receive(on port: NetmapPort, _ count: Int) throws -> [[UInt8]] {
    var frames: [[UInt8]] = []
    while frames.count <= count {
      let more = try port.receive(1)
      if more.isEmpty { break }
      frames += more.filter { $0.count > 14 && $0[12] == 0x88 && $0[13] == 0xb5 }
    }
    return frames
  }

  private static func label(_ port: NetmapPort) -> String {
    [port.backend?.name, port.backend?.mode].compactMap { $0 }.filter { !$0.isEmpty }
      .joined(separator: " ")
  }
}
