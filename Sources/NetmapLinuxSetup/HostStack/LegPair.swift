internal import CLinux
internal import Glibc
internal import NetmapCore
internal import Synchronization

/// The veth pair between an interface's host stack and its host rings.
///
/// The near end is in the interface's network namespace. The far end is in a network namespace of its own, which has
/// no name: descriptors and sockets alone keep it, and with it both ends. So the kernel removes the pair when the last
/// process that uses it has ended, however it ended.
final class LegPair: Sendable {
  /// The far end's network namespace.
  let namespace: OwnedFile
  /// The index of the near end in the interface's network namespace.
  let near: UInt32
  let far: InterfaceIdentity
  private let subject: String
  private let isLeft = Atomic<Bool>(false)

  /// The MTU of both ends, bytes. The interface's MTU limits what the host sends, and that may change while the pair
  /// exists. This is the most that a veth can have.
  private static let mtu = 65_535

  /// Makes the pair. The far end is up; the near end is down, so that it sends nothing yet.
  ///
  /// - Parameters:
  ///   - interface: An interface in the calling thread's network namespace.
  ///   - queues: The number of queues of each end, in each direction.
  /// - Throws: ``NetmapError`` `EPERM` without `CAP_SYS_ADMIN` and `CAP_NET_ADMIN`, `EOPNOTSUPP` where the kernel has
  ///   no veth, or another error of the kernel.
  init(for interface: LinuxInterface, queues: Int) throws(NetmapError) {
    let name = interface.name
    let home = try NamespaceThread.current(for: name)
    let made = try NamespaceThread.run(in: .new, for: name) { () throws(NetmapError) in
      // Before the interface exists: IPv6 would send packets for its addresses as soon as it is up.
      let isSilent = Self.write("1", to: "/proc/sys/net/ipv6/conf/default/disable_ipv6")
      _ = try NetlinkMessage.vethPair(
        Self.farName, Self.nearNames, in: home.descriptor, queues: queues, mtu: Self.mtu
      ).exchange("\(name)^")
      let index = unsafe if_nametoindex(Self.farName)
      guard index != 0 else { throw systemError("if_nametoindex", "\(name)^") }
      if !isSilent { try NetlinkMessage.disableIPv6Addresses(of: index, name) }
      try NetlinkMessage.setUp(index, name)
      let peer = try LinkDescription(of: index, named: name).value(of: IFLA_LINK)
      return (
        namespace: try NamespaceThread.current(for: name),
        far: try LinuxInterface.identity(of: Self.farName), near: peer?.number() ?? 0 as UInt32
      )
    }
    namespace = made.namespace
    far = made.far
    near = made.near
    subject = name
  }

  /// Removes the pair, which takes the kernel some milliseconds. Without this it would do so later.
  deinit {
    guard !isLeft.load(ordering: .relaxed) else { return }
    let index = far.index
    let subject = subject
    try? NamespaceThread.run(in: .of(namespace.descriptor), for: subject) {
      () throws(NetmapError) in
      _ = try NetlinkMessage(RTM_DELLINK, interface: index).exchange(subject)
    }
  }

  /// From now on, destroying this object leaves the pair to the other processes that use it.
  func leaveToOthers() { isLeft.store(true, ordering: .relaxed) }

  /// Sets the near end up. From then on the kernel passes frames between the two ends.
  ///
  /// The calling thread must be in the interface's network namespace.
  func setNearUp() throws(NetmapError) {
    var name = [CChar](repeating: 0, count: CLINUX_IFNAMSIZ)
    guard unsafe if_indextoname(near, &name) != nil else {
      throw systemError("if_indextoname", subject)
    }
    let text = String(
      decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    try Self.finishFramesInKernel(on: text)
    if !Self.write("1", to: "/proc/sys/net/ipv6/conf/\(text)/disable_ipv6") {
      try NetlinkMessage.disableIPv6Addresses(of: near, subject)
    }
    try NetlinkMessage.setUp(near, subject)
  }

  /// Makes the kernel finish every frame before it crosses the leg to the host rings: checksums, segmentation and
  /// VLAN tags.
  ///
  /// Linux finishes a frame for the interface that it is sent on. The redirection from the interface to the leg changes
  /// that interface. So the offloads of the near end alone decide what is left unfinished; those of the interface stay
  /// as they are. This is the only place that decides it for frames from the host. Frames to the host are finished.
  private static func finishFramesInKernel(on near: String) throws(NetmapError) {
    try InterfaceRequest(near).disableTransmitOffloads()
  }

  private static let farName = "leg"
  /// The kernel replaces %d by the first free number.
  private static let nearNames = "netmap%d"

  /// Writes a kernel parameter of the calling thread's network namespace.
  ///
  /// - Returns: Whether that worked: /proc/sys is read-only in many containers.
  private static func write(_ text: String, to path: String) -> Bool {
    let file = unsafe open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    return unsafe Glibc.write(file, text, text.utf8.count) == text.utf8.count
  }
}
