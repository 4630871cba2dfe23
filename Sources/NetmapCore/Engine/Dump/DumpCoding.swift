// The format of a dump: a mark, a version, and the members of ``EngineDump`` in the order of their declaration. Any
// change here, or of a layout in Shared/, requires a new version.

extension EngineDump {
  /// "netmapdump" and the end of a line, which shows a transfer that changes line ends.
  private static let mark = Array("netmap dump\n".utf8)
  package static let version: UInt32 = 3
  /// The versions of the shared memory in the dump.
  private static let layouts = [SyncSegment.layoutVersion, SwitchSegment.layoutVersion]
  /// The most bytes of a dump that is read.
  package static let byteCountMax = 512 << 20

  /// The dump as it is written to a file.
  package var bytes: [UInt8] {
    var writer = DumpWriter()
    for byte in Self.mark { writer.put(byte) }
    writer.put(Self.version)
    for layout in Self.layouts { writer.put(layout) }
    writer.put(seconds)
    writer.put(lastEpoch)
    writer.put(clients) { client, writer in
      writer.put(client.slot)
      writer.put(client.epoch)
      writer.put(client.process)
    }
    writer.put(regions) { $0.put(to: &$1) }
    writer.put(segments) { segment, writer in
      writer.put(segment.ends)
      writer.put(segment.leaseSlots)
      writer.put(segment.bytes)
    }
    writer.put(ports) { $0.put(to: &$1) }
    writer.put(bindings) { $0.put(to: &$1) }
    writer.put(switches) { $0.put(to: &$1) }
    writer.put(owners) { $0.put(to: &$1) }
    writer.put(processes) { process, writer in
      writer.put(process.number)
      writer.put(process.state)
      writer.put(process.name)
    }
    return writer.bytes
  }

  /// Reads a dump.
  ///
  /// The result says what the bytes say. ``DumpedEngine`` checks it.
  ///
  /// - Parameter bytes: Any bytes.
  /// - Throws: ``NetmapError`` `EINVAL` for bytes that are no dump, or a dump of another version.
  package init(_ bytes: [UInt8]) throws(NetmapError) {
    var reader = DumpReader(bytes)
    guard bytes.starts(with: Self.mark) else { throw reader.refused("it is not a netmap dump") }
    for _ in Self.mark { _ = try reader.take(UInt8.self) }
    let found = try reader.take(UInt32.self)
    guard found == Self.version else {
      throw reader.refused("it has version \(found), and this program reads \(Self.version)")
    }
    for layout in Self.layouts where try reader.take(UInt32.self) != layout {
      throw reader.refused("another version of netmap made the memory in it")
    }
    seconds = try reader.take()
    lastEpoch = try reader.take()
    clients = try reader.takeList(of: 12) { (reader) throws(NetmapError) in
      Client(slot: try reader.take(), epoch: try reader.take(), process: try reader.take())
    }
    regions = try reader.takeList(of: 64) { (reader) throws(NetmapError) in
      try RegionPart(&reader)
    }
    segments = try reader.takeList(of: 12) { (reader) throws(NetmapError) in
      SegmentPart(
        ends: try reader.takeNumbers(), leaseSlots: try reader.take(),
        bytes: try reader.takeBytes())
    }
    ports = try reader.takeList(of: 40) { (reader) throws(NetmapError) in
      try PortPart(&reader)
    }
    bindings = try reader.takeList(of: 40) { (reader) throws(NetmapError) in
      try BindingPart(&reader)
    }
    switches = try reader.takeList(of: 24) { (reader) throws(NetmapError) in
      try SwitchPart(&reader)
    }
    owners = try reader.takeList(of: 20) { (reader) throws(NetmapError) in
      Owner(
        binding: try reader.take(), user: try reader.take(), isOpen: try reader.takeBool(),
        isIsolated: try reader.takeBool(), isHidden: try reader.takeBool(),
        opener: try reader.take(), viewers: try reader.takeNumbers())
    }
    processes = try reader.takeList(of: 9) { (reader) throws(NetmapError) in
      Process(
        number: try reader.take(), state: try reader.take(), name: try reader.takeBytes())
    }
    guard reader.isAtEnd else { throw reader.refused("bytes follow its end") }
  }
}

extension EngineDump.Objects {
  fileprivate func put(to writer: inout DumpWriter) {
    for list in [interfaces, rings, buffers] { writer.put(list) }
  }

  fileprivate init(_ reader: inout DumpReader) throws(NetmapError) {
    self.init(
      interfaces: try reader.takeNumbers(), rings: try reader.takeNumbers(),
      buffers: try reader.takeNumbers())
  }
}

extension EngineDump.RegionPart {
  fileprivate func put(to writer: inout DumpWriter) {
    writer.put(id)
    writer.put(isPrivate)
    writer.put(isExact)
    writer.put(isUsed)
    for number in [
      parameters.interfaceSize, parameters.interfaceCount, parameters.ringSize,
      parameters.ringCount, parameters.bufferSize, parameters.bufferCount,
    ] { writer.put(UInt32(clamping: number)) }
    taken.put(to: &writer)
    quarantined.put(to: &writer)
    writer.put(owners)
    writer.put(pieces) { piece, writer in
      writer.put(piece.offset)
      writer.put(piece.bytes)
    }
    writer.put(links)
  }

  fileprivate init(_ reader: inout DumpReader) throws(NetmapError) {
    id = try reader.take()
    isPrivate = try reader.takeBool()
    isExact = try reader.takeBool()
    isUsed = try reader.takeBool()
    var numbers: [Int] = []
    for _ in 0..<6 { numbers.append(Int(try reader.take(UInt32.self))) }
    parameters = RegionParameters(
      interfaceSize: numbers[0], interfaceCount: numbers[1], ringSize: numbers[2],
      ringCount: numbers[3], bufferSize: numbers[4], bufferCount: numbers[5])
    taken = try EngineDump.Objects(&reader)
    quarantined = try EngineDump.Objects(&reader)
    owners = try reader.takeBytes()
    pieces = try reader.takeList(of: 12) { (reader) throws(NetmapError) in
      EngineDump.Piece(offset: try reader.take(), bytes: try reader.takeBytes())
    }
    links = try reader.takeNumbers()
  }
}

extension EngineDump.PortPart {
  fileprivate func put(to writer: inout DumpWriter) {
    writer.put(name)
    for number in [kind, segment, end, region, bindings, slave, parent] { writer.put(number) }
    for number in [
      geometry.transmitRings, geometry.receiveRings, geometry.transmitSlots,
      geometry.receiveSlots, geometry.hostTransmitRings, geometry.hostReceiveRings,
    ] { writer.put(UInt32(clamping: number)) }
    writer.put(rings)
    writer.put(moving)
    writer.put(isPersistent)
    writer.put(attachedAs)
  }

  fileprivate init(_ reader: inout DumpReader) throws(NetmapError) {
    name = try reader.takeBytes()
    kind = try reader.take()
    segment = try reader.take()
    end = try reader.take()
    region = try reader.take()
    bindings = try reader.take()
    slave = try reader.take()
    parent = try reader.take()
    var numbers: [Int] = []
    for _ in 0..<6 { numbers.append(Int(try reader.take(UInt32.self))) }
    geometry = PortGeometry(
      transmitRings: numbers[0], receiveRings: numbers[1], transmitSlots: numbers[2],
      receiveSlots: numbers[3], hostTransmitRings: numbers[4], hostReceiveRings: numbers[5])
    rings = try reader.takeNumbers()
    moving = try reader.takeBytes()
    isPersistent = try reader.takeBool()
    attachedAs = try reader.takeBytes()
  }
}

extension EngineDump.BindingPart {
  fileprivate func put(to writer: inout DumpWriter) {
    writer.put(id)
    writer.put(port)
    writer.put(index)
    writer.put(isExclusive)
    writer.put(UInt32(clamping: record.end))
    writer.put(UInt64(clamping: record.interfaceOffset))
    for range in [record.ranges.transmit, record.ranges.receive] {
      writer.put(UInt32(clamping: range.lowerBound))
      writer.put(UInt32(clamping: range.upperBound))
    }
    writer.put(record.flags.rawValue)
    writer.put(record.extensions.rawValue)
    writer.put(record.memoryID)
  }

  fileprivate init(_ reader: inout DumpReader) throws(NetmapError) {
    id = try reader.take()
    port = try reader.take()
    index = try reader.take()
    isExclusive = try reader.takeBool()
    let end = Int(try reader.take(UInt32.self))
    let offset = Int(truncatingIfNeeded: try reader.take(UInt64.self))
    var ranges = RingRanges.none
    ranges.transmit = try Self.range(&reader)
    ranges.receive = try Self.range(&reader)
    record = BindingRecord(
      end: end, interfaceOffset: offset, ranges: ranges,
      flags: BindingFlags(rawValue: try reader.take()),
      extensions: PortExtensions(rawValue: try reader.take()), memoryID: try reader.take())
  }

  private static func range(_ reader: inout DumpReader) throws(NetmapError) -> Range<Int> {
    let first = Int(try reader.take(UInt32.self))
    let end = Int(try reader.take(UInt32.self))
    guard first <= end else { throw reader.refused("a binding has no range of rings") }
    return first..<end
  }
}

extension EngineDump.SwitchPart {
  fileprivate func put(to writer: inout DumpWriter) {
    writer.put(name)
    writer.put(number)
    writer.put(serial)
    writer.put(members) { member, writer in
      writer.put(member.port)
      writer.put(member.name)
      writer.put(member.index)
      writer.put(member.generation)
      writer.put(member.isHidden)
    }
    writer.put(leaving)
    writer.put(bytes)
  }

  fileprivate init(_ reader: inout DumpReader) throws(NetmapError) {
    name = try reader.takeBytes()
    number = try reader.take()
    serial = try reader.take()
    members = try reader.takeList(of: 17) { (reader) throws(NetmapError) in
      EngineDump.Member(
        port: try reader.take(), name: try reader.takeBytes(), index: try reader.take(),
        generation: try reader.take(), isHidden: try reader.takeBool())
    }
    leaving = try reader.takeNumbers()
    bytes = try reader.takeBytes()
  }
}

extension EngineDump.Owner {
  fileprivate func put(to writer: inout DumpWriter) {
    writer.put(binding)
    writer.put(user)
    for flag in [isOpen, isIsolated, isHidden] { writer.put(flag) }
    writer.put(opener)
    writer.put(viewers)
  }
}
