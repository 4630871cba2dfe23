package import NetmapCore
internal import NetmapLinux

/// The network interfaces of Linux, for an engine.
///
/// Names are looked up in the network namespace of the thread that opens the port.
package struct LinuxInterfaces: InterfaceProvider {
  /// The backend candidates, in order of preference.
  package static var standardCandidates: [any BackendCandidate] {
    let memory = XDPMemory()
    return [
      XDPCandidate(mode: .zerocopy, memory: memory),
      XDPCandidate(mode: .copy, memory: memory),
      PacketCandidate(),
      // Last, because it hands over the frames of virtual interfaces as their senders leave them: super-packets, and
      // packets without checksums and tags.
      XDPCandidate(mode: .generic, memory: memory),
    ]
  }

  private let candidates: [any BackendCandidate]
  /// The XDP sockets of the engine, which host rings share with the candidates.
  private let memory: XDPMemory
  private let rights: any InterfaceRights
  private let monitor = LinkMonitor.shared

  /// - Parameters:
  ///   - candidates: The backend candidates, in order of preference.
  ///   - rights: The rights that interfaces are opened with.
  ///   - joinsVeths: Whether packets between the two ends of a veth pass in shared memory while both ends are open.
  package init(
    candidates: [any BackendCandidate] = standardCandidates,
    rights: any InterfaceRights = OwnInterfaceRights(), joinsVeths: Bool = false
  ) {
    self.candidates = candidates
    memory = candidates.lazy.compactMap { ($0 as? XDPCandidate)?.memory }.first ?? XDPMemory()
    self.rights = rights
    if joinsVeths { memory.shortCuts.enable() }
  }

  /// How many directions of ring pairs of veths bypass the kernel now, because both ends are open in this engine.
  package var joinedLanes: Int { memory.shortCuts.joinedLanes }

  package func identity(of name: String) throws(NetmapError) -> InterfaceIdentity? {
    try rights.identity(of: name)
  }

  package func open(
    _ name: String, backend: PortSpecification.BackendChoice?
  ) throws(NetmapError) -> (any InterfaceBackend)? {
    try open(name, backend: backend, hints: .none)
  }

  package func open(
    _ name: String, backend: PortSpecification.BackendChoice?, hints: RingGeometryHints
  ) throws(NetmapError) -> (any InterfaceBackend)? {
    guard let interface = try rights.interface(named: name) else { return nil }
    let candidates = candidates.filter { $0.matches(backend) }
    guard !candidates.isEmpty else {
      let known = candidates.map(\.title).joined(separator: ", ")
      throw NetmapError(
        .unsupported, "open", name, reason: "there is no such backend in this build",
        remedy: "choose one of \(known), or leave '@backend' out")
    }
    return LinuxPort(
      interface, candidates: candidates, isDemanded: backend != nil, memory: memory, hints: hints,
      monitor: monitor)
  }

  package func ringDriverMaker(
    in memory: PortMemory, named name: String
  ) throws(NetmapError) -> any RingDriverMaker {
    LinuxRingDrivers(memory, subject: name)
  }
}
