import NetmapCore
import Synchronization
import Testing

/// The values that a backend gets for a slot while other processes overwrite it.
@Suite("Slot validation")
struct SlotValidationTests {
  private static func fixture() throws -> (probe: RegionProbe, port: TestPort) {
    let interfaces = FakeInterfaces.probed()
    let engine = try Engine(interfaces: interfaces)
    let probe = try RegionProbe(engine, interfaces)
    return (probe, try TestPort(engine, "fake0"))
  }

  static let values: [UInt64] = [
    0, 1, 2047, 2048, 2049, 65_536, 1 << 31, 1 << 32, 1 << 62, 1 << 63, (1 << 63) + 1, .max,
  ]

  @Test("a packet lies within its buffer for any offset, mask and limit")
  func values() throws {
    let (probe, port) = try Self.fixture()
    let ring = port.tx()
    let ownership = probe.region.ownership
    for pointer in Self.values {
      for limit in Self.values {
        for length: UInt16 in [0, 60, 2048, .max] {
          unsafe ring.mapped.kring.offsetMask = .max
          unsafe ring.mapped.kring.offsetMax = limit
          let buffer = ring[0].bufferIndex
          ring[0] = Slot(bufferIndex: buffer, length: length, pointer: pointer)
          let slot = unsafe ring.mapped.readSlot(0, ownership)
          #expect(slot.buffer == buffer)
          #expect(slot.offset >= 0 && slot.length >= 0 && slot.offset + slot.length <= 2048)
          #expect(slot.offset == Int(min(pointer, limit, 2048)))
        }
      }
    }
  }

  @Test("a packet lies within its buffer while another thread rewrites all of them")
  func rewritten() throws {
    let (probe, port) = try Self.fixture()
    let ring = port.tx()
    let isDone = Atomic(false)
    let (buffer, other) = (ring[0].bufferIndex, ring[1].bufferIndex)
    nonisolated(unsafe) let shared = ring
    let writer = BackgroundThread {
      var index = 0
      while !isDone.load(ordering: .relaxed) {
        index &+= 1
        let value = Self.values[index % Self.values.count]
        unsafe shared.mapped.kring.offsetMask = value
        unsafe shared.mapped.kring.offsetMax = Self.values[index / 5 % Self.values.count]
        unsafe shared[0] = Slot(
          bufferIndex: index % 3 == 0 ? other : index % 7 == 0 ? .max : buffer,
          length: UInt16(truncatingIfNeeded: index), pointer: ~value)
      }
    }
    for _ in 0..<300_000 {
      let slot = unsafe ring.mapped.lendSlot(0, probe.region.ownership)
      guard slot.offset >= 0, slot.length >= 0, slot.offset + slot.length <= 2048,
        slot.buffer == 0 || probe.region.ownership.takeBack(slot.buffer)
      else {
        Issue.record("\(slot)")
        break
      }
    }
    isDone.store(true, ordering: .relaxed)
    writer.join()
  }
}
