package import NetmapCore

// The encoding of register requests and their answers in messages.

extension MessageWriter {
  package mutating func put(_ request: RegisterRequest) {
    put(bytes: request.name.bytes)
    put(request.selection.rawMode)
    put(request.selection.ringID)
    put(request.flags.rawValue)
    put(request.extensions.rawValue)
    put(request.memoryID)
    let hints = request.hints
    for value in [hints.transmitSlots, hints.receiveSlots] { put(value) }
    for value in [
      hints.transmitRings, hints.receiveRings, hints.hostTransmitRings, hints.hostReceiveRings,
    ] {
      put(value)
    }
    put(Int64(request.extraBuffers))
    put(UInt8(request.offsets == nil ? 0 : 1))
    let offsets = request.offsets ?? OffsetsOption(max: 0, initial: 0)
    put(offsets.max)
    put(offsets.initial)
    put(offsets.bits)
    put(offsets.minimumGap)
    put(request.backend?.name?.rawValue ?? "")
    put(request.backend?.mode?.rawValue ?? "")
    put(UInt8(request.memory == nil ? 0 : 1))
    if let memory = request.memory { put(memory) }
  }

  private mutating func put(_ memory: ProgramMemory) {
    put(UInt64(clamping: memory.byteCount))
    let objects = memory.objects
    for number in [
      objects.interfaceSize, objects.interfaceCount, objects.ringSize, objects.ringCount,
      objects.bufferSize, objects.bufferCount,
    ] { put(UInt32(clamping: number)) }
    put(UInt8(memory.origin == nil ? 0 : 1))
    guard let origin = memory.origin else { return }
    for number in [origin.device, origin.file, origin.birth, origin.offset] { put(number) }
  }

  /// Writes everything but the region and the sync segment, which travel as descriptors.
  package mutating func put(_ registration: Registration) {
    put(registration.id.number)
    put(bytes: registration.name.bytes)
    put(UInt32(registration.bindingIndex))
    put(UInt64(registration.interfaceOffset))
    put(UInt64(registration.memorySize))
    put(registration.memoryID)
    put(registration.geometry)
    put(UInt32(registration.extraBuffers))
    put(optional: registration.offsetMax)
    put(UInt8(registration.backend == nil ? 0 : 1))
    put(registration.backend?.name ?? "")
    put(registration.backend?.mode ?? "")
    put(registration.backend?.refusals ?? [])
    put(registration.backend?.remarks ?? [])
    put(registration.monitors)
    put(optional: registration.monitored)
    put(registration.defaults.rawValue)
  }

  /// Writes everything but the switch's segment, which travels as a descriptor.
  package mutating func put(_ place: SwitchAddress?) {
    put(UInt8(place == nil ? 0 : 1))
    guard let place else { return }
    put(place.serial)
    put(UInt8(place.index))
    put(place.generation)
  }

  package mutating func put(_ geometry: PortGeometry) {
    for value in [
      geometry.transmitRings, geometry.receiveRings, geometry.transmitSlots,
      geometry.receiveSlots, geometry.hostTransmitRings, geometry.hostReceiveRings,
    ] {
      put(UInt32(value))
    }
  }
}

/// When a process no longer uses its views of a port's rings.
package enum ViewEnd: UInt8, Sendable {
  /// When the process says so (``Message/Kind/forget``), or ends.
  ///
  /// For programs whose views outlive the descriptor.
  case whenForgotten = 0
  /// When the last copy of the token is closed, in any process, and no sync of the process is in progress any more.
  ///
  /// For programs to which the descriptor is the port, as in C. A process that syncs through a view after that disturbs
  /// other ports of its trust domain.
  case withToken = 1
}

extension MessageWriter {
  /// Writes the client that asks to use a port's rings.
  package mutating func put(client rawTag: UInt64, viewEnd: ViewEnd = .whenForgotten) {
    put(rawTag)
    put(viewEnd.rawValue)
  }

  /// Writes a question for a port's information; without a request, for that of a region alone.
  package mutating func put(portInfo request: RegisterRequest?, memoryID: UInt16) {
    put(UInt8(request == nil ? 0 : 1))
    put(memoryID)
    if let request { put(request) }
  }

  package mutating func put(_ info: PortInfo) {
    put(UInt64(info.memorySize))
    put(info.memoryID)
    put(UInt8(info.geometry == nil ? 0 : 1))
    put(info.geometry ?? PortGeometry())
  }

  package mutating func put(_ info: PoolsInfo) {
    put(UInt64(info.memorySize))
    put(info.memoryID)
    for pool in [info.interfaces, info.rings, info.buffers] {
      put(UInt64(pool.offset))
      put(UInt32(pool.size))
      put(UInt32(pool.count))
    }
  }
}

extension MessageReader {
  /// Reads a size or an offset, bytes.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` for a number of 2^63 or more.
  mutating func takeSize() throws(NetmapError) -> Int {
    guard let size = Int(exactly: try take(UInt64.self)) else {
      throw malformed("a size is out of range")
    }
    return size
  }

  package mutating func takeViewer() throws(NetmapError) -> (rawTag: UInt64, viewEnd: ViewEnd) {
    let rawTag = try take(UInt64.self)
    guard let viewEnd = ViewEnd(rawValue: try take(UInt8.self)) else {
      throw malformed("the end of its view is unknown")
    }
    return (rawTag, viewEnd)
  }

  package mutating func takePortInfoRequest() throws(NetmapError) -> (
    request: RegisterRequest?, memoryID: UInt16
  ) {
    let hasRequest = try take(UInt8.self) != 0
    let memoryID = try take(UInt16.self)
    return (hasRequest ? try takeRequest() : nil, memoryID)
  }

  package mutating func takePortInfo() throws(NetmapError) -> PortInfo {
    let memorySize = try takeSize()
    let memoryID = try take(UInt16.self)
    let hasGeometry = try take(UInt8.self) != 0
    let geometry = try takeGeometry()
    return PortInfo(
      memorySize: memorySize, memoryID: memoryID, geometry: hasGeometry ? geometry : nil)
  }

  package mutating func takePoolsInfo() throws(NetmapError) -> PoolsInfo {
    let memorySize = try takeSize()
    return PoolsInfo(
      memorySize: memorySize, memoryID: try take(UInt16.self), interfaces: try takePool(),
      rings: try takePool(), buffers: try takePool())
  }

  private mutating func takePool() throws(NetmapError) -> RegionLayout.Pool {
    let offset = try takeSize()
    return RegionLayout.Pool(
      offset: offset, size: Int(try take(UInt32.self)), count: Int(try take(UInt32.self)))
  }

  package mutating func takeRequest() throws(NetmapError) -> RegisterRequest {
    let name = try PortName(bytes: try takeBytes())
    let selection = try RingSelection(
      rawMode: try take(UInt32.self), ringID: try take(UInt16.self))
    let flags = BindingFlags(rawValue: try take(UInt64.self)).intersection(.known)
    let extensions = PortExtensions(rawValue: try take(UInt32.self))
    guard extensions.isSubset(of: .known) else {
      throw malformed("it asks for an unknown extension")
    }
    var request = RegisterRequest(
      name: name, selection: selection, flags: flags, extensions: extensions,
      memoryID: try take(UInt16.self))
    let (transmitSlots, receiveSlots) = (try take(UInt32.self), try take(UInt32.self))
    request.hints = RingGeometryHints(
      transmitSlots: transmitSlots, receiveSlots: receiveSlots,
      transmitRings: try take(UInt16.self), receiveRings: try take(UInt16.self),
      hostTransmitRings: try take(UInt16.self), hostReceiveRings: try take(UInt16.self))
    request.extraBuffers = Int(clamping: try take(Int64.self))
    let hasOffsets = try take(UInt8.self) != 0
    let (max, initial) = (try take(UInt64.self), try take(UInt64.self))
    let offsets = OffsetsOption(
      max: max, initial: initial, bits: try take(UInt32.self), minimumGap: try take(UInt64.self))
    if hasOffsets { request.offsets = offsets }
    let backend = PortSpecification.BackendChoice.Name(rawValue: try takeString())
    let mode = PortSpecification.BackendChoice.Mode(rawValue: try takeString())
    if let backend {
      request.backend = PortSpecification.BackendChoice(backend, mode: mode)
    } else if let mode {
      request.backend = PortSpecification.BackendChoice(mode: mode)
    }
    if try take(UInt8.self) != 0 { request.memory = try takeProgramMemory() }
    return request
  }

  private mutating func takeProgramMemory() throws(NetmapError) -> ProgramMemory {
    let byteCount = try takeSize()
    let (interfaceSize, interfaceCount) = (try take(UInt32.self), try take(UInt32.self))
    let (ringSize, ringCount) = (try take(UInt32.self), try take(UInt32.self))
    let (bufferSize, bufferCount) = (try take(UInt32.self), try take(UInt32.self))
    var memory = ProgramMemory(
      byteCount: byteCount,
      objects: RegionParameters(
        interfaceSize: Int(interfaceSize), interfaceCount: Int(interfaceCount),
        ringSize: Int(ringSize), ringCount: Int(ringCount), bufferSize: Int(bufferSize),
        bufferCount: Int(bufferCount)))
    guard try take(UInt8.self) != 0 else { return memory }
    memory.origin = ProgramMemory.Origin(
      device: try take(UInt64.self), file: try take(UInt64.self), birth: try take(UInt64.self),
      offset: try take(UInt64.self))
    return memory
  }

  package mutating func takeRegistration(
    region: SharedMemory, segment: SyncSegment
  ) throws(NetmapError) -> Registration {
    let id = BindingID(number: try take(UInt64.self))
    let name = try PortName(bytes: try takeBytes())
    let bindingIndex = Int(try take(UInt32.self))
    let interfaceOffset = try takeSize()
    let memorySize = try takeSize()
    let memoryID = try take(UInt16.self)
    let geometry = try takeGeometry()
    let extraBuffers = Int(try take(UInt32.self))
    let offsetMax = try takeOptional(UInt64.self)
    let hasBackend = try take(UInt8.self) != 0
    var backend = BackendDescription(
      name: try takeString(), mode: try takeString(), refusals: try takeStrings())
    backend.remarks = try takeStrings()
    guard memorySize <= region.byteCount, (0..<memorySize).contains(interfaceOffset) else {
      throw malformed("it names memory that does not exist")
    }
    let (monitors, monitored) = (try take(UInt64.self), try takeOptional(UInt64.self))
    var registration = Registration(
      id: id, name: name, bindingIndex: bindingIndex, interfaceOffset: interfaceOffset,
      memorySize: memorySize, memoryID: memoryID, geometry: geometry, extraBuffers: extraBuffers,
      offsetMax: offsetMax, region: region, segment: segment, backend: hasBackend ? backend : nil)
    registration.monitors = monitors
    registration.monitored = monitored
    registration.defaults = SyncDefaults(rawValue: try take(UInt8.self)).intersection(.known)
    return registration
  }

  package mutating func takeGeometry() throws(NetmapError) -> PortGeometry {
    PortGeometry(
      transmitRings: Int(try take(UInt32.self)), receiveRings: Int(try take(UInt32.self)),
      transmitSlots: Int(try take(UInt32.self)), receiveSlots: Int(try take(UInt32.self)),
      hostTransmitRings: Int(try take(UInt32.self)), hostReceiveRings: Int(try take(UInt32.self)))
  }
}
