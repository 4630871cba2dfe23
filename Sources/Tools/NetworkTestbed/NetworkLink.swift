internal import CLinux
internal import Glibc
package import NetmapCore

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
    _ = try NetlinkMessage(
      RTM_NEWLINK, interface: index, interfaceFlags: UInt32(CLINUX_IFF_UP)
    ).exchange(name)
  }

  /// Waits until the interface passes frames.
  ///
  /// That is some time after the interface and its peer are set up; until then the kernel silently
  /// drops frames.
  ///
  /// - Throws: ``NetmapError`` `ETIMEDOUT` after 10 seconds.
  package func waitUntilRunning() throws(NetmapError) {
    for _ in 0..<10_000 {
      let reply = try NetlinkMessage(RTM_GETLINK, interface: index).exchange(name)
      // struct nlmsghdr, then struct ifinfomsg: ifi_flags is at 8.
      let flags =
        reply.count < 32
        ? 0 : unsafe reply.withUnsafeBytes { unsafe $0.load(fromByteOffset: 24, as: UInt32.self) }
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
    let reply = try NetlinkMessage(RTM_GETLINK, interface: index).exchange(name)
    // struct nlmsghdr and struct ifinfomsg have 16 bytes each; attributes follow.
    var offset = 32
    while offset + 4 <= reply.count {
      let length = Int(reply[offset]) | Int(reply[offset + 1]) << 8
      let type = Int(reply[offset + 2]) | Int(reply[offset + 3] & 0x3f) << 8
      if type == IFLA_STATS64, length >= 4 + 64 {
        // struct rtnl_link_stats64: tx_dropped is the eighth word.
        return unsafe reply.withUnsafeBytes {
          unsafe $0.loadUnaligned(fromByteOffset: offset + 4 + 56, as: UInt64.self)
        }
      }
      guard length >= 4 else { break }
      offset += (length + 3) & ~3
    }
    throw NetmapError(
      .init(rawValue: ENODATA), "netlink", name, reason: "the kernel reported no counters")
  }

  /// Disables IPv6 addresses, and so the packets that IPv6 sends for them.
  func silence() throws(NetmapError) {
    var request = NetlinkMessage(RTM_SETLINK, interface: index)
    request.nest(IFLA_AF_SPEC) { request in
      request.nest(Int(AF_INET6)) { request in
        request.attribute(IFLA_INET6_ADDR_GEN_MODE, UInt8(CLINUX_IN6_ADDR_GEN_MODE_NONE))
      }
    }
    do throws(NetmapError) {
      _ = try request.exchange(name)
    } catch {
      // A kernel without IPv6 sends no such packets.
      guard error.code.rawValue == EAFNOSUPPORT else { throw error }
    }
  }

  /// Does the same as `ethtool -K NAME tx off tso off gso off gro off`.
  func disableOffloads() throws(NetmapError) {
    let socket = Glibc.socket(AF_INET, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { throw systemError("socket", name) }
    defer { close(socket) }
    for command in [ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO] {
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
