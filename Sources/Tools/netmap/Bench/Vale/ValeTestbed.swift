internal import Glibc
internal import Netmap

/// The report of a thread of a measured switch at its end.
struct ValeReport: Sendable {
  var packets: UInt64
  var nanoseconds: UInt64
  var systemCalls: UInt64 = 0
}

/// The testbed of a measured switch: its ports, and the loops that drive them.
///
/// Only one thread uses each port: a sender's port its sending thread, all receivers' ports the receiving
/// thread.
final class ValeTestbed: @unchecked Sendable {
  private let shape: ValeShape
  private let batch: Int
  private let length: Int
  private let fragments: Int
  private let senders: [NetmapPort]
  private let receivers: [NetmapPort]
  /// Idle ports, which receive every broadcast.
  private let others: [NetmapPort]

  /// Opens the ports, lets the switch learn the receivers' addresses, and fills every transmit buffer.
  ///
  /// - Parameters:
  ///   - shape: The numbers of ports.
  ///   - engine: The engine to open the ports on.
  ///   - batch: Packets per sync.
  ///   - frameBytes: Bytes of a packet in one slot.
  ///   - prefix: The beginning of all port names.
  /// - Throws: ``NetmapError`` when a port cannot be opened.
  init(
    _ shape: ValeShape, on engine: any PortEngine, batch: Int, frameBytes: Int,
    prefix: String = "valebench:"
  ) throws(NetmapError) {
    self.shape = shape
    self.batch = batch
    fragments = max(1, (shape.packetBytes ?? 0) / 2048)
    length = shape.packetBytes == nil ? frameBytes : 2048
    func ports(_ name: String, _ count: Int) throws(NetmapError) -> [NetmapPort] {
      var result: [NetmapPort] = []
      for number in 0..<count {
        result.append(try NetmapPort("\(prefix)\(name)\(number)", engine: engine))
      }
      return result
    }
    receivers = try ports("r", shape.receivers)
    senders = try ports("s", shape.senders)
    others = try ports("o", max(0, shape.ports - shape.senders - shape.receivers))
    try announceReceivers()
    for (number, port) in senders.enumerated() { try prepare(port, number) }
    for port in receivers { try drain(port) }
  }

  /// Makes the switch learn the receivers' addresses again.
  func announceReceivers() throws(NetmapError) {
    for (number, port) in receivers.enumerated() {
      try announce(port, ValeFrame.address(number))
    }
  }

  private func announce(_ port: NetmapPort, _ address: UInt64) throws(NetmapError) {
    var ring = port.transmitRing(0)
    _ = ring.append(length: 60) { ValeFrame.write(ValeFrame.broadcast, address, to: &$0) }
    try port.sync(.transmit)
  }

  /// Writes the addresses into every buffer, in two rounds because one slot always stays empty.
  private func prepare(_ port: NetmapPort, _ number: Int) throws(NetmapError) {
    let target = shape.isBroadcast ? ValeFrame.broadcast : ValeFrame.address(0)
    for _ in 0..<2 {
      var ring = port.transmitRing(0)
      _ = ring.append(upTo: .max, length: length) { _, bytes in
        ValeFrame.write(target, ValeFrame.address(100 + number), to: &bytes)
      }
      try port.sync(.transmit)
      for receiver in receivers { try drain(receiver) }
    }
  }

  private func drain(_ port: NetmapPort) throws(NetmapError) {
    guard shape.isRead else { return }
    try port.sync(.receive)
    var ring = port.receiveRing(0)
    ring.skip()
    try port.sync(.receive)
  }

  /// Sends as fast as possible until the measurement has stopped.
  func send(from number: Int, _ control: Control) throws(NetmapError) -> ValeReport {
    let port = senders[number]
    control.waitForStart()
    while !control.isIn(.stopped) {
      fill(port)
      try port.sync(.transmit)
    }
    return ValeReport(packets: 0, nanoseconds: 0, systemCalls: port.statistics.systemCalls)
  }

  @inline(__always)
  private func fill(_ port: NetmapPort) {
    var ring = port.transmitRing(0)
    if fragments == 1 {
      _ = ring.append(upTo: batch, length: length)
      return
    }
    for _ in 0..<min(batch, ring.space / fragments) {
      _ = ring.append(upTo: fragments - 1, length: length, flags: .moreFragments)
      _ = ring.append(length: length)
    }
  }

  /// Reads the receivers' ports in turn, and counts packets.
  func receive(_ control: Control) throws(NetmapError) -> ValeReport {
    control.waitForStart()
    _ = try receive(control, during: .warming)
    let start = monotonicNanoseconds()
    let packets = try receive(control, during: .measuring)
    let end = monotonicNanoseconds()
    let calls = receivers.reduce(0) { $0 &+ $1.statistics.systemCalls }
    return ValeReport(packets: packets, nanoseconds: end - start, systemCalls: calls)
  }

  private func receive(_ control: Control, during phase: Control.Phase) throws(NetmapError)
    -> UInt64
  {
    var packets: UInt64 = 0
    while control.isIn(phase) {
      for port in receivers { packets &+= try take(port) }
    }
    return packets
  }

  @inline(__always)
  private func take(_ port: NetmapPort) throws(NetmapError) -> UInt64 {
    try port.sync(.receive)
    var ring = port.receiveRing(0)
    var packets: UInt64 = 0
    ring.forEachSlot { packet in if packet.isComplete { packets &+= 1 } }
    return packets
  }

  /// Drives all ports on one thread.
  ///
  /// Counts sent packets if no thread reads.
  func sendAndReceive(_ control: Control) throws(NetmapError) -> ValeReport {
    control.waitForStart()
    _ = try sendAndReceive(control, during: .warming)
    let start = monotonicNanoseconds()
    let packets = try sendAndReceive(control, during: .measuring)
    let end = monotonicNanoseconds()
    let ports = senders + receivers
    return ValeReport(
      packets: packets, nanoseconds: end - start,
      systemCalls: ports.reduce(0) { $0 &+ $1.statistics.systemCalls })
  }

  /// Drives all ports on one thread for a time.
  ///
  /// - Returns: The number of packets and the nanoseconds.
  func sendAndReceive(seconds: Double) throws(NetmapError) -> ValeReport {
    let (sender, receiver) = (senders[0], receivers[0])
    let start = monotonicNanoseconds()
    let end = start + UInt64(seconds * 1e9)
    var packets: UInt64 = 0
    var now = start
    while now < end {
      for _ in 0..<64 {
        fill(sender)
        try sender.sync(.transmit)
        packets &+= try take(receiver)
      }
      now = monotonicNanoseconds()
    }
    return ValeReport(packets: packets, nanoseconds: now - start)
  }

  private func sendAndReceive(
    _ control: Control, during phase: Control.Phase
  ) throws(NetmapError) -> UInt64 {
    let (sender, receiver) = (senders[0], receivers[0])
    var packets: UInt64 = 0
    while control.isIn(phase) {
      fill(sender)
      try sender.sync(.transmit)
      if shape.isRead {
        packets &+= try take(receiver)
      } else {
        packets &+= UInt64(batch)
      }
    }
    return packets
  }
}
