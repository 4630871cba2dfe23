import CNetmap
import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

/// Takes each packet's verdict from its byte 14: a port below 254, 254 for all ports, 255 to drop.
private struct ByContent: ~Copyable, SwitchModule {
  static var name: String { "by-content" }
  let seen = Atomic<UInt64>(0)

  init(configuration: String = "") throws(NetmapError) {}

  func lookup(_ batch: borrowing SwitchBatch) {
    batch.route { packet in
      seen.wrappingAdd(1, ordering: .relaxed)
      guard packet.length > 14 else { return .drop }
      let verdict = unsafe packet.bytes.unsafeLoad(fromByteOffset: 14, as: UInt8.self)
      return SwitchVerdict(rawValue: UInt32(verdict))
    }
  }

  var statistics: [SwitchModuleStatistic] {
    [SwitchModuleStatistic("seen", seen.load(ordering: .relaxed))]
  }
}

/// ``ByContent`` as a C module would implement it with `net/netmap_module.h`.
private enum ByContentInC {
  /// The verdict in byte 14 of a packet.
  static func verdict(_ bytes: UnsafeRawPointer, _ length: Int) -> UInt32 {
    length > 14 ? unsafe UInt32(bytes.load(fromByteOffset: 14, as: UInt8.self)) : 255
  }

  static func decide(_ batch: inout netmap_module_batch, _ seen: UnsafeMutablePointer<UInt64>) {
    if let frames = unsafe batch.frames {
      var index = 0
      while unsafe index < Int(batch.count) {
        let frame = unsafe (UnsafeRawPointer(frames) + index * Int(batch.frame_stride))
          .assumingMemoryBound(to: netmap_module_frame.self).pointee
        unsafe batch.verdicts[index] = unsafe verdict(frame.bytes, Int(frame.length))
        index += unsafe max(Int(frame.fragments), 1)
        unsafe seen.pointee += 1
      }
      return
    }
    guard let slots = unsafe batch.slots, let buffers = unsafe batch.buffers else { return }
    let unusual = UInt16(NS_BUF_CHANGED | NS_INDIRECT | NS_MOREFRAG)
    while unsafe batch.decided < batch.count {
      let slot = unsafe (UnsafeRawPointer(slots) + Int(batch.decided) * 16)
        .assumingMemoryBound(to: netmap_slot.self).pointee
      guard unsafe slot.flags & unusual == 0 && slot.buf_idx < batch.buffer_count,
        unsafe slot.len >= 14 && UInt32(slot.len) <= batch.buffer_size
      else { break }
      let place = unsafe buffers + Int(slot.buf_idx) * Int(batch.buffer_size)
      unsafe batch.verdicts[Int(batch.decided)] = unsafe verdict(place, Int(slot.len))
      unsafe batch.decided += 1
      unsafe seen.pointee += 1
    }
  }

  // `flags` are those of the module's table.
  static func module(_ flags: Int32) -> LoadedModule {
    var table = unsafe netmap_module()
    unsafe table.flags = UInt32(flags)
    unsafe table.lookup = { seen, batch in
      guard let seen = unsafe seen, let batch = unsafe batch else { return }
      unsafe ByContentInC.decide(&batch.pointee, seen.assumingMemoryBound(to: UInt64.self))
    }
    unsafe table.statistics = { seen, text, size in
      guard let seen = unsafe seen, let text = unsafe text else { return 0 }
      let line = unsafe Array("seen \(seen.load(as: UInt64.self))\n".utf8)
      guard line.count <= Int(size) else { return 0 }
      for (place, byte) in line.enumerated() { unsafe text[place] = CChar(bitPattern: byte) }
      return UInt32(line.count)
    }
    unsafe table.destroy = { seen in unsafe seen?.deallocate() }
    let seen = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
    unsafe seen.initialize(to: 0)
    return unsafe LoadedModule(table, UnsafeMutableRawPointer(seen), "by-content", path: nil)
  }
}

/// Packets that one port sends in one sync, and their expected arrivals and drops.
private struct Burst {
  var packets = 0
  var bytes = 0
  var dropped = 0
  var arrivals: [[[UInt8]]]
  var drops: [DropReason: Int] = [:]

  init(ports: Int) { arrivals = Array(repeating: [], count: ports) }

  /// Adds a packet, and its expected arrival or drop.
  mutating func add(_ bytes: [UInt8], from sender: Int, fault: DropReason? = nil) {
    packets += 1
    self.bytes += fault == nil ? bytes.count : 0
    let verdict = bytes.count > 14 ? Int(bytes[14]) : 255
    if let reason = fault ?? (bytes.count < 14 ? .tooShort : nil) {
      dropped += 1
      drops[reason, default: 0] += 1
    } else if verdict == 254 {
      for port in arrivals.indices where port != sender { arrivals[port].append(bytes) }
    } else if verdict == 255 || verdict == sender {
      dropped += 1
      drops[verdict == 255 ? .filtered : .noDestination, default: 0] += 1
    } else if verdict < arrivals.count {
      arrivals[verdict].append(bytes)
    } else {
      // There is no such port: the switch counts a drop, the module does not.
      drops[.noDestination, default: 0] += 1
    }
  }
}

@Suite("VALE modules: verdict runs")
struct VerdictRunTests {
  private static func frame(_ verdict: Int, _ number: UInt32, length: Int) -> [UInt8] {
    var bytes = TestFrame(
      target: .station(9), source: .station(8), number: number, length: length
    ).bytes
    if length > 14 { bytes[14] = UInt8(verdict) }
    return bytes
  }

  /// The language of the module, and whether it gets frames or slots.
  enum Kind: CaseIterable {
    case swift, framesInC, slotsInC
  }

  @Test(
    "packets arrive in order where the verdicts say, or are counted, for runs of any length",
    arguments: 0..<4 as Range<UInt64>, Kind.allCases)
  func runs(number: UInt64, kind: Kind) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0xdec1_0000 + number
    var generator = SeededGenerator(seed: seed)
    let vale = try TestSwitch(4)
    switch kind {
    case .swift: try vale.install(ByContent())
    case .framesInC: try vale.install(ByContentInC.module(0))
    case .slotsInC: try vale.install(ByContentInC.module(NETMAP_MODULE_TAKES_SLOTS))
    }
    let usual = generator.chance(50)
    var (asked, dropped) = (0, 0)
    for step in 0..<60 {
      let sender = Int.random(in: 0..<4, using: &generator)
      let tx = vale[sender].tx()
      let before = tx.counters
      var burst = Burst(ports: 4)
      for _ in 0..<Int.random(in: 1...6, using: &generator) {
        let verdict = [0, 1, 2, 3, 1, 2, 254, 255, 77].randomElement(using: &generator) ?? 0
        let length = generator.chance(70) ? 60 : Int.random(in: 15...400, using: &generator)
        for _ in 0..<(generator.chance(50) ? 1 : Int.random(in: 10...50, using: &generator)) {
          let number = UInt32(step) << 16 | UInt32(burst.packets)
          var bytes = Self.frame(verdict, number, length: length)
          let slot = tx.head
          if !usual, generator.chance(4) {
            switch Int.random(in: 0..<4, using: &generator) {
            case 0:
              bytes = Array(bytes.prefix(10))
              tx.putPacket(bytes)
              burst.add(bytes, from: sender)
            case 1:
              tx.putPacket(bytes)
              tx[slot].flags = .bufferChanged
              burst.add(bytes, from: sender)
            case 2:
              bytes = Self.frame(verdict, number, length: 100)
              tx.putPacket(bytes, in: [60, 40])
              burst.add(bytes, from: sender)
            default:
              tx.putPacket(bytes)
              let own = tx[slot].bufferIndex
              tx[slot].bufferIndex = .max
              burst.add(bytes, from: sender, fault: .badBufferIndex)
              tx.sync()
              tx[slot].bufferIndex = own
            }
          } else {
            tx.putPacket(bytes)
            burst.add(bytes, from: sender)
          }
        }
      }
      tx.sync()
      let arrived = vale.takeAll()
      let place: Comment = "NETMAP_TEST_SEED=\(seed), step \(step)"
      try #require(arrived == burst.arrivals, place)
      let after = tx.counters
      try #require(after.packets - before.packets == UInt64(burst.packets), place)
      try #require(after.bytes - before.bytes == UInt64(burst.bytes), place)
      for reason in DropReason.allCases {
        try #require(
          after.drops[reason] - before.drops[reason] == UInt64(burst.drops[reason] ?? 0),
          "\(reason.name), \(place)")
      }
      asked += burst.packets
      dropped += burst.dropped
    }
    let report = try vale.report()
    #expect(report["packets"] == UInt64(asked) && report["dropped"] == UInt64(dropped))
    // The module decides on no packet twice.
    #expect(report["seen"] == UInt64(asked))
  }

  @Test(
    "packets without room in the ring are counted as dropped, and their bytes as sent",
    arguments: [1, 7, 40])
  func full(runLength: Int) throws {
    let vale = try TestSwitch(3, hints: RingGeometryHints(receiveSlots: 32))
    try vale.install(ByContent())
    var burst = Burst(ports: 3)
    for number in 0..<160 {
      let bytes = Self.frame(1 + number / runLength % 2, UInt32(number), length: 60 + number)
      vale[0].tx().putPacket(bytes)
      burst.add(bytes, from: 0)
    }
    vale[0].tx().sync()
    for port in 1...2 {
      let arrived = vale[port].rx().takePackets()
      #expect(arrived == Array(burst.arrivals[port].prefix(31)))
      #expect(
        vale[port].rx().counters.drops[.ringFull] == UInt64(burst.arrivals[port].count - 31))
    }
    #expect(vale[0].tx().counters.bytes == UInt64(burst.bytes))
    #expect(vale[0].tx().counters.packets == 160)
  }

  @Test("packets of every length are copied whole")
  func lengths() throws {
    let vale = try TestSwitch(2)
    try vale.install(ByContent())
    var generator = SeededGenerator(seed: 0x1e57)
    for _ in 0..<40 {
      var sent: [[UInt8]] = []
      for number in 0..<UInt32.random(in: 1...60, using: &generator) {
        let longest = [64, 256, 2048].randomElement(using: &generator) ?? 64
        let bytes = Self.frame(1, number, length: Int.random(in: 15...longest, using: &generator))
        vale[0].tx().putPacket(bytes)
        sent.append(bytes)
      }
      vale[0].tx().sync()
      #expect(vale[1].rx().takePackets() == sent)
    }
  }
}
