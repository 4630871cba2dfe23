internal import Glibc
internal import Netmap

/// The report of a thread of a measured switch at its end.
struct ValeReport: Sendable {
  var packets: UInt64
  var nanoseconds: UInt64
  var systemCalls: UInt64 = 0
  /// The sum of the bytes that the thread has read, kept so that the compiler does not remove the reads.
  var digest: UInt64 = 0
}

/// The testbed of a measured switch: its ports, and the loops that drive them.
///
/// Only one thread uses each port: a sender's port its sending thread, all receivers' ports the receiving
/// thread.
final class ValeTestbed: @unchecked Sendable {
  private let shape: ValeShape
  private let batch: Int
  private let length: Int
  private let flows: Int
  /// Whether senders write every byte, and receivers read every byte.
  private let isTouched: Bool
  private let fragments: Int
  private let senders: [NetmapPort]
  private let receivers: [NetmapPort]
  /// Idle ports, which receive every broadcast.
  private let others: [NetmapPort]

  /// Opens the ports, lets the switch learn the receivers' addresses, and fills every transmit buffer.
  ///
  /// - Parameters:
  ///   - shape: The numbers of ports.
  ///   - measurement: The batch, the frames, their flows and payload.
  ///   - engine: The engine to open the ports on.
  ///   - prefix: The beginning of all port names.
  /// - Throws: ``NetmapError`` when a port cannot be opened.
  init(
    _ shape: ValeShape, _ measurement: Measurement, on engine: any PortEngine,
    prefix: String = "valebench:"
  ) throws(NetmapError) {
    self.shape = shape
    batch = measurement.batch
    flows = measurement.flows
    isTouched = measurement.payload == .touched
    fragments = max(1, (shape.packetBytes ?? 0) / 2048)
    length = shape.packetBytes == nil ? measurement.frameBytes : 2048
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
      for flow in 0..<flows { try announce(port, ValeFrame.address(number + flow)) }
    }
  }

  private func announce(_ port: NetmapPort, _ address: UInt64) throws(NetmapError) {
    var ring = port.transmitRing(0)
    _ = ring.append(length: 60) { ValeFrame.write(ValeFrame.broadcast, address, to: &$0) }
    try port.sync(.transmit)
  }

  /// Writes the addresses into every buffer, in two rounds because one slot always stays empty.
  private func prepare(_ port: NetmapPort, _ number: Int) throws(NetmapError) {
    var packet = 0
    for _ in 0..<2 {
      var ring = port.transmitRing(0)
      _ = ring.append(upTo: .max, length: length) { _, bytes in
        writeAddresses(of: packet % flows, from: number, to: &bytes)
        packet += 1
      }
      try port.sync(.transmit)
      for receiver in receivers { try drain(receiver) }
    }
  }

  /// Writes the addresses of a flow from one sender.
  @inline(__always)
  private func writeAddresses(of flow: Int, from number: Int, to bytes: inout MutableRawSpan) {
    ValeFrame.write(
      shape.isBroadcast ? ValeFrame.broadcast : ValeFrame.address(flow),
      ValeFrame.address(100 + number * Measurement.mostFlows + flow), to: &bytes)
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
    var flow = 0
    while !control.isIn(.stopped) {
      fill(port, from: number, &flow)
      try port.sync(.transmit)
    }
    return ValeReport(packets: 0, nanoseconds: 0, systemCalls: port.statistics.systemCalls)
  }

  @inline(__always)
  private func fill(_ port: NetmapPort, from number: Int, _ flow: inout Int) {
    var ring = port.transmitRing(0)
    if isTouched && fragments == 1 {
      var next = flow
      _ = ring.append(upTo: batch, length: length) { packet, bytes in
        writeAddresses(of: next, from: number, to: &bytes)
        FrameBytes.write(
          UInt64(truncatingIfNeeded: packet), to: &bytes, from: ValeFrame.addressBytes)
        next = next &+ 1 == flows ? 0 : next &+ 1
      }
      flow = next
      return
    }
    if fragments == 1 {
      // Each buffer keeps the addresses that `prepare` wrote.
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
    var digest: UInt64 = 0
    _ = try receive(control, during: .warming, &digest)
    let start = monotonicNanoseconds()
    let packets = try receive(control, during: .measuring, &digest)
    let end = monotonicNanoseconds()
    let calls = receivers.reduce(0) { $0 &+ $1.statistics.systemCalls }
    return ValeReport(
      packets: packets, nanoseconds: end - start, systemCalls: calls, digest: digest)
  }

  private func receive(
    _ control: Control, during phase: Control.Phase, _ digest: inout UInt64
  ) throws(NetmapError) -> UInt64 {
    var packets: UInt64 = 0
    while control.isIn(phase) {
      for port in receivers { packets &+= try take(port, &digest) }
    }
    return packets
  }

  @inline(__always)
  private func take(_ port: NetmapPort, _ digest: inout UInt64) throws(NetmapError) -> UInt64 {
    try port.sync(.receive)
    var ring = port.receiveRing(0)
    var packets: UInt64 = 0
    if isTouched {
      var sum: UInt64 = 0
      ring.forEachSlot { packet in
        sum &+= FrameBytes.sum(packet.bytes)
        if packet.isComplete { packets &+= 1 }
      }
      digest &+= sum
    } else {
      ring.forEachSlot { packet in if packet.isComplete { packets &+= 1 } }
    }
    return packets
  }

  /// Drives all ports on one thread.
  ///
  /// Counts sent packets if no thread reads.
  func sendAndReceive(_ control: Control) throws(NetmapError) -> ValeReport {
    control.waitForStart()
    var (flow, digest): (Int, UInt64) = (0, 0)
    _ = try sendAndReceive(control, during: .warming, &flow, &digest)
    let start = monotonicNanoseconds()
    let packets = try sendAndReceive(control, during: .measuring, &flow, &digest)
    let end = monotonicNanoseconds()
    let ports = senders + receivers
    return ValeReport(
      packets: packets, nanoseconds: end - start,
      systemCalls: ports.reduce(0) { $0 &+ $1.statistics.systemCalls }, digest: digest)
  }

  /// Drives all ports on one thread for a time.
  ///
  /// - Returns: The number of packets and the nanoseconds.
  func sendAndReceive(seconds: Double) throws(NetmapError) -> ValeReport {
    let (sender, receiver) = (senders[0], receivers[0])
    let start = monotonicNanoseconds()
    let end = start + UInt64(seconds * 1e9)
    var (flow, digest): (Int, UInt64) = (0, 0)
    var packets: UInt64 = 0
    var now = start
    while now < end {
      for _ in 0..<64 {
        fill(sender, from: 0, &flow)
        try sender.sync(.transmit)
        packets &+= try take(receiver, &digest)
      }
      now = monotonicNanoseconds()
    }
    return ValeReport(packets: packets, nanoseconds: now - start)
  }

  private func sendAndReceive(
    _ control: Control, during phase: Control.Phase, _ flow: inout Int, _ digest: inout UInt64
  ) throws(NetmapError) -> UInt64 {
    let (sender, receiver) = (senders[0], receivers[0])
    var packets: UInt64 = 0
    while control.isIn(phase) {
      fill(sender, from: 0, &flow)
      try sender.sync(.transmit)
      if shape.isRead {
        packets &+= try take(receiver, &digest)
      } else {
        packets &+= UInt64(batch)
      }
    }
    return packets
  }
}
