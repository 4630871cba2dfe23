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
    let ports = try InterfacePorts(backend, isSender: isSender, engine)
    let frame = TableFrame.bytes(from: TableFrame.victim, 0)
    guard let peer = ports.peer else {
      return RaceOperation(
        run: {
          for _ in 0..<24 where (try? ports.port.inject(frame)) != nil {}
          try ports.port.sync(.transmit)
          return 0
        }, reopen: ports.reopen)
    }
    return RaceOperation(
      run: {
        for _ in 0..<24 where (try? peer.inject(frame)) != nil {}
        try peer.sync(.transmit)
        try ports.port.sync(.receive)
        let found = try ports.port.readAll(most: 4096)
        try ports.port.sync(.receive)
        return found
      }, reopen: ports.reopen)
  }
}

/// The attacked port, and for a receiver the port at the other end of the pair.
private final class InterfacePorts {
  private let specification: String
  private let engine: HostEngine
  private(set) var port: NetmapPort
  let peer: NetmapPort?

  init(_ backend: String, isSender: Bool, _ engine: HostEngine) throws {
    self.engine = engine
    specification = "netmap:rt0@backend:name=\(backend)@conf:rings=1"
    port = try NetmapPort(specification, engine: engine)
    peer =
      isSender
      ? nil : try NetmapPort("netmap:rt1@backend:name=packet@conf:rings=1", engine: engine)
  }

  func reopen() throws {
    port.close()
    port = try NetmapPort(specification, engine: engine)
  }
}
