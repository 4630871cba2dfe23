internal import Glibc
internal import NetmapCore
internal import NetmapRequests

// From the types of requests in a program's memory to those of the engine.

extension PortName {
  /// - Throws: ``RequestErrno`` `ENXIO` for an empty name, `EINVAL` for one that cannot be a port's.
  init(_ name: RequestName) throws(RequestErrno) {
    guard !name.isEmpty else { throw RequestErrno(rawValue: ENXIO) }
    do throws(NetmapError) { try self.init(bytes: name) } catch { throw RequestErrno(error) }
  }
}

extension RegisterRequest {
  /// - Throws: ``RequestErrno`` `EINVAL` for an unknown mode, and as ``PortName/init(_:)``.
  init(_ call: RegisterCall) throws(RequestErrno) {
    try self.init(call.name, call.binding)
    offsets = call.offsets.map {
      OffsetsOption(
        max: $0.maximum, initial: $0.initial, bits: $0.bits, minimumGap: $0.minimumGap)
    }
  }

  init(_ name: RequestName, _ binding: RequestedBinding) throws(RequestErrno) {
    let selection: RingSelection
    do throws(NetmapError) {
      selection = try RingSelection(rawMode: binding.mode, ringID: binding.ringID)
    } catch {
      throw RequestErrno(error)
    }
    // A null port may have any name, also none.
    let isNameless = selection == .null && name.isEmpty
    self.init(
      name: try isNameless ? PortName(RequestName("null".utf8)) : PortName(name),
      selection: selection, flags: BindingFlags(rawValue: binding.flags.rawValue),
      memoryID: binding.memoryID, hints: RingGeometryHints(binding.hints),
      extraBuffers: Int(binding.extraBuffers))
  }

  init(_ name: RequestName, _ hints: RingCounts, memoryID: UInt16) throws(RequestErrno) {
    self.init(
      name: try PortName(name), memoryID: memoryID, hints: RingGeometryHints(hints))
  }
}

extension RingGeometryHints {
  init(_ counts: RingCounts) {
    self.init(
      transmitSlots: counts.transmitSlots, receiveSlots: counts.receiveSlots,
      transmitRings: counts.transmitRings, receiveRings: counts.receiveRings,
      hostTransmitRings: counts.hostTransmitRings, hostReceiveRings: counts.hostReceiveRings)
  }
}

extension RingCounts {
  init(_ geometry: PortGeometry) {
    self.init()
    transmitSlots = UInt32(clamping: geometry.transmitSlots)
    receiveSlots = UInt32(clamping: geometry.receiveSlots)
    transmitRings = UInt16(clamping: geometry.transmitRings)
    receiveRings = UInt16(clamping: geometry.receiveRings)
    hostTransmitRings = UInt16(clamping: geometry.hostTransmitRings)
    hostReceiveRings = UInt16(clamping: geometry.hostReceiveRings)
  }
}

extension PoolsDescription.Pool {
  init(_ pool: RegionLayout.Pool) {
    self.init(
      offset: UInt64(pool.offset), objectCount: UInt32(clamping: pool.count),
      objectSize: UInt32(clamping: pool.size))
  }
}

extension ProgramMemory {
  /// - Parameters:
  ///   - pools: What the program asks for.
  ///   - origin: What its pages are.
  init(_ pools: PoolsDescription, _ origin: Origin?) {
    self.init(
      byteCount: Int(clamping: pools.memorySize),
      objects: RegionParameters(
        interfaceSize: Int(pools.interfaces.objectSize),
        interfaceCount: Int(pools.interfaces.objectCount),
        ringSize: Int(pools.rings.objectSize), ringCount: Int(pools.rings.objectCount),
        bufferSize: Int(pools.buffers.objectSize), bufferCount: Int(pools.buffers.objectCount)),
      origin: origin)
  }
}

extension PoolsDescription {
  /// Replaces zeros by netmap's defaults, which the program gets to see.
  mutating func fillIn(_ defaults: RegionParameters) {
    interfaces.fillIn(defaults.interfaceCount, defaults.interfaceSize)
    rings.fillIn(defaults.ringCount, defaults.ringSize)
    buffers.fillIn(defaults.bufferCount, defaults.bufferSize)
  }
}

extension PoolsDescription.Pool {
  fileprivate mutating func fillIn(_ count: Int, _ size: Int) {
    if objectCount == 0 { objectCount = UInt32(clamping: count) }
    if objectSize == 0 { objectSize = UInt32(clamping: size) }
  }
}

extension PollingCPUs {
  /// - Throws: ``RequestErrno`` `EINVAL` for an unknown mode.
  init(_ call: PollingCall) throws(RequestErrno) {
    // NETMAP_POLLING_MODE_SINGLE_CPU and NETMAP_POLLING_MODE_MULTI_CPU
    switch call.mode {
    case 1: self = .one(Int(call.firstCPU))
    case 2: self = .each(first: Int(call.firstCPU), count: Int(call.cpuCount))
    default: throw .invalidArgument
    }
  }
}
