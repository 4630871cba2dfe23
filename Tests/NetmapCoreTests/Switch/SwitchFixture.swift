import NetmapCore

/// An Ethernet address, first byte on the wire in the lowest bits, as the switch keeps it.
typealias Address = UInt64

extension Address {
  static let broadcast: Address = 0xffff_ffff_ffff

  /// A locally administered unicast address.
  static func station(_ number: UInt8) -> Address {
    0x02 | Address(number) << 40 | Address(0x51) << 16
  }

  var bytes: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: self >> (8 * $0)) } }
}

/// A frame whose bytes after the addresses and the type are made from its number.
struct TestFrame: Hashable, CustomStringConvertible {
  var target: Address
  var source: Address
  var number: UInt32
  var length = 60

  var bytes: [UInt8] {
    let all =
      target.bytes + source.bytes + [0x88, 0xb5]
      + (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    let rest = (0..<max(0, length - all.count)).map { UInt8(truncatingIfNeeded: Int(number) + $0) }
    return Array((all + rest).prefix(length))
  }

  var description: String { "\(number): \(source) -> \(target), \(length) bytes" }
}

extension TestRing {
  /// Writes bytes into the buffer of a slot.
  func fill(_ slot: UInt32, _ bytes: [UInt8], at offset: Int = 0) {
    let base = bufferOffset(self[slot].bufferIndex) + offset
    for (place, byte) in bytes.enumerated() {
      port.registration.region.store(byte, at: base + place)
    }
  }

  func bytes(_ slot: UInt32, at offset: Int = 0) -> [UInt8] {
    let base = bufferOffset(self[slot].bufferIndex) + offset
    return (0..<Int(self[slot].length)).map {
      port.registration.region.load(at: base + $0, as: UInt8.self)
    }
  }

  /// Puts a packet into slots of the given sizes, the last one without `NS_MOREFRAG`; no sync.
  func putPacket(_ bytes: [UInt8], in sizes: [Int]? = nil, continues: Bool = false) {
    var rest = bytes[...]
    let sizes = sizes ?? [bytes.count]
    for (place, size) in sizes.enumerated() {
      let index = head
      precondition(index != tail, "the ring is full")
      let more = continues || place < sizes.count - 1
      self[index].length = UInt16(size)
      self[index].flags = more ? .moreFragments : []
      fill(index, Array(rest.prefix(size)))
      rest = rest.dropFirst(size)
      move(to: next(index))
    }
  }

  /// Puts frames and syncs.
  func send(_ frames: TestFrame...) {
    for frame in frames { putPacket(frame.bytes) }
    sync()
  }

  /// Syncs, and takes every packet that has arrived, its fragments joined.
  func takePackets() -> [[UInt8]] {
    sync()
    var packets: [[UInt8]] = []
    var packet: [UInt8] = []
    while head != tail {
      packet += bytes(head)
      if !self[head].flags.contains(.moreFragments) {
        packets.append(packet)
        packet = []
      }
      move(to: next(head))
    }
    sync()
    return packets
  }

  /// Whether no packet has arrived.
  var isSilent: Bool { takePackets().isEmpty }
}

/// An engine with ports a, b, c, ... on the switch `vale0`.
struct TestSwitch {
  let engine: Engine
  var ports: [TestPort] = []

  init(_ count: Int, hints: RingGeometryHints = .none) throws {
    engine = try Engine()
    for number in 0..<count {
      ports.append(try TestPort(engine, Self.name(number), hints: hints))
    }
  }

  static func name(_ number: Int) -> String { "vale0:p\(number)" }

  subscript(index: Int) -> TestPort { ports[index] }
}
