import NetmapTestSupport
import Testing

@testable import NetmapCore

/// The rule for slots, against arithmetic that cannot overflow, and its fast forms against the rule.
@Suite("The rule for slots")
struct SlotRuleTests {
  private static func seed(_ number: UInt64) -> UInt64 {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 0..<1 << 32) &+ number
    print("SlotRuleTests: NETMAP_TEST_SEED=\(seed)")
    return seed
  }

  /// One of some numbers, or a number beside it.
  private static func near(_ numbers: [UInt64], _ generator: inout SeededGenerator) -> UInt64 {
    let number = numbers.randomElement(using: &generator) ?? 0
    return number &+ UInt64.random(in: 0...2, using: &generator) &- 1
  }

  private static func slot(
    for rule: SlotRule, offset: Int, _ generator: inout SeededGenerator
  ) -> SlotWord {
    let size = UInt64(rule.bufferSize)
    return SlotWord(
      bufferIndex: UInt32(
        truncatingIfNeeded: near([1, 2, UInt64(rule.bufferCount), 1 << 31, 0], &generator)),
      length: UInt16(
        truncatingIfNeeded: near([0, 14, 60, size, size - UInt64(offset), 65_535], &generator)),
      flags: SlotFlags(
        rawValue: generator.chance(40)
          ? 0
          : 1 << UInt16.random(in: 0..<16, using: &generator)
            | 1 << UInt16.random(in: 0..<16, using: &generator)))
  }

  @Test("says what is wrong with a slot, and the fast forms agree with it")
  func fastForms() throws {
    let seed = Self.seed(1)
    var generator = SeededGenerator(seed: seed)
    var (common, whole) = (0, 0)
    for _ in 0..<200_000 {
      let rule = SlotRule(
        bufferCount: UInt32(truncatingIfNeeded: Self.near([3, 164, 1 << 20], &generator)),
        bufferSize: [64, 2048, 4096, 65_472, 65_536].randomElement(using: &generator) ?? 64)
      let offset = Int(
        min(Self.near([1, 64, 2048], &generator), UInt64(rule.bufferSize)))
      let slot = Self.slot(for: rule, offset: offset, &generator)
      let context: Comment = "seed \(seed), \(rule), \(slot), offset \(offset)"

      func fault(at offset: Int, from first: Int) -> DropReason? {
        guard (first..<Int(rule.bufferCount)).contains(Int(slot.buffer)) else {
          return .badBufferIndex
        }
        return offset + Int(slot.length) <= Int(rule.bufferSize) ? nil : .badLength
      }
      try #require(rule.fault(of: slot, at: offset) == fault(at: offset, from: 0), context)
      try #require(
        rule.fault(of: slot, at: offset, isGiven: true) == fault(at: offset, from: 2), context)
      try #require(
        offset + rule.truncated(UInt32(slot.length), at: offset)
          == min(offset + Int(slot.length), Int(rule.bufferSize)), context)

      let isPlain = slot.flags.isDisjoint(with: [.bufferChanged, .indirect])
      let isCommon = isPlain && rule.fault(of: slot) == nil
      let isWhole = isCommon && !slot.flags.contains(.moreFragments) && slot.length >= 14
      try #require(rule.isCommon(slot) == isCommon, context)
      try #require(rule.isWhole(slot) == isWhole, context)
      common += isCommon ? 1 : 0
      whole += isWhole ? 1 : 0
    }
    #expect(common > 10_000 && whole > 5000 && whole < common, "seed \(seed)")
  }

  @Test("limits an offset to the largest one in force and to the buffer, and is 0 without a mask")
  func offsets() throws {
    let seed = Self.seed(2)
    var generator = SeededGenerator(seed: seed)
    let values: [UInt64] = [1, 64, 2047, 2048, 4096, 1 << 16, 1 << 32, 1 << 63, .max]
    for _ in 0..<50_000 {
      let rule = SlotRule(bufferCount: 8, bufferSize: 2048)
      let (pointer, limit) = (Self.near(values, &generator), Self.near(values, &generator))
      let mask = generator.chance(30) ? 0 : Self.near(values, &generator)
      let offset = rule.offset(of: pointer, mask: mask, limit: limit)
      let expected = [pointer & mask, limit, 2048].min() ?? 0
      try #require(
        UInt64(offset) == (mask == 0 ? 0 : expected),
        "seed \(seed), pointer \(pointer), mask \(mask), limit \(limit)")
      try #require(rule.room(at: offset) == 2048 - offset)
    }
  }
}

/// Sends slots with anything in them through a switch, whose paths use different forms of the rule.
@Suite("VALE: slots with any content")
struct SwitchSlotTests {
  /// A packet that the sender's slots describe: what is wrong with it, or its bytes.
  private enum Expected: Hashable {
    case dropped(DropReason)
    case delivered([UInt8])
  }

  @Test(
    "a packet arrives if the rule accepts all of its slots, and is counted under its fault if not",
    arguments: [false, true], ["learning", "hub"])
  func agree(usesOffsets: Bool, module: String) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 0..<1 << 32)
    print("SwitchSlotTests: NETMAP_TEST_SEED=\(seed)")
    var generator = SeededGenerator(seed: seed)
    let vale = try TestSwitch(2, hints: .slots(128))
    if module == "hub" { try vale.choose(.hub) }
    let (tx, rx) = (vale[0].tx(), vale[1].rx())
    vale[1].tx().send(TestFrame(target: .broadcast, source: .station(2), number: 0))
    _ = vale[0].rx().takePackets()
    if usesOffsets {
      unsafe tx.mapped.kring.offsetMax = 128
      unsafe tx.mapped.kring.offsetMask = 0xfff
    }
    for buffer in 0...1 as ClosedRange<UInt32> { write(buffer, 0, number: buffer, tx) }
    let own = tx.bufferIndexes
    var (delivered, dropped) = (0, 0)
    for round in 0..<150 {
      let before = tx.counters.drops
      let expected = fill(tx, own, usesOffsets, &generator)
      tx.sync()
      let context: Comment = "seed \(seed), round \(round)"
      let packets = expected.compactMap { packet -> [UInt8]? in
        if case .delivered(let bytes) = packet { return bytes }
        return nil
      }
      let isSame = rx.takePackets() == packets
      try #require(isSame, context)
      for reason in DropReason.allCases {
        let count = expected.count { $0 == .dropped(reason) }
        try #require(tx.counters.drops[reason] - before[reason] == UInt64(count), context)
      }
      delivered += packets.count
      dropped += expected.count - packets.count
    }
    #expect(delivered > 1000 && dropped > 100, "seed \(seed): \(delivered), \(dropped)")
  }

  /// Writes a frame with addresses into a buffer.
  private func write(_ buffer: UInt32, _ offset: Int, number: UInt32, _ ring: TestRing) {
    let frame = TestFrame(
      target: .station(2), source: .station(1), number: number, length: 60)
    for (place, byte) in frame.bytes.enumerated() {
      ring.port.registration.region.store(byte, at: ring.bufferOffset(buffer) + offset + place)
    }
  }

  // Fills up to 60 slots with anything, mostly with good packets. `own`: the buffers of the slots, before any slot
  // was changed.
  private func fill(
    _ ring: TestRing, _ own: [UInt32], _ usesOffsets: Bool, _ generator: inout SeededGenerator
  ) -> [Expected] {
    let region = ring.port.registration.region
    let total = unsafe ring.mapped.ring.bufferCount
    var result: [Expected] = []
    var parts: [(length: Int, bytes: [UInt8], fault: DropReason?)] = []
    let badness = [0, 3, 30].randomElement(using: &generator) ?? 0
    let count = Int.random(in: 1...60, using: &generator)
    for number in 0..<count {
      let index = ring.head
      var slot = Slot(bufferIndex: own[Int(index)], length: 60)
      if usesOffsets { slot.pointer = UInt64.random(in: 0...300, using: &generator) | 0xff << 32 }
      let offset = usesOffsets ? min(Int(slot.pointer & 0xfff), 128) : 0
      write(slot.bufferIndex, offset, number: UInt32(number), ring)
      if generator.chance(badness) {
        let others = usesOffsets ? [total] : [0, 1]
        slot.bufferIndex = (others + [total, .max]).randomElement(using: &generator) ?? 0
      }
      if generator.chance(badness + 5) {
        slot.length =
          [0, 13, 14, 64, 65, 256, 257, 1920, 1921, 2048, 2049, .max].randomElement(
            using: &generator) ?? 0
      }
      if generator.chance(badness), number < count - 1 { slot.flags.insert(.moreFragments) }
      if generator.chance(badness) { slot.flags.insert(.bufferChanged) }
      if generator.chance(badness / 3) { slot.flags.insert(.indirect) }
      ring[index] = slot
      ring.move(to: ring.next(index))

      let fault: DropReason? =
        slot.flags.contains(.indirect)
        ? .indirect
        : slot.bufferIndex >= total
          ? .badBufferIndex : offset + Int(slot.length) > 2048 ? .badLength : nil
      let bytes =
        fault == nil
        ? (0..<Int(slot.length)).map {
          region.load(at: ring.bufferOffset(slot.bufferIndex) + offset + $0, as: UInt8.self)
        } : []
      parts.append((Int(slot.length), bytes, fault))
      if slot.flags.contains(.moreFragments) { continue }
      if let fault = parts.last(where: { $0.fault != nil })?.fault {
        // The last slot with a fault names the reason, but for the first slot.
        result.append(.dropped(fault))
      } else if parts[0].length < 14 {
        result.append(.dropped(.tooShort))
      } else {
        result.append(.delivered(parts.flatMap(\.bytes)))
      }
      parts = []
    }
    return result
  }
}
