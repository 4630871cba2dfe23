import NetmapCore
import NetmapTestSupport
import Testing

@Suite("Memory of a program: layout")
struct ProgramMemoryTests {
  static func memory(_ byteCount: Int, _ change: (inout RegionParameters) -> Void = { _ in })
    -> ProgramMemory
  {
    var objects = ProgramMemory.defaults
    change(&objects)
    return ProgramMemory(byteCount: byteCount, objects: objects)
  }

  @Test("64 rings of 512 bytes and 4096 buffers fit 8423424 bytes, in netmap's places")
  func exact() throws {
    let memory = Self.memory(8_423_424) {
      $0.ringSize = 512
      $0.ringCount = 64
      $0.bufferCount = 4096
    }
    let layout = try memory.layout
    #expect(layout.interfaces == .init(offset: 0, size: 1024, count: 2))
    #expect(layout.rings == .init(offset: pageSize, size: 512, count: 64))
    #expect(layout.buffers == .init(offset: pageSize + 64 * 512, size: 2048, count: 4096))
    #expect(layout.bufferBase == layout.buffers.offset)
    #expect(layout.isExact && !RegionLayout(.global).isExact)
    // The last buffer ends with the last page that the program gave.
    #expect(layout.shownByteCount == layout.buffers.offset + layout.buffers.byteCount)
  }

  @Test("what the objects leave of the memory becomes buffers")
  func surplus() throws {
    let memory = Self.memory(64 << 20)
    let layout = try memory.layout
    #expect(layout.buffers.count > 32_000)
    #expect(layout.buffers.offset + layout.buffers.byteCount <= 64 << 20)
    #expect(layout.shownByteCount == 64 << 20)
  }

  @Test("objects that do not fit, and sizes of 0 or beyond all memory, are ENOMEM")
  func tooLittle() {
    for byteCount in [0, 1, 4096, 8_476_671, ProgramMemory.byteLimit + 1, .max] {
      let error = #expect(throws: NetmapError.self) { try Self.memory(byteCount).layout }
      #expect(error?.code == .outOfMemory)
      #expect(error?.remedy.isEmpty == false)
    }
    #expect(throws: Never.self) { try Self.memory(8_476_672).layout }
    // All memory is taken by the padding of the pools.
    let error = #expect(throws: NetmapError.self) {
      try Self.memory(3 * 64 + 256 + 128) {
        $0.interfaceSize = 64
        $0.interfaceCount = 1
        $0.ringSize = 256
        $0.ringCount = 1
        $0.bufferSize = 64
        $0.bufferCount = 3
      }.layout
    }
    #expect(error?.code == .outOfMemory)
  }

  @Test("sizes and counts that no object can have are EINVAL, with the value and the rule")
  func wrongSizes() {
    let changes: [(String, (inout RegionParameters) -> Void)] = [
      ("netmap_if size, 63", { $0.interfaceSize = 63 }),
      ("netmap_if size, 1001", { $0.interfaceSize = 1001 }),
      ("netmap_if objects, 10001", { $0.interfaceCount = 10_001 }),
      ("ring size, 255", { $0.ringSize = 255 }),
      ("ring size, 20481", { $0.ringSize = 20_481 }),
      ("ring size, 4294967295", { $0.ringSize = Int(UInt32.max) }),
      ("number of rings, 4294967295", { $0.ringCount = Int(UInt32.max) }),
      ("buffer size, 32", { $0.bufferSize = 32 }),
      ("buffer size, 100", { $0.bufferSize = 100 }),
      ("buffer size, 65600", { $0.bufferSize = 65_600 }),
      ("number of buffers, 4294967295", { $0.bufferCount = Int(UInt32.max) }),
    ]
    for (text, change) in changes {
      let error = #expect(throws: NetmapError.self) { try Self.memory(1 << 30, change).layout }
      #expect(error?.code == .invalidArgument)
      #expect(error?.description.contains(text) == true, "\(text)")
    }
  }

  @Test("random sizes give a layout whose objects lie inside the memory, or a refusal")
  func random() throws {
    var generator = SeededGenerator(seed: 85)
    var made = 0
    for _ in 0..<20_000 {
      let memory = Self.memory(Int.random(in: 0...64 << 20, using: &generator)) {
        $0.interfaceSize = 8 * Int.random(in: 0...300, using: &generator)
        $0.interfaceCount = Int.random(in: 0...40, using: &generator)
        $0.ringSize = 128 * Int.random(in: 0...300, using: &generator)
        $0.ringCount = Int.random(in: 0...100, using: &generator)
        $0.bufferSize = 64 * Int.random(in: 0...64, using: &generator)
        $0.bufferCount = Int.random(in: 0...20_000, using: &generator)
      }
      guard let layout = try? memory.layout else { continue }
      made += 1
      #expect(layout.interfaces.byteCount <= layout.rings.offset)
      #expect(layout.rings.offset + layout.rings.byteCount <= layout.buffers.offset)
      #expect(layout.buffers.offset + layout.buffers.byteCount <= layout.shownByteCount)
      #expect(layout.shownByteCount == pageRounded(memory.byteCount))
      #expect(layout.byteCount > layout.shownByteCount)
      #expect(layout.rings.offset % 128 == 0 && layout.rings.size % 128 == 0)
    }
    #expect(made > 100)
  }
}
