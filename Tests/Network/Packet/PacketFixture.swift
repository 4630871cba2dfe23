import Netmap
import NetmapLinuxSetup
import NetmapTestSupport

/// Two ports on the ends of a veth pair, both driven by TPACKET_V3.
struct PacketFixture {
  let pair: VethPair
  let engine: EmbeddedEngine
  let sender: NetmapPort
  let receiver: NetmapPort

  init(
    queues: Int = 1, mtu: Int = 1500,
    ingressDropMethod: PacketCandidate.IngressDropMethod = .automatic
  ) throws {
    try self.init(over: VethPair(queues: queues, mtu: mtu), ingressDropMethod: ingressDropMethod)
  }

  init(over pair: VethPair, ingressDropMethod: PacketCandidate.IngressDropMethod = .automatic)
    throws
  {
    self.pair = pair
    engine = try EmbeddedEngine(
      interfaces: LinuxInterfaces(candidates: [
        PacketCandidate(ingressDropMethod: ingressDropMethod)
      ]))
    sender = try NetmapPort("netmap:\(pair.first)@backend:name=packet", engine: engine)
    receiver = try NetmapPort("netmap:\(pair.second)@backend:name=packet", engine: engine)
  }

  /// Gives the host an address on the receiving end, so that it accepts the datagrams of ``SampleFrames``.
  func addHost() throws {
    try NetworkNamespace.run(
      "ip", "link", "set", pair.second, "address", "02:00:00:00:00:02")
    try NetworkNamespace.run("ip", "address", "add", "10.0.0.2/24", "dev", pair.second)
  }

  /// Sends frames. Waits for room as often as necessary.
  func send(_ frames: [[UInt8]]) throws {
    for frame in frames {
      while !sender.put(frame) { try sender.wait(for: .transmit, timeout: .seconds(2)) }
    }
    try sender.flush()
  }

  /// Receives until there are `count` packets, or none has arrived for a second.
  func receive(_ count: Int) throws -> [[UInt8]] {
    var result: [[UInt8]] = []
    while result.count < count {
      if try receiver.wait(for: .receive, timeout: .seconds(1)).isEmpty { break }
      result += receiver.takePackets()
    }
    return result
  }
}

extension NetmapPort {
  /// Queues a packet on transmit ring `index`, in as many slots as it needs.
  ///
  /// - Returns: False when there is not enough room.
  func put(_ packet: [UInt8], ring index: Int = 0) -> Bool {
    let slots = max(1, (packet.count + bufferSize - 1) / bufferSize)
    var ring = transmitRing(index)
    guard ring.space >= slots else {
      ring.waitForMore()
      return false
    }
    for slot in 0..<slots {
      let part = Array(packet[(slot * bufferSize)..<min(packet.count, (slot + 1) * bufferSize)])
      _ = unsafe ring.append(part.span.bytes, flags: slot + 1 < slots ? .moreFragments : [])
    }
    return true
  }

  /// Takes all packets that have arrived, on all rings.
  func takePackets() -> [[UInt8]] {
    (0..<receiveRingCount).flatMap { takePackets(ring: $0) }
  }

  func takePackets(ring index: Int) -> [[UInt8]] {
    var result: [[UInt8]] = []
    var packet: [UInt8] = []
    var ring = receiveRing(index)
    while let part = ring.nextSlot() {
      packet += [UInt8](part)
      guard part.isComplete else { continue }
      result.append(packet)
      packet = []
    }
    return result
  }
}
