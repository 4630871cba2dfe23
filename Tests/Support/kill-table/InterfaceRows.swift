import Glibc
import Netmap
import TableSupport

/// A port of a network interface: one end of a veth pair in a network namespace of its own.
///
/// Another process has the same interface open, so that victims need not set it up, and a third one the other end.
struct InterfaceRow: KillRow {
  let name: String
  /// Nil to have both ends joined by a short cut.
  let backend: String?
  let isSender: Bool

  static let all: [InterfaceRow] = [
    InterfaceRow(name: "interface tx, xdp", backend: "xdp", isSender: true),
    InterfaceRow(name: "interface rx, xdp", backend: "xdp", isSender: false),
    InterfaceRow(name: "interface tx, packet", backend: "packet", isSender: true),
    InterfaceRow(name: "interface rx, packet", backend: "packet", isSender: false),
    InterfaceRow(name: "veth short cut tx", backend: nil, isSender: true),
    InterfaceRow(name: "veth short cut rx", backend: nil, isSender: false),
  ]

  var daemonOptions: [String] { backend == nil ? ["--join-veths"] : [] }

  private var port: String {
    backend.map { "netmap:kt0@backend:name=\($0)@conf:rings=1" } ?? "netmap:kt0@conf:rings=1"
  }

  private var peer: String {
    backend == nil ? "netmap:kt1@conf:rings=1" : "netmap:kt1@backend:name=packet"
  }

  func prepareProcess() throws { try TableNetwork.enter("kt0", "kt1") }

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort(port, engine: engine)
    if isSender {
      for number in 0..<3 as Range<UInt8> {
        try port.inject(TableFrame.bytes(from: TableFrame.victim, number))
      }
      return { try port.sync(.transmit) }
    }
    return {
      try port.sync(.receive)
      do {
        var ring = port.receiveRing(0)
        _ = ring.next()
      }
      try port.sync(.receive)
    }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(self, testbed) }

  private final class Scene: KillScene {
    let row: InterfaceRow
    let testbed: TableTestbed
    /// The same interface as the victim's, and the other end.
    let port: NetmapPort
    var peer: NetmapPort
    var arrived: [Arrival] = []
    var sent: UInt8 = 0
    /// Packets that the short cut has had so far.
    var passed: UInt64 = 0

    init(_ row: InterfaceRow, _ testbed: TableTestbed) throws {
      self.row = row
      self.testbed = testbed
      port = try NetmapPort(row.port, engine: testbed.engine)
      peer = try NetmapPort(row.peer, engine: testbed.engine)
    }

    func prepare() throws {
      guard row.backend == nil, row.isSender else { return }
      // The victim is the first one to use the short cut, after packets that went to the kernel.
      peer.close()
      try port.send(from: 7, 0..<2)
      peer = try NetmapPort(row.peer, engine: testbed.engine)
    }

    /// The packets of the table that have arrived.
    ///
    /// The kernel sends packets of its own, such as router solicitations.
    private func take(_ port: NetmapPort) throws -> [Arrival] {
      try port.sync(.receive)
      var result: [Arrival] = []
      do {
        var ring = port.receiveRing(0)
        while let packet = ring.next() {
          let bytes = packet.bytes
          guard bytes.byteCount == TableFrame.length, bytes[12] == 0x88, bytes[13] == 0xb5 else {
            continue
          }
          let (sender, number) = (bytes[14], bytes[15])
          for index in 16..<TableFrame.length where bytes[index] != sender ^ number {
            throw TableError("\(port.name): packet \(sender).\(number) is damaged")
          }
          result.append(Arrival(sender, number))
        }
      }
      try port.sync(.receive)
      return result
    }

    private func take(_ port: NetmapPort, upTo last: Arrival) throws {
      let end = ContinuousClock.now + .seconds(2)
      while arrived.last != last {
        arrived += try take(port)
        guard ContinuousClock.now < end else {
          throw TableError("\(port.name): no \(last) in \(arrived)")
        }
      }
    }

    func arm() throws {
      _ = try take(peer)
      (arrived, sent) = ([], 0)
      guard !row.isSender else { return }
      try peer.send(from: 5, 0..<3)
      sent = 3
      usleep(200)
    }

    func meanwhile() throws {
      if row.isSender {
        arrived += try testbed.hold { try take(peer) }
      } else {
        try testbed.hold { try peer.send(from: 5, 3..<5) }
        sent = 5
      }
    }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      if row.isSender {
        try port.send(from: 6, 8..<10)
        try take(peer, upTo: Arrival(6, 9))
        try expectExact(
          arrived, others: [Arrival.all(6, 8..<10)], most: 3,
          all: mode == .stop, peer.name)
      } else {
        try peer.send(from: 6, 8..<10)
        try take(port, upTo: Arrival(6, 9))
        // The victim has read one packet; the other ones are in the ring, which both processes have open.
        let all = Arrival.all(5, 0..<sent) + Arrival.all(6, 8..<10)
        try expect(
          arrived == all || arrived == Array(all.dropFirst()), "\(port.name): \(arrived)")
      }
      guard row.backend == nil else { return }
      let counted = row.isSender ? port.statistics.transmit : port.statistics.receive
      try expect(counted.shortCutPackets > passed, "\(port.name): the kernel had the packets")
      passed = counted.shortCutPackets
    }

    func end() {
      port.close()
      peer.close()
    }
  }
}
