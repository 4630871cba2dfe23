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
  /// - Throws: ``ProgramError`` when ip(8) or ethtool(8) fails.
  public init(_ first: String = "v0", _ second: String = "v1", queues: Int = 1, mtu: Int = 1500)
    throws
  {
    self.first = first
    self.second = second
    let count = ["numtxqueues", "\(queues)", "numrxqueues", "\(queues)"]
    _ = try TestProgram.output(
      of: ["ip", "link", "add", first] + count + ["type", "veth", "peer", "name", second] + count)
    for name in [first, second] {
      try NetworkNamespace.run(
        "ip", "link", "set", name, "addrgenmode", "none", "arp", "off", "mtu", "\(mtu)")
      try NetworkNamespace.run(
        "ethtool", "-K", name, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
      try NetworkNamespace.run("ip", "link", "set", name, "up")
    }
  }
}
