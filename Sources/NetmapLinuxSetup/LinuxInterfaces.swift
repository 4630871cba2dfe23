package import NetmapCore
internal import NetmapLinux

/// The network interfaces of Linux, for an engine.
///
/// Names are looked up in the network namespace of the thread that opens the port.
package struct LinuxInterfaces: InterfaceProvider {
  /// The backend candidates, in order of preference.
  package static var standardLadder: [any BackendRung] {
    let memory = XDPMemory()
    return [
      XDPRung(mode: .zerocopy, memory: memory),
      XDPRung(mode: .copy, memory: memory),
      XDPRung(mode: .generic, memory: memory),
      PacketRung(),
    ]
  }

  private let ladder: [any BackendRung]
  private let rights: any InterfaceRights
  private let monitor = LinkMonitor.shared

  /// - Parameters:
  ///   - ladder: The backend candidates, in order of preference.
  ///   - rights: The rights that interfaces are opened with.
  package init(
    ladder: [any BackendRung] = standardLadder, rights: any InterfaceRights = OwnInterfaceRights()
  ) {
    self.ladder = ladder
    self.rights = rights
  }

  package func identity(of name: String) throws(NetmapError) -> InterfaceIdentity? {
    try rights.identity(of: name)
  }

  package func open(
    _ name: String, backend: PortSpecification.BackendChoice?
  ) throws(NetmapError) -> (any InterfaceBackend)? {
    guard let interface = try rights.interface(named: name) else { return nil }
    let rungs = ladder.filter { $0.matches(backend) }
    guard !rungs.isEmpty else {
      let known = ladder.map(\.title).joined(separator: ", ")
      throw NetmapError(
        .unsupported, "open", name, reason: "there is no such backend in this build",
        remedy: "choose one of \(known), or leave '@backend' out")
    }
    return LinuxPort(interface, rungs: rungs, monitor: monitor)
  }

  package func dataHalves(
    in memory: PortMemory, named name: String
  ) throws(NetmapError) -> any DataHalves {
    LinuxDataHalves(memory, subject: name)
  }
}
