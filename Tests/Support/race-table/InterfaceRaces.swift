import Netmap
import TableSupport

/// A port of a network interface: one end of a veth pair in a network namespace of its own.
struct InterfaceRace: RaceRow {
  let name: String
  let backend: String
  let isSender: Bool
  let isRestored = false

  static let all = [("xdp,mode=copy", "xdp"), ("packet", "packet")].flatMap { backend, name in
    [
      InterfaceRace(name: "interface tx, \(name)", backend: backend, isSender: true),
      InterfaceRace(name: "interface rx, \(name)", backend: backend, isSender: false),
    ]
  }

  func prepareProcess() throws { try TableNetwork.enter("rt0", "rt1") }

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let port = try NetmapPort("netmap:rt0@backend:name=\(backend)@conf:rings=1", engine: engine)
    let frame = TableFrame.bytes(from: TableFrame.victim, 0)
    if isSender {
      return RaceOperation {
        for _ in 0..<24 where (try? port.inject(frame)) != nil {}
        try port.sync(.transmit)
        return 0
      }
    }
    let peer = try NetmapPort("netmap:rt1@backend:name=packet@conf:rings=1", engine: engine)
    return RaceOperation {
      for _ in 0..<24 where (try? peer.inject(frame)) != nil {}
      try peer.sync(.transmit)
      return try port.receiveAll(most: 4096)
    }
  }
}

/// A port in transparent mode: packets that the process only inspects go on from the wire to the host.
struct TransparentRace: RaceRow {
  let name: String
  let backend: String
  let isRestored = false

  static let all = [("xdp,mode=copy", "xdp"), ("packet", "packet")].map { backend, name in
    TransparentRace(name: "transparent, \(name)", backend: backend)
  }

  func prepareProcess() throws { try TableNetwork.enter("rt0", "rt1") }

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let port = try NetmapPort("netmap:rt0*@backend:name=\(backend)@conf:rings=1", engine: engine)
    let peer = try NetmapPort("netmap:rt1@backend:name=packet@conf:rings=1", engine: engine)
    let frame = TableFrame.bytes(from: TableFrame.victim, 0)
    return RaceOperation {
      for _ in 0..<24 where (try? peer.inject(frame)) != nil {}
      try peer.sync(.transmit)
      try port.sync(.receive)
      var count: UInt64 = 0
      for index in 0..<port.receiveRingCount {
        var ring = port.receiveRing(index)
        while ring.passNextOn() {
          count += 1
          // A ring has fewer slots, whatever its words say.
          guard count <= 8192 else { throw TableError("more packets than slots") }
        }
      }
      try port.sync(.receive)
      return count
    }
  }
}
