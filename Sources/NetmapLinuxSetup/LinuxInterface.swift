internal import CLinux
internal import Glibc
package import NetmapCore

/// A network interface as it was when it was opened: the properties that the choice of a backend depends on.
///
/// Its index identifies it from then on: a renamed interface is the same interface.
package struct LinuxInterface: Sendable {
  /// The name it was opened by.
  package let name: String
  package let index: UInt32
  /// The number of its network namespace.
  package let namespace: UInt64
  /// The largest payload of a frame, bytes, without the Ethernet header.
  package let mtu: Int
  package let isUp: Bool
  /// Receive and transmit queues that are in use now.
  package let receiveQueues: Int
  package let transmitQueues: Int
  package let arrivingFrames: ArrivingFrames
  /// The rights that the interface is opened with.
  package let rights: any InterfaceRights

  /// The longest frame that the MTU allows, bytes: Ethernet header and one VLAN tag, no CRC.
  package var longestFrame: Int { mtu + 14 + 4 }

  /// Whether the calling thread's network namespace has an interface of this name.
  package static func exists(_ name: String) -> Bool {
    unsafe !name.isEmpty && name.utf8.count < CLINUX_IFNAMSIZ && if_nametoindex(name) != 0
  }

  /// Which interface a name means in the network namespace of the calling thread.
  ///
  /// - Throws: ``NetmapError`` `EMFILE` when no descriptor is left for the lookup.
  package static func identity(of name: String) throws(NetmapError) -> InterfaceIdentity {
    let request = try InterfaceRequest(name)
    let index = unsafe name.utf8.count < CLINUX_IFNAMSIZ ? if_nametoindex(name) : 0
    return InterfaceIdentity(namespace: request.namespace, index: index)
  }

  package var identity: InterfaceIdentity {
    InterfaceIdentity(namespace: namespace, index: index)
  }

  /// An interface that another process has looked up.
  ///
  /// - Parameters:
  ///   - name: The name it was opened by.
  ///   - identity: Which interface it is.
  ///   - mtu: The largest payload of a frame, bytes.
  ///   - isUp: Whether it was up.
  ///   - queues: Queues in use.
  ///   - arrivingFrames: What senders may have left to it.
  ///   - rights: The rights that the interface is opened with.
  package init(
    name: String, identity: InterfaceIdentity, mtu: Int, isUp: Bool,
    queues: (receive: Int, transmit: Int), arrivingFrames: ArrivingFrames,
    rights: any InterfaceRights
  ) {
    self.name = name
    index = identity.index
    namespace = identity.namespace
    self.mtu = mtu
    self.isUp = isUp
    (receiveQueues, transmitQueues) = queues
    self.arrivingFrames = arrivingFrames
    self.rights = rights
  }

  /// Looks an interface up in the network namespace of the calling thread.
  ///
  /// - Returns: Nil when there is none of that name.
  /// - Throws: ``NetmapError`` when the lookup fails.
  package init?(named name: String) throws(NetmapError) {
    guard name.utf8.count < CLINUX_IFNAMSIZ else { return nil }
    let index = unsafe if_nametoindex(name)
    guard index != 0 else { return nil }
    let request = try InterfaceRequest(name)
    self.name = name
    self.index = index
    rights = OwnInterfaceRights()
    namespace = request.namespace
    mtu = Int(try request.value(CLINUX_SIOCGIFMTU, "SIOCGIFMTU", as: Int32.self))
    let flags = try request.value(CLINUX_SIOCGIFFLAGS, "SIOCGIFFLAGS", as: UInt16.self)
    isUp = Int(flags) & CLINUX_IFF_UP != 0
    (receiveQueues, transmitQueues) = request.queues ?? Self.queuesFromSysfs(name, index) ?? (1, 1)
    arrivingFrames = ArrivingFrames(on: index, named: name)
  }

  /// Counts the queues of an interface whose driver does not answer ethtool(8).
  ///
  /// Only if /sys shows this interface: /sys may belong to another network namespace.
  private static func queuesFromSysfs(
    _ name: String, _ index: UInt32
  ) -> (receive: Int, transmit: Int)? {
    let folder = "/sys/class/net/\(name)"
    guard let shown = firstLine(of: "\(folder)/ifindex"), UInt32(shown) == index,
      let directory = unsafe opendir("\(folder)/queues")
    else { return nil }
    defer { unsafe closedir(directory) }
    var count = (receive: 0, transmit: 0)
    while let entry = unsafe readdir(directory) {
      switch unsafe entry.pointee.d_name.0 {
      case CChar(UInt8(ascii: "r")): count.receive += 1
      case CChar(UInt8(ascii: "t")): count.transmit += 1
      default: break
      }
    }
    return count.receive > 0 && count.transmit > 0 ? count : nil
  }

  private static func firstLine(of path: String) -> String? {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = unsafe read(file, &bytes, bytes.count)
    guard count > 0 else { return nil }
    return String(decoding: bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
  }
}
