internal import CLinux
internal import Glibc
package import NetmapCore
internal import NetmapLinuxSetup

/// A veth pair in the calling thread's namespace: each end receives the packets that the other end
/// sends.
///
/// Both ends are silent (no IPv6, no ARP) and without checksum or segmentation offload, since with
/// offload the kernel leaves frames incomplete. The kernel removes the pair with its namespace.
package struct VethPair: Sendable {
  package let first: Link
  package let second: Link

  /// Makes a pair.
  ///
  /// - Parameters:
  ///   - first: Name of one end; at most 15 characters.
  ///   - second: Name of the other end.
  ///   - queues: Number of queues of each end, per direction.
  ///   - mtu: The MTU of both ends in bytes.
  ///   - isUp: Whether to set both ends up and to wait until they pass frames.
  /// - Throws: ``NetmapError`` when the kernel refuses.
  package init(
    _ first: String, _ second: String, queues: Int = 1, mtu: Int = 1500, isUp: Bool = true
  ) throws(NetmapError) {
    var request = NetlinkMessage(
      RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, interfaceFlags: UInt32(CLINUX_IFF_NOARP))
    Self.describe(&request, first, queues, mtu)
    request.nest(IFLA_LINKINFO) { request in
      request.attribute(IFLA_INFO_KIND, "veth")
      request.nest(IFLA_INFO_DATA) { request in
        request.nest(VETH_INFO_PEER) { request in
          request.appendInterface(flags: UInt32(CLINUX_IFF_NOARP))
          Self.describe(&request, second, queues, mtu)
        }
      }
    }
    _ = try request.exchange("\(first), \(second)")
    self.first = try Link(named: first)
    self.second = try Link(named: second)
    for link in [self.first, self.second] {
      try link.silence()
      try link.disableOffloads()
      if isUp { try link.setUp() }
    }
    if isUp { for link in [self.first, self.second] { try link.waitUntilRunning() } }
  }

  private static func describe(
    _ request: inout NetlinkMessage, _ name: String, _ queues: Int, _ mtu: Int
  ) {
    request.attribute(IFLA_IFNAME, name)
    request.attribute(IFLA_MTU, UInt32(mtu))
    request.attribute(IFLA_NUM_TX_QUEUES, UInt32(queues))
    request.attribute(IFLA_NUM_RX_QUEUES, UInt32(queues))
  }
}
