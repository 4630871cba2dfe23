internal import CLinux
internal import Glibc
package import NetmapCore
internal import NetmapLinuxSetup

/// A network interface in the calling thread's network namespace.
package struct Link: Sendable {
  package let name: String
  package let index: UInt32

  /// - Throws: ``NetmapError`` `ENXIO` when no interface has that name.
  package init(named name: String) throws(NetmapError) {
    let index = unsafe if_nametoindex(name)
    guard index != 0 else { throw systemError("if_nametoindex", name) }
    self.name = name
    self.index = index
  }

  /// Sets the interface up.
  package func setUp() throws(NetmapError) {
    try NetlinkMessage.setUp(index, name)
  }

  /// Waits until the interface passes frames.
  ///
  /// That is some time after the interface and its peer are set up; until then the kernel silently
  /// drops frames.
  ///
  /// - Throws: ``NetmapError`` `ETIMEDOUT` after 10 seconds.
  package func waitUntilRunning() throws(NetmapError) {
    for _ in 0..<10_000 {
      let flags = try LinkDescription(of: index, named: name).flags
      if flags & UInt32(CLINUX_IFF_RUNNING) != 0 { return }
      usleep(1000)
    }
    throw NetmapError(
      .init(rawValue: ETIMEDOUT), "set up", name,
      reason: "its link did not come up within 10 seconds")
  }

  /// Number of packets that the interface dropped instead of sending: for a veth, because the
  /// peer's queue was full.
  package func transmitDrops() throws(NetmapError) -> UInt64 {
    let link = try LinkDescription(of: index, named: name)
    // struct rtnl_link_stats64: tx_dropped is the eighth word.
    guard let counters = link.value(of: IFLA_STATS64), counters.count >= 64 else {
      throw NetmapError(
        .init(rawValue: ENODATA), "netlink", name, reason: "the kernel reported no counters")
    }
    return counters.dropFirst(56).number()
  }

  /// Number of packets that the kernel has sent on the interface.
  package func sentPackets() throws(NetmapError) -> UInt64 {
    let link = try LinkDescription(of: index, named: name)
    // struct rtnl_link_stats64: tx_packets is the second word.
    guard let counters = link.value(of: IFLA_STATS64), counters.count >= 16 else {
      throw NetmapError(
        .init(rawValue: ENODATA), "netlink", name, reason: "the kernel reported no counters")
    }
    return counters.dropFirst(8).number()
  }

  /// Disables IPv6 addresses, and so the packets that IPv6 sends for them.
  func silence() throws(NetmapError) {
    try NetlinkMessage.disableIPv6Addresses(of: index, name)
  }

  /// Does the same as `ethtool -K NAME tx off tso off gso off gro off txvlan off rxvlan off lro off ntuple off rxhash
  /// off`, as far as the interface has these features.
  func disableOffloads() throws(NetmapError) {
    let socket = Glibc.socket(AF_INET, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { throw systemError("socket", name) }
    defer { close(socket) }
    // ETHTOOL_SFLAGS is for VLAN tags.
    for command in [ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO, ETHTOOL_SFLAGS] {
      var value = ethtool_value(cmd: UInt32(command), data: 0)
      var block = [UInt8](repeating: 0, count: CLINUX_IFREQ_SIZE)
      for (position, byte) in name.utf8.enumerated() { block[position] = byte }
      let result = unsafe withUnsafeMutablePointer(to: &value) { value in
        unsafe block.withUnsafeMutableBytes { bytes in
          unsafe bytes.storeBytes(
            of: UInt(bitPattern: value), toByteOffset: CLINUX_IFREQ_VALUE_OFFSET, as: UInt.self)
          return unsafe clinux_ioctl(socket, CLINUX_SIOCETHTOOL, bytes.baseAddress)
        }
      }
      guard result == 0 else { throw systemError("ioctl", "\(name) (SIOCETHTOOL)") }
    }
  }
}
