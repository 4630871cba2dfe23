import Netmap

/// Both ends of a pipe on a separate engine, so that tests do not affect each other.
struct PipeFixture {
  let engine: EmbeddedEngine
  let a: NetmapPort
  let b: NetmapPort

  init(_ options: String = "") throws(NetmapError) {
    engine = try EmbeddedEngine()
    a = try NetmapPort("netmap:t{1\(options)", engine: engine)
    b = try NetmapPort("netmap:t}1\(options)", engine: engine)
  }
}

extension NetmapPort {
  /// Sends one packet and syncs.
  func send(_ bytes: [UInt8]) throws(NetmapError) -> Bool {
    var ring = transmitRing(0)
    let isQueued = unsafe ring.append(bytes.span.bytes)
    try sync(.transmit)
    return isQueued
  }

  /// Free slots of the first transmit ring.
  var freeSlots: Int {
    let ring = transmitRing(0)
    return ring.space
  }

  /// Syncs, and takes the bytes of every slot that has arrived.
  func takeSlots() throws(NetmapError) -> [[UInt8]] {
    try sync(.receive)
    var result: [[UInt8]] = []
    for index in 0..<receiveRingCount {
      var ring = receiveRing(index)
      while let slot = ring.nextSlot() { result.append(slot.copy()) }
    }
    return result
  }

  /// Syncs, and takes every packet that has arrived.
  func takeAll() throws(NetmapError) -> [[UInt8]] {
    try sync(.receive)
    var result: [[UInt8]] = []
    for index in 0..<receiveRingCount {
      var ring = receiveRing(index)
      while let packet = ring.next() { result.append(packet.copy()) }
    }
    return result
  }
}

extension Packet {
  func copy() -> [UInt8] {
    [UInt8](self)
  }
}

/// An IPv4/UDP frame with a payload of zeros.
func udpFrame(
  source: (mac: UInt8, address: UInt8, port: UInt16) = (1, 1, 1111),
  destination: (mac: UInt8, address: UInt8, port: UInt16) = (2, 2, 8000), length: Int = 60
) -> [UInt8] {
  var frame = [UInt8](repeating: 0, count: length)
  frame.replaceSubrange(0..<6, with: [2, 0, 0, 0, 0, destination.mac])
  frame.replaceSubrange(6..<12, with: [2, 0, 0, 0, 0, source.mac])
  frame.replaceSubrange(12..<16, with: [0x08, 0x00, 0x45, 0x00])
  frame[17] = UInt8(length - 14)
  frame[39] = UInt8(length - 34)
  frame[23] = 17
  frame.replaceSubrange(26..<30, with: [10, 0, 0, source.address])
  frame.replaceSubrange(30..<34, with: [10, 0, 0, destination.address])
  frame.replaceSubrange(
    34..<38,
    with: [
      UInt8(source.port >> 8), UInt8(source.port & 0xff), UInt8(destination.port >> 8),
      UInt8(destination.port & 0xff),
    ])
  return frame
}
