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
    _ = try NetlinkMessage.vethPair(first, second, queues: queues, mtu: mtu)
      .exchange("\(first), \(second)")
    self.first = try Link(named: first)
    self.second = try Link(named: second)
    for link in [self.first, self.second] {
      try link.silence()
      try link.disableOffloads()
      if isUp { try link.setUp() }
    }
    if isUp { for link in [self.first, self.second] { try link.waitUntilRunning() } }
  }
}
