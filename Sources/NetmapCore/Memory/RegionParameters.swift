/// How many objects of which size a region holds: the three pools of netmap(4).
///
/// Sizes are bytes. The ranges are netmap's own (tunables `if_size`, `ring_num`, `buf_num`, ...);
/// they are checked by ``validate(isPrivate:)``.
public struct RegionParameters: Hashable, Sendable {
  /// `netmap_if` objects: 56...4096 bytes each.
  public var interfaceSize: Int
  /// 1...100 in a private region, 10...10000 in the global one.
  public var interfaceCount: Int

  /// Ring objects: 256...131072 bytes each, 2...1024 of them.
  public var ringSize: Int
  public var ringCount: Int

  /// Packet buffers: a power of two, 64...65536 bytes each, 4...1000000 of them.
  public var bufferSize: Int
  public var bufferCount: Int

  public init(
    interfaceSize: Int = 1024, interfaceCount: Int, ringSize: Int, ringCount: Int,
    bufferSize: Int = 2048, bufferCount: Int
  ) {
    self.interfaceSize = interfaceSize
    self.interfaceCount = interfaceCount
    self.ringSize = ringSize
    self.ringCount = ringCount
    self.bufferSize = bufferSize
    self.bufferCount = bufferCount
  }

  /// The region that all NIC ports share, `nr_mem_id` 1.
  public static let global = RegionParameters(
    interfaceCount: 100, ringSize: 36_864, ringCount: 200, bufferCount: 16_384)

  /// A region of its own for one virtual port and the pipes that will be opened on it.
  ///
  /// netmap sizes such a region for two pipes. Memory here is taken only when touched, so it is sized
  /// for all the pipes a port may have while that stays below ``roomyByteLimit``; never smaller than
  /// netmap's own formula.
  package static func virtualPort(_ geometry: PortGeometry, extraBuffers: Int) -> RegionParameters {
    let (tx, rx) = (geometry.transmitRings, geometry.receiveRings)
    let ringBytes = 256 + 16 * max(geometry.transmitSlots, geometry.receiveSlots)
    let slotsPerPipe = tx * geometry.transmitSlots + rx * geometry.receiveSlots
    // One host ring of each direction is counted even where there is none: netmap's layout has it.
    let ownSlots = slotsPerPipe + geometry.transmitSlots + geometry.receiveSlots

    func parameters(pipes: Int) -> RegionParameters {
      RegionParameters(
        interfaceSize: max(1024, 56 + 8 * (tx + rx + 2)),
        interfaceCount: min(max(2, 2 + 4 * pipes), 100),
        ringSize: max(20_480, ringBytes),
        ringCount: min(max(4, tx + rx + 2 + 2 * pipes * (tx + rx)), 1024),
        bufferCount: min(
          max(4098, 2 * pipes * slotsPerPipe + ownSlots + 2 + extraBuffers), 1_000_000))
    }
    var pipes = EngineLimits.pipesPerPort
    while pipes > 2, parameters(pipes: pipes).bufferCount * 2048 > roomyByteLimit { pipes /= 2 }
    return parameters(pipes: pipes)
  }

  /// A region for an interface and the switch port that it gets: exactly their rings, as the kernel may
  /// lock all of it.
  package static func interfaceOnSwitch(
    _ interface: PortGeometry, _ port: PortGeometry
  ) -> RegionParameters {
    let ports = [interface, port]
    func sum(_ value: (PortGeometry) -> Int) -> Int { ports.reduce(0) { $0 + value($1) } }
    let slots = ports.map { max($0.transmitSlots, $0.receiveSlots) }.max() ?? 0
    let names = ports.map { InterfaceObject.byteCount(ringCount: InterfaceObject.ringCount($0)) }
    return RegionParameters(
      interfaceSize: max(1024, names.max() ?? 0), interfaceCount: 4,
      ringSize: max(20_480, 256 + 16 * slots),
      ringCount: max(4, sum { $0.transmitRings + $0.receiveRings }),
      bufferCount: max(
        4098,
        sum { $0.transmitRings * $0.transmitSlots + $0.receiveRings * $0.receiveSlots }
          + Region.reservedBuffers))
  }

  /// Sizes that a buffer can have, bytes; powers of two.
  package static let bufferSizes = 64...65_536

  /// The size up to which a private region has room for every pipe its port may have.
  package static let roomyByteLimit = 512 << 20

  /// Refuses sizes and counts outside netmap's ranges.
  ///
  /// - Throws: ``NetmapError`` `EINVAL`, naming the value and its range.
  package func validate(isPrivate: Bool) throws(NetmapError) {
    let checks: [(String, Int, ClosedRange<Int>)] = [
      ("netmap_if size", interfaceSize, 56...4096),
      ("number of netmap_if objects", interfaceCount, isPrivate ? 1...100 : 10...10_000),
      ("ring size", ringSize, 256...131_072),
      ("number of rings", ringCount, 2...1024),
      ("buffer size", bufferSize, Self.bufferSizes),
      ("number of buffers", bufferCount, 4...1_000_000),
    ]
    for (what, value, range) in checks where !range.contains(value) {
      throw NetmapError(
        .invalidArgument, "create", "memory region",
        reason: "the \(what), \(value), is outside \(range.lowerBound)...\(range.upperBound)",
        remedy: "ask for fewer or smaller rings and buffers")
    }
    guard bufferSize & (bufferSize - 1) == 0 else {
      throw NetmapError(
        .invalidArgument, "create", "memory region",
        reason: "the buffer size, \(bufferSize), is not a power of two",
        remedy: "use 2048, or 4096 for jumbo frames")
    }
  }
}
