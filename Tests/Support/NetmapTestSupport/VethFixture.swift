internal import NetworkTestbed

/// A veth pair in the calling thread's namespace: each end receives the packets that the other end sends.
///
/// Both ends are up, silent (no IPv6, no ARP) and without checksum or segmentation offload, since with offload
/// the kernel leaves frames incomplete.
public struct VethPair: Sendable {
  public let first: String
  public let second: String

  /// - Parameters:
  ///   - first: Name of one end; at most 15 characters.
  ///   - second: Name of the other end.
  ///   - queues: Number of queues of each end, per direction.
  ///   - mtu: The MTU of both ends in bytes.
  /// - Throws: `NetmapError` when the kernel refuses.
  public init(_ first: String = "v0", _ second: String = "v1", queues: Int = 1, mtu: Int = 1500)
    throws
  {
    _ = try NetworkTestbed.VethPair(first, second, queues: queues, mtu: mtu)
    self.first = first
    self.second = second
  }
}
