internal import CLinux
internal import Glibc
package import NetmapCore

// Requests about links that the setup of interfaces and the testbed of the tools have in common.

extension NetlinkMessage {
  /// A request for a veth pair whose ends have no ARP.
  ///
  /// - Parameters:
  ///   - first: The name of the end in the calling thread's network namespace; at most 15 bytes.
  ///   - second: The name of the other end. The kernel replaces `%d` by the first free number.
  ///   - namespace: A descriptor of the other end's network namespace; nil for the calling thread's.
  ///   - queues: The number of queues of each end, in each direction.
  ///   - mtu: The MTU of both ends, bytes.
  /// - Returns: The request.
  package static func vethPair(
    _ first: String, _ second: String, in namespace: CInt? = nil, queues: Int, mtu: Int
  ) -> NetlinkMessage {
    var request = NetlinkMessage(
      RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, interfaceFlags: UInt32(CLINUX_IFF_NOARP))
    request.describe(first, queues, mtu)
    request.nest(IFLA_LINKINFO) { request in
      request.attribute(IFLA_INFO_KIND, "veth")
      request.nest(IFLA_INFO_DATA) { request in
        request.nest(VETH_INFO_PEER) { request in
          request.appendInterface(flags: UInt32(CLINUX_IFF_NOARP))
          request.describe(second, queues, mtu)
          guard let namespace else { return }
          request.attribute(IFLA_NET_NS_FD, UInt32(bitPattern: namespace))
        }
      }
    }
    return request
  }

  private mutating func describe(_ name: String, _ queues: Int, _ mtu: Int) {
    attribute(IFLA_IFNAME, name)
    attribute(IFLA_MTU, UInt32(mtu))
    attribute(IFLA_NUM_TX_QUEUES, UInt32(queues))
    attribute(IFLA_NUM_RX_QUEUES, UInt32(queues))
  }

  /// Sets an interface up.
  ///
  /// - Parameters:
  ///   - index: An interface in the calling thread's network namespace.
  ///   - subject: Its name in errors.
  /// - Throws: ``NetmapError`` with the kernel's error: `EPERM` without `CAP_NET_ADMIN`, `ENODEV` when it has gone.
  package static func setUp(_ index: UInt32, _ subject: String) throws(NetmapError) {
    _ = try NetlinkMessage(
      RTM_NEWLINK, interface: index, interfaceFlags: UInt32(CLINUX_IFF_UP)
    ).exchange(subject)
  }

  /// Gives an interface no IPv6 address of its own, so that IPv6 sends no packets for one.
  ///
  /// - Parameters:
  ///   - index: An interface in the calling thread's network namespace.
  ///   - subject: Its name in errors.
  /// - Throws: ``NetmapError`` as ``setUp(_:_:)``. A kernel without IPv6 is no error.
  package static func disableIPv6Addresses(
    of index: UInt32, _ subject: String
  ) throws(NetmapError) {
    var request = NetlinkMessage(RTM_SETLINK, interface: index)
    request.nest(IFLA_AF_SPEC) { request in
      request.nest(Int(AF_INET6)) { request in
        request.attribute(IFLA_INET6_ADDR_GEN_MODE, UInt8(CLINUX_IN6_ADDR_GEN_MODE_NONE))
      }
    }
    do throws(NetmapError) {
      _ = try request.exchange(subject)
    } catch {
      // A kernel without IPv6 gives no addresses.
      guard error.code.rawValue == EAFNOSUPPORT else { throw error }
    }
  }
}
