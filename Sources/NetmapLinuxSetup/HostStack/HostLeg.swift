internal import CBPF
internal import CLinux
internal import Glibc
internal import NetmapCore
internal import Synchronization

/// The leg between an interface's host stack and its host rings, made with the calling process's own rights.
///
/// tcx links (Linux 6.6) hold the programs, so the kernel detaches them when the last process that has the links ends.
final class HostLeg: AttachedHostLeg {
  private struct State {
    /// The program at the interface's egress; nil while the host's packets go to the wire.
    var departing: BPFLink?
    var marks = false
    var isLeft = false
  }

  let far: LinuxInterface
  private let interface: LinuxInterface
  private let pair: LegPair
  private let object: BPFObject
  /// The program at the near end's ingress.
  private let arriving: BPFLink
  private let state = Mutex(State())

  /// - Parameters:
  ///   - interface: An interface in the calling thread's network namespace.
  ///   - pairs: The number of host ring pairs.
  /// - Throws: ``NetmapError`` `EPERM` without the necessary rights, `EOPNOTSUPP` on a kernel without tcx, or another
  ///   error of the kernel.
  init(for interface: LinuxInterface, pairs: Int) throws(NetmapError) {
    self.interface = interface
    object = try BPFObject(BPFObjectCode.hostLeg, for: interface.name)
    pair = try LegPair(for: interface, queues: pairs)
    far = LinuxInterface(
      name: "\(interface.name)^", identity: pair.far, mtu: interface.mtu, isUp: true,
      queues: (pairs, pairs), arrivingFrames: .complete,
      rights: FarRights(namespace: pair.namespace))
    try Self.describe(object, pair, interface, marks: false)
    var failure: Int32 = 0
    let arriving = BPFLink(
      try object.program("netmap_to_host"), to: pair.near, type: CLINUX_BPF_TCX_INGRESS, flags: 0,
      failure: &failure)
    guard let arriving else { throw Self.refusal(failure, interface) }
    self.arriving = arriving
    // After the program: the host must not receive anything from the near end itself.
    try pair.setNearUp()
  }

  var namespaceDescriptor: CInt { pair.namespace.descriptor }

  var linkDescriptors: [CInt] {
    [arriving.descriptor] + (state.withLock { $0.departing?.descriptor }.map { [$0] } ?? [])
  }

  func connect(takesHostPackets: Bool, marks: Bool) throws(NetmapError) {
    try state.withLock { (state) throws(NetmapError) in
      if marks != state.marks {
        try Self.describe(object, pair, interface, marks: marks)
        state.marks = marks
      }
      guard takesHostPackets != (state.departing != nil) else { return }
      guard takesHostPackets else {
        state.departing = nil
        return
      }
      var failure: Int32 = 0
      let link = BPFLink(
        try object.program("netmap_to_leg"), to: interface.index, type: CLINUX_BPF_TCX_EGRESS,
        flags: 0, failure: &failure)
      guard let link else { throw Self.refusal(failure, interface) }
      if state.isLeft { link.leaveToOthers() }
      state.departing = link
    }
  }

  func leaveToOthers() {
    pair.leaveToOthers()
    arriving.leaveToOthers()
    state.withLock { state in
      state.isLeft = true
      state.departing?.leaveToOthers()
    }
  }

  /// Writes the map of `bpf/host_leg.c`.
  private static func describe(
    _ object: BPFObject, _ pair: LegPair, _ interface: LinuxInterface, marks: Bool
  ) throws(NetmapError) {
    var key: UInt32 = 0
    var value = [pair.near, interface.index, marks ? 1 : 0]
    let result = unsafe bpf_map_update_elem(try object.map("netmap_leg"), &key, &value, 0)
    guard result == 0 else {
      throw BPFObject.refusal(-result, "describe the host rings", interface.name)
    }
  }

  private static func refusal(_ code: Int32, _ interface: LinuxInterface) -> NetmapError {
    switch code {
    case EINVAL:
      // The kernel does not know the attach type.
      NetmapError(
        .unsupported, "open", interface.name,
        reason: "its host rings need tcx, which this kernel does not have",
        remedy: "use Linux 6.6 or later, or open it without '^' and '*'")
    case ENODEV, ENXIO:
      NetmapError(
        .noSuchDevice, "open", interface.name, reason: "the interface has been removed")
    default: BPFObject.refusal(code, "attach a program", interface.name)
    }
  }
}

/// The rights for the far end of a leg: those of the calling process, in the far end's network namespace.
private struct FarRights: InterfaceRights {
  let namespace: OwnedFile

  private func there<R>(
    _ interface: LinuxInterface, _ body: (OwnInterfaceRights) throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    try NamespaceThread.run(in: .of(namespace.descriptor), for: interface.name) {
      () throws(NetmapError) in try body(OwnInterfaceRights(looksEverywhere: false))
    }
  }

  func identity(of name: String) throws(NetmapError) -> InterfaceIdentity {
    try LinuxInterface.identity(of: name)
  }

  func interface(named name: String) throws(NetmapError) -> LinuxInterface? {
    try LinuxInterface(named: name)
  }

  func linkEvents(of interface: LinuxInterface) throws(NetmapError) -> CInt {
    try there(interface) { (rights) throws(NetmapError) in try rights.linkEvents(of: interface) }
  }

  func xdpSocket(
    for interface: LinuxInterface, registering region: Region?, headroom: Int
  ) throws(NetmapError) -> CInt {
    try there(interface) { (rights) throws(NetmapError) in
      try rights.xdpSocket(for: interface, registering: region, headroom: headroom)
    }
  }

  func xdpProgram(
    on interface: LinuxInterface, _ kind: XDPProgramKind
  ) throws(NetmapError) -> any AttachedXDPProgram {
    try there(interface) { (rights) throws(NetmapError) in
      try rights.xdpProgram(on: interface, kind)
    }
  }

  func packetSocket(for interface: LinuxInterface) throws(NetmapError) -> CInt {
    try there(interface) { (rights) throws(NetmapError) in try rights.packetSocket(for: interface) }
  }

  func ingressDrop(
    _ interface: LinuxInterface, avoidingLinks: Bool
  ) throws(NetmapError) -> any AttachedIngressDrop {
    try there(interface) { (rights) throws(NetmapError) in
      try rights.ingressDrop(interface, avoidingLinks: avoidingLinks)
    }
  }

  func hostLeg(
    for interface: LinuxInterface, pairs: Int
  ) throws(NetmapError) -> any AttachedHostLeg {
    throw NetmapError(
      .unsupported, "open", interface.name, reason: "host rings have no host rings themselves")
  }
}
