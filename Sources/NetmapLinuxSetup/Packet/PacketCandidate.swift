internal import Glibc
package import NetmapCore
internal import NetmapLinux

/// AF_PACKET with `TPACKET_V3`, as a backend candidate.
///
/// It is for drivers and kernels without AF_XDP, and for processes without the right to load BPF programs. It
/// copies each packet once in either direction, and needs `CAP_NET_RAW`.
package struct PacketCandidate: BackendCandidate {
  /// How to drop host ingress. Otherwise the host would see the received packets as well.
  package enum IngressDropMethod: Sendable {
    /// tcx, else clsact, else not at all.
    case automatic
    /// clsact, as on kernels before 6.6; for tests.
    case clsact
  }

  private let ingressDropMethod: IngressDropMethod

  package init(ingressDropMethod: IngressDropMethod = .automatic) {
    self.ingressDropMethod = ingressDropMethod
  }

  package var name: PortSpecification.BackendChoice.Name { .packet }
  package var mode: PortSpecification.BackendChoice.Mode? { nil }

  package func drive(
    _ interface: LinuxInterface, isDemanded: Bool
  ) throws(NetmapError) -> any InterfaceDriver {
    guard interface.mtu <= PacketTransmitLayout.mtuLimit else {
      throw NetmapError(
        .invalidArgument, "open", interface.name,
        reason: "its MTU, \(interface.mtu), is above \(PacketTransmitLayout.mtuLimit) bytes",
        remedy: "lower it: ip link set \(interface.name) mtu \(PacketTransmitLayout.mtuLimit)")
    }
    return PacketDriver(interface, ingressDropMethod)
  }
}

/// Drives one interface through packet sockets, one for each ring.
///
/// The calls come one at a time, under the lock of the ``LinuxPort``.
final class PacketDriver: InterfaceDriver {
  private struct Key: Hashable {
    let direction: Direction
    let index: Int
  }

  private let interface: LinuxInterface
  private let ingressDropMethod: PacketCandidate.IngressDropMethod
  private nonisolated(unsafe) var rings: [Key: PacketRing] = [:]
  private nonisolated(unsafe) var ingressDrop: (any AttachedIngressDrop)?
  private nonisolated(unsafe) var whyShared: String?
  /// The fanout group of the receiving sockets, when the interface has several queues.
  private nonisolated(unsafe) var group: UInt16?

  init(_ interface: LinuxInterface, _ ingressDropMethod: PacketCandidate.IngressDropMethod) {
    self.interface = interface
    self.ingressDropMethod = ingressDropMethod
  }

  var needsMarks: Bool { unsafe rings.keys.contains { $0.direction == .receive } }

  var remarks: [String] {
    unsafe whyShared.map { ["shared with the host: \($0)"] } ?? []
  }

  /// The words of all rings, in memory that every process on the port maps.
  private nonisolated(unsafe) var words: SharedMemory?
  private nonisolated(unsafe) var memory: PortMemory?

  /// An unused socket for the next ring. The driver keeps it, because closing a socket takes the kernel up to 20
  /// milliseconds.
  private nonisolated(unsafe) var spare: PacketSocket?

  /// Creates the shared words of the port, and finds out whether packet sockets can be opened. A pair itself needs
  /// nothing.
  func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError) {
    if unsafe words == nil {
      let geometry = unsafe placement.geometry
      let pairs = max(geometry.transmitRings, geometry.receiveRings)
      unsafe words = try SharedMemory(
        creating: "netmap-packet-\(interface.name)",
        byteCount: PacketCursorLayout.offset(.receive, pair: pairs))
      unsafe memory = try placement.region.portMemory
    }
    if unsafe spare == nil { unsafe spare = try PacketSocket(interface) }
  }

  /// The words of a ring, filled with zeros.
  private func words(for ring: RingPlacement) throws(NetmapError) -> PacketRing.Words {
    guard let words = unsafe words, let memory = unsafe memory else {
      throw NetmapError(
        .inputOutput, "open", interface.name, reason: "the ring pair is not active")
    }
    let offset = unsafe PacketCursorLayout.offset(
      ring.direction == .transmit ? .transmit : .receive, pair: ring.index)
    words.clear(at: offset, count: PacketCursorLayout.byteCount)
    return PacketRing.Words(memory: words, offset: offset, port: memory)
  }

  private func freshSocket() throws(NetmapError) -> PacketSocket {
    if let socket = unsafe spare.take() { return socket }
    return try PacketSocket(interface)
  }

  func deactivate(pair index: Int) {}

  func start(_ ring: RingPlacement) throws(NetmapError) {
    let key = unsafe Key(direction: ring.direction, index: ring.index)
    switch unsafe ring.direction {
    case .transmit:
      unsafe rings[key] = try PacketRing(
        transmitting: ring, on: interface, socket: freshSocket(), words: words(for: ring))
    case .receive:
      unsafe rings[key] = try PacketRing(
        receiving: ring, on: interface, socket: freshSocket(), words: words(for: ring)
      ) { (socket) throws(NetmapError) in
        if interface.receiveQueues > 1 { unsafe group = try socket.joinFanout(group) }
        dropHostIngress()
      }
    }
  }

  func stop(_ ring: RingPlacement) {
    let stopped = unsafe rings.removeValue(
      forKey: Key(direction: ring.direction, index: ring.index))
    stopped?.drain()
    guard unsafe !rings.keys.contains(where: { $0.direction == .receive }) else { return }
    unsafe ingressDrop = nil
    unsafe whyShared = nil
    unsafe group = nil
  }

  func recipe(for ring: RingPlacement) throws(NetmapError) -> RingDriverRecipe {
    let key = unsafe Key(direction: ring.direction, index: ring.index)
    guard let ring = unsafe rings[key] else {
      throw NetmapError(
        .noSuchDevice, "attach", interface.name, reason: "the ring is not active")
    }
    var result = ring.interfaceRecipe
    // The link keeps the program attached after this process has ended.
    if let link = unsafe ingressDrop?.linkDescriptor { result.held = [link] }
    return result
  }

  /// Drops host ingress if this process has the right to. Without that right the port still works, and ``remarks``
  /// says that it is shared with the host.
  private func dropHostIngress() {
    guard unsafe ingressDrop == nil, unsafe whyShared == nil else { return }
    do throws(NetmapError) {
      unsafe ingressDrop = try interface.rights.ingressDrop(
        interface, avoidingLinks: ingressDropMethod == .clsact)
    } catch {
      unsafe whyShared = "\(error.reason)\(error.remedy.isEmpty ? "" : "; \(error.remedy)")"
    }
  }
}
