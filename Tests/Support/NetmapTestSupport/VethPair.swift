internal import NetworkStage

/// A veth pair in the namespace of the calling thread: what one end sends the other receives.
///
/// Both ends are up, silent (no IPv6, no ARP) and without checksum or segmentation offload, which would
/// leave frames unfinished that never see a wire.
public struct VethPair: Sendable {
  public let first: String
  public let second: String

  /// - Parameters:
  ///   - first: Name of one end; at most 15 characters.
  ///   - second: Name of the other.
  ///   - queues: Queues of each end.
  ///   - mtu: The MTU of both ends, bytes.
  /// - Throws: `NetmapError` when the kernel refuses.
  public init(_ first: String = "v0", _ second: String = "v1", queues: Int = 1, mtu: Int = 1500)
    throws
  {
    _ = try NetworkStage.VethPair(first, second, queues: queues, mtu: mtu)
    self.first = first
    self.second = second
  }
}
