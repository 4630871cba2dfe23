/// The numbers and sizes of the objects in a region: the three pools of netmap(4).
///
/// Sizes are in bytes. The ranges are netmap's own (tunables `if_size`, `ring_num`, `buf_num`, ...);
/// ``validate(isPrivate:)`` checks them.
package struct RegionParameters: Hashable, Sendable {
  /// Size of a `netmap_if` object: 56...4096 bytes.
  package var interfaceSize: Int
  /// Number of `netmap_if` objects: 1...100 in a private region, 10...10000 in the global one.
  package var interfaceCount: Int

  /// Size of a ring object: 256...131072 bytes; the number of ring objects is 2...1024.
  package var ringSize: Int
  package var ringCount: Int

  /// Size of a packet buffer: a power of two, 64...65536 bytes; the number of buffers is 4...1000000.
  package var bufferSize: Int
  package var bufferCount: Int

  package init(
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
  package static let global = RegionParameters(
    interfaceCount: 100, ringSize: 36_864, ringCount: 200, bufferCount: 16_384)

  /// The most buffers that ``sized(for:)`` plans for more than one interface: netmap's own default.
  private static let plannedBufferCount = 163_840

  /// The parameters of a region that an interface with these rings is the first to use.
  ///
  /// Only the numbers of ``global`` change, because others are the user's choice. AF_XDP locks all buffers, so an interface with
  /// few rings should not pay for many. One with many rings gets room for its own slots and for three times as many: a
  /// second interface of its kind, and pipes.
  package func sized(for geometry: PortGeometry) -> RegionParameters {
    let rings =
      geometry.transmitRings + geometry.receiveRings + geometry.hostTransmitRings
      + geometry.hostReceiveRings
    let slots =
      (geometry.transmitRings + geometry.hostTransmitRings) * geometry.transmitSlots
      + (geometry.receiveRings + geometry.hostReceiveRings) * geometry.receiveSlots
    var result = self
    if bufferCount == Self.global.bufferCount {
      result.bufferCount = max(
        bufferCount, min(4 * slots, Self.plannedBufferCount), min(slots + 4096, 1_000_000))
    }
    if ringCount == Self.global.ringCount {
      result.ringCount = max(ringCount, min(4 * rings, 1024))
    }
    return result
  }

  /// The region that all NIC ports share, with other numbers of objects than ``global``'s.
  ///
  /// - Parameter counts: The numbers; nil entries keep the default.
  /// - Returns: The parameters.
  /// - Throws: ``NetmapError`` `EINVAL` for a number out of range.
  package static func global(_ counts: SharedRegionCounts) throws(NetmapError) -> RegionParameters {
    var result = global
    if let buffers = counts.buffers { result.bufferCount = buffers }
    if let rings = counts.rings { result.ringCount = rings }
    if let interfaces = counts.interfaces { result.interfaceCount = interfaces }
    try result.validate(isPrivate: false)
    return result
  }

  /// The parameters of a private region for one virtual port and the pipes that clients will open on it.
  ///
  /// netmap sizes such a region for two pipes. Here the host allocates memory only on first touch, so the region
  /// has room for all the pipes that a port may have, as long as its buffers stay below ``roomyByteLimit``. It is
  /// never smaller than netmap's own formula gives.
  package static func virtualPort(
    _ geometry: PortGeometry, extraBuffers: Int, _ least: Minimums = .standard
  ) -> RegionParameters {
    let (tx, rx) = (geometry.transmitRings, geometry.receiveRings)
    let ringBytes = 256 + 16 * max(geometry.transmitSlots, geometry.receiveSlots)
    let slotsPerPipe = tx * geometry.transmitSlots + rx * geometry.receiveSlots
    // One host ring of each direction counts even on a port without host rings, as in netmap's formula.
    let ownSlots = slotsPerPipe + geometry.transmitSlots + geometry.receiveSlots

    func parameters(pipes: Int) -> RegionParameters {
      RegionParameters(
        interfaceSize: max(least.interfaceSize, 56 + 8 * (tx + rx + 2)),
        interfaceCount: min(max(least.interfaceCount, 2 + 4 * pipes), 100),
        ringSize: max(least.ringSize, ringBytes),
        ringCount: min(max(least.ringCount, tx + rx + 2 + 2 * pipes * (tx + rx)), 1024),
        bufferSize: least.bufferSize,
        bufferCount: min(
          max(least.bufferCount, 2 * pipes * slotsPerPipe + ownSlots + 2 + extraBuffers), 1_000_000)
      )
    }
    var pipes = EngineLimits.pipesPerPort
    while pipes > 2, parameters(pipes: pipes).bufferCount * least.bufferSize > roomyByteLimit {
      pipes /= 2
    }
    return parameters(pipes: pipes)
  }

  /// The parameters of a private region for one monitor: exactly enough for its rings, because no other port lies there.
  package static func monitor(
    _ geometry: PortGeometry, extraBuffers: Int, _ least: Minimums = .standard
  ) -> RegionParameters {
    let (tx, rx) = (geometry.rings(.transmit), geometry.rings(.receive))
    return RegionParameters(
      interfaceSize: max(least.interfaceSize, 56 + 8 * (tx + rx + 2)),
      interfaceCount: max(least.interfaceCount, 2),
      ringSize: max(least.ringSize, 256 + 16 * max(geometry.transmitSlots, geometry.receiveSlots)),
      ringCount: max(least.ringCount, tx + rx), bufferSize: least.bufferSize,
      bufferCount: min(
        max(
          least.bufferCount,
          tx * geometry.transmitSlots + rx * geometry.receiveSlots + Region.reservedBuffers
            + extraBuffers), 1_000_000))
  }

  /// The parameters of a region for a network interface and the switch ports attached to it: exactly enough for
  /// their rings, because the kernel may lock all of the region's memory.
  ///
  /// - Parameter ports: The rings that are used: those of the interface, and of each port.
  /// - Returns: The parameters.
  package static func interfaceOnSwitch(_ ports: [PortGeometry]) -> RegionParameters {
    func sum(_ value: (PortGeometry) -> Int) -> Int { ports.reduce(0) { $0 + value($1) } }
    let slots = ports.map { max($0.transmitSlots, $0.receiveSlots) }.max() ?? 0
    let names = ports.map { InterfaceObject.byteCount(ringCount: InterfaceObject.ringCount($0)) }
    return RegionParameters(
      interfaceSize: max(1024, names.max() ?? 0), interfaceCount: 2 * ports.count,
      ringSize: max(20_480, 256 + 16 * slots),
      ringCount: max(4, sum { $0.rings(.transmit) + $0.rings(.receive) }),
      bufferCount: max(
        4098,
        sum { $0.rings(.transmit) * $0.transmitSlots + $0.rings(.receive) * $0.receiveSlots }
          + Region.reservedBuffers))
  }

  /// The range of buffer sizes, in bytes; sizes are powers of two.
  package static let bufferSizes = Ranges.bufferSize

  /// netmap's ranges of sizes, in bytes, and of numbers of objects.
  enum Ranges {
    static let interfaceSize = 56...4096
    static let interfaceCount = 10...10_000
    static let privateInterfaceCount = 1...100
    static let ringSize = 256...131_072
    static let ringCount = 2...1024
    static let bufferSize = 64...65_536
    static let bufferCount = 4...1_000_000
  }

  /// What a region of one port has at least; its buffers have exactly this size (tunables `priv_if_size`,
  /// `priv_if_num` and so on).
  package struct Minimums: Hashable, Sendable {
    package var interfaceSize = 1024
    package var interfaceCount = 2
    package var ringSize = 20_480
    package var ringCount = 4
    package var bufferSize = 2048
    package var bufferCount = 4098

    package static let standard = Minimums()
  }

  /// The limit in bytes up to which a private region has room for every pipe that its port may have.
  package static let roomyByteLimit = 512 << 20

  /// Rejects sizes and counts outside netmap's ranges.
  ///
  /// - Throws: ``NetmapError`` `EINVAL`, naming the value and its range.
  package func validate(isPrivate: Bool) throws(NetmapError) {
    let checks: [(String, Int, ClosedRange<Int>)] = [
      ("netmap_if size", interfaceSize, Ranges.interfaceSize),
      (
        "number of netmap_if objects", interfaceCount,
        isPrivate ? Ranges.privateInterfaceCount : Ranges.interfaceCount
      ),
      ("ring size", ringSize, Ranges.ringSize),
      ("number of rings", ringCount, Ranges.ringCount),
      ("buffer size", bufferSize, Ranges.bufferSize),
      ("number of buffers", bufferCount, Ranges.bufferCount),
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
