import NetmapCore
import Testing

@Suite("Region layout")
struct RegionLayoutTests {
  static let shapes: [RegionParameters] = [
    .global,
    RegionParameters(
      interfaceSize: 56, interfaceCount: 1, ringSize: 256, ringCount: 2, bufferSize: 64,
      bufferCount: 4),
    RegionParameters(
      interfaceSize: 1000, interfaceCount: 7, ringSize: 20_480, ringCount: 5, bufferSize: 4096,
      bufferCount: 33),
    RegionParameters(
      interfaceSize: 4096, interfaceCount: 100, ringSize: 131_072, ringCount: 3,
      bufferSize: 65_536, bufferCount: 5),
  ]

  @Test("the pools follow each other: interfaces, rings, buffers", arguments: shapes)
  func order(parameters: RegionParameters) {
    let layout = RegionLayout(parameters)
    #expect(layout.interfaces.offset == 0)
    #expect(layout.rings.offset >= layout.interfaces.byteCount)
    #expect(layout.buffers.offset >= layout.rings.offset + layout.rings.byteCount)
    #expect(layout.interfaces.count == parameters.interfaceCount)
    #expect(layout.rings.count == parameters.ringCount)
    #expect(layout.buffers.count == parameters.bufferCount)
  }

  @Test(
    "the buffer pool starts on a page, and the region consists of whole pages", arguments: shapes)
  func pages(parameters: RegionParameters) {
    let layout = RegionLayout(parameters)
    #expect(layout.buffers.offset % pageSize == 0)
    #expect(layout.byteCount % pageSize == 0)
  }

  @Test("the distance between buffers is their size, a power of two", arguments: shapes)
  func stride(parameters: RegionParameters) {
    let layout = RegionLayout(parameters)
    #expect(layout.buffers.size == parameters.bufferSize)
    #expect(layout.buffers.size.nonzeroBitCount == 1)
  }

  @Test("one spare chunk follows the last buffer", arguments: shapes)
  func spareChunk(parameters: RegionParameters) {
    let layout = RegionLayout(parameters)
    let poolEnd = layout.buffers.offset + layout.buffers.byteCount
    #expect(layout.byteCount >= poolEnd + layout.buffers.size)
    #expect(layout.byteCount < poolEnd + max(layout.buffers.size, layout.headroom) + pageSize)
    let lastBufferEnd = layout.bufferBase + layout.buffers.count * layout.buffers.size
    #expect(lastBufferEnd <= layout.byteCount)
  }

  @Test(
    "buffer 0 begins 256 bytes into the first chunk, and later with other cache colors",
    arguments: shapes)
  func headroom(parameters: RegionParameters) {
    let bases = (0..<RegionLayout.cacheColors).map { cacheColor in
      let layout = RegionLayout(parameters, cacheColor: cacheColor)
      let end = layout.bufferBase + layout.buffers.count * layout.buffers.size
      #expect(end <= layout.byteCount)
      #expect(layout.headroom + 1514 <= 2048, "a chunk still holds an Ethernet frame")
      return layout.bufferBase - layout.buffers.offset
    }
    #expect(bases == [256, 320, 384, 448, 512])
    #expect(RegionLayout(parameters).headroom == 256)
    #expect(RegionLayout(parameters, cacheColor: RegionLayout.cacheColors).headroom == 256)
  }

  @Test("consecutive private regions differ in cache color")
  func cacheColors() throws {
    let parameters = RegionParameters(
      interfaceCount: 1, ringSize: 256, ringCount: 2, bufferCount: 4)
    let headrooms = try (2...7).map {
      try Region(id: $0, isPrivate: true, parameters).layout.headroom
    }
    for (one, next) in zip(headrooms, headrooms.dropFirst()) { #expect(abs(one - next) >= 128) }
    #expect(Set(headrooms).count == RegionLayout.cacheColors)
  }

  @Test("objects have the requested size and the ABI's alignment", arguments: shapes)
  func alignment(parameters: RegionParameters) {
    let layout = RegionLayout(parameters)
    #expect(layout.interfaces.size >= parameters.interfaceSize)
    #expect(layout.interfaces.size % 64 == 0)
    #expect(layout.rings.size >= parameters.ringSize)
    #expect(layout.rings.size % 128 == 0)
    #expect(layout.rings.offset % 128 == 0)
  }

  @Test(
    "buf_ofs leads from any ring to every buffer, by the formula of NETMAP_BUF", arguments: shapes)
  func bufferOffset(parameters: RegionParameters) {
    let layout = RegionLayout(parameters)
    for ring in 0..<layout.rings.count {
      let ringOffset = layout.rings.offset(of: ring)
      let bufOfs = layout.bufferOffset(fromRingAt: ringOffset)
      for index in [0, 1, layout.buffers.count - 1] {
        // (char *)ring + ring->buf_ofs + index * ring->nr_buf_size
        let address = ringOffset + Int(bufOfs) + index * parameters.bufferSize
        #expect(address == layout.bufferBase + index * parameters.bufferSize)
        #expect(address + parameters.bufferSize <= layout.byteCount)
      }
    }
  }

  @Test("rings begin on pages, so that equal slots of two rings agree in their low address bits")
  func ringStride() {
    for size in [256, 4096, 20_480, 36_864] {
      let layout = RegionLayout(
        RegionParameters(interfaceCount: 1, ringSize: size, ringCount: 2, bufferCount: 4))
      #expect(layout.rings.size >= size)
      #expect(layout.rings.size % 4096 == 0)
      #expect(layout.rings.offset % 4096 == 0)
    }
  }
}

@Suite("Region limits")
struct RegionLimitTests {
  /// A value, its range, and its name in messages.
  struct Limit: Sendable, CustomTestStringConvertible {
    let name: String
    let range: ClosedRange<Int>
    let isPrivate: Bool
    let set: @Sendable (inout RegionParameters, Int) -> Void
    var testDescription: String { "\(name), \(isPrivate ? "private" : "global")" }
  }

  static let limits: [Limit] = [
    Limit(name: "netmap_if size", range: 56...4096, isPrivate: true) { $0.interfaceSize = $1 },
    Limit(name: "number of netmap_if objects", range: 1...100, isPrivate: true) {
      $0.interfaceCount = $1
    },
    Limit(name: "number of netmap_if objects", range: 10...10_000, isPrivate: false) {
      $0.interfaceCount = $1
    },
    Limit(name: "ring size", range: 256...131_072, isPrivate: true) { $0.ringSize = $1 },
    Limit(name: "number of rings", range: 2...1024, isPrivate: true) { $0.ringCount = $1 },
    Limit(name: "buffer size", range: 64...65_536, isPrivate: true) { $0.bufferSize = $1 },
    Limit(name: "number of buffers", range: 4...1_000_000, isPrivate: true) { $0.bufferCount = $1 },
  ]

  static func sound() -> RegionParameters {
    RegionParameters(interfaceCount: 10, ringSize: 4096, ringCount: 4, bufferCount: 8)
  }

  @Test(
    "both ends of each range are allowed; one beyond is EINVAL, with the name and the range",
    arguments: limits)
  func ranges(limit: Limit) throws {
    for value in [limit.range.lowerBound, limit.range.upperBound] {
      var parameters = Self.sound()
      limit.set(&parameters, value)
      try parameters.validate(isPrivate: limit.isPrivate)
    }
    for value in [limit.range.lowerBound - 1, limit.range.upperBound + 1, -1, .max] {
      var parameters = Self.sound()
      limit.set(&parameters, value)
      let error = #expect(throws: NetmapError.self) {
        try parameters.validate(isPrivate: limit.isPrivate)
      }
      #expect(error?.code == .invalidArgument)
      #expect(error?.description.contains(limit.name) == true)
      #expect(error?.description.contains("\(value)") == true)
      #expect(
        error?.description.contains("\(limit.range.lowerBound)...\(limit.range.upperBound)")
          == true)
      #expect(error?.remedy.isEmpty == false)
    }
  }

  @Test(
    "a buffer size other than a power of two is EINVAL", arguments: [65, 100, 2047, 3000, 65_535])
  func powerOfTwo(size: Int) {
    var parameters = Self.sound()
    parameters.bufferSize = size
    let error = #expect(throws: NetmapError.self) { try parameters.validate(isPrivate: true) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.reason.contains("\(size)") == true)
    #expect(error?.remedy.contains("2048") == true)
  }

  @Test("a region with sizes out of range is refused")
  func regionInit() {
    var parameters = Self.sound()
    parameters.ringCount = 1
    #expect(throws: NetmapError.self) { try Region(id: 9, isPrivate: true, parameters) }
  }
}
