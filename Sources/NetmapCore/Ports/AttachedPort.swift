/// A binding as the process that syncs it holds it: mappings, and the ``RingParts`` of each ring.
///
/// Made from a region, a sync segment and the number of a binding, in the process of an embedded
/// engine or in any other. Not for use from two threads at once, except that several threads may sync
/// different rings.
@safe
package final class AttachedPort {
  package let region: SharedMemory
  package let segment: SyncSegment
  package let record: BindingRecord
  /// The binding's number in the segment.
  let bindingIndex: Int
  private let doorbells: DoorbellTable
  /// In whose name buffers are exchanged.
  package let exchangeOwner: ExchangeNote.Owner
  /// The port's place on a switch.
  package let bridge: BridgeAttachment?
  /// Which syncs of a switch port this process is in.
  private let epochs: SyncEpochs?
  /// Of the rings of a switch port, in their order.
  private let switching: UnsafeMutablePointer<SwitchPath>

  /// The rings of the binding, transmit rings first.
  let rings: UnsafeMutablePointer<RingParts>
  package let transmitCount: Int
  package let receiveCount: Int
  /// The rings as plain data.
  package let syncPath: UnsafePointer<SyncPath>

  /// What to wait for besides doorbells: descriptors of backends, with their poll(2) events.
  package private(set) var pollDescriptors: [(direction: Direction, file: CInt, events: Int16)] = []

  /// Descriptors that become readable when a ring has stopped; each is listed once.
  package private(set) var alarmDescriptors: [CInt] = []

  /// A descriptor that hangs up when whoever carries the port's packets has gone; -1 where that is nobody.
  package var carrier: CInt = -1
  /// Whether it has: then every wait ends with an error.
  package internal(set) var isAbandoned = false

  /// What the data halves of backends use.
  private var owners: [AnyObject] = []

  /// Directions in which some ring shows progress only to those who look.
  package private(set) var polledDirections: Set<Direction> = []

  /// - Parameters:
  ///   - region: The binding's region.
  ///   - segment: The sync segment of its port.
  ///   - index: The binding's number in the segment.
  ///   - tag: In whose name rings are locked.
  ///   - doorbells: The doorbells this process can ring.
  ///   - stampsAlways: Whether receive rings are stamped without being asked.
  ///   - bridge: The port's place on a switch; nil when it is on none.
  ///   - resolver: What fetches the memory of other processes' ports on the switch.
  ///   - lane: Which ring of either direction alone is attached, where the binding has it; nil for all.
  ///   - backend: Makes the data half of a ring of kind ``RingKind/backend``: given its place among the
  ///     binding's rings, transmit rings first, and the ring.
  /// - Throws: ``NetmapError`` `EINVAL` when the segment does not describe such a binding.
  package init(
    region: SharedMemory, segment: SyncSegment, binding index: Int, tag: ClientTag,
    doorbells: DoorbellTable, stampsAlways: Bool = true, bridge: BridgeAttachment? = nil,
    resolver: DestinationResolver? = nil, lane: Int? = nil,
    backend: (Int, Ring) throws(NetmapError) -> DataHalf = {
      (_, _) throws(NetmapError) in unsafe .none
    }
  ) throws(NetmapError) {
    guard let binding = segment.binding(at: index) else {
      throw NetmapError(
        .invalidArgument, "attach", "binding \(index)", reason: "the segment has no such binding")
    }
    let listed = Direction.allCases.reduce(2) { $0 + segment.ringCount(end: binding.end, $1) }
    let last = region.byteCount - InterfaceObject.byteCount(ringCount: listed)
    guard binding.interfaceOffset >= 0, binding.interfaceOffset <= last else {
      throw NetmapError(
        .invalidArgument, "attach", "binding \(index)",
        reason: "its description in shared memory is damaged", remedy: "open the port again")
    }
    self.region = region
    self.segment = segment
    record = lane.map { binding.only($0) } ?? binding
    bindingIndex = index
    exchangeOwner = ExchangeNote.Owner(tag, binding: index)
    self.doorbells = doorbells
    self.bridge = bridge
    let builder = unsafe RingBuilder(
      region: region, segment: segment, end: record.end, tag: tag, doorbells: doorbells.view,
      stampsAlways: stampsAlways)
    var built: [RingParts] = unsafe []
    for direction in [Direction.transmit, .receive] {
      for number in record.ranges[direction] {
        var ring = unsafe try builder.ring(direction, number)
        if unsafe ring.kind == .backend {
          let half = unsafe try backend(binding.place(direction, number), ring.ring)
          unsafe ring.backend = unsafe half.ring
          if let owner = unsafe half.owner { owners.append(owner) }
          if unsafe ring.backend.pollDescriptor >= 0 {
            unsafe pollDescriptors.append(
              (direction, ring.backend.pollDescriptor, ring.backend.pollEvents))
          }
          let alarm = unsafe ring.backend.alarmDescriptor
          if alarm >= 0, !alarmDescriptors.contains(alarm) { alarmDescriptors.append(alarm) }
          if unsafe ring.backend.isPolled { polledDirections.insert(direction) }
        }
        unsafe built.append(ring)
      }
    }
    transmitCount = record.ranges.transmit.count
    receiveCount = record.ranges.receive.count
    // Nothing is thrown after this.
    let epochs = bridge.map { $0.destinations.join($0.index, $0.generation) }
    self.epochs = epochs
    unsafe switching = .allocate(capacity: max(unsafe built.count, 1))
    for index in unsafe built.indices where unsafe built[index].kind == .bridge {
      guard let bridge, let epochs else { continue }
      let path = unsafe SwitchPath(bridge, built[index], segment, resolver, epochs)
      unsafe (switching + index).initialize(to: path)
      unsafe built[index].switching = UnsafePointer(switching + index)
    }
    unsafe rings = Self.allocateRings(built.count)
    unsafe rings.initialize(from: built, count: built.count)
    let path = UnsafeMutablePointer<SyncPath>.allocate(capacity: 1)
    unsafe path.initialize(
      to: SyncPath(rings, transmitCount: transmitCount, receiveCount: receiveCount))
    unsafe syncPath = UnsafePointer(path)
  }

  /// On cache lines of their own: a receive ring notes here when it was stamped, and another port's
  /// thread should not notice.
  private static func allocateRings(_ count: Int) -> UnsafeMutablePointer<RingParts> {
    unsafe UnsafeMutableRawPointer.allocate(
      byteCount: (max(count, 1) * MemoryLayout<RingParts>.stride + 127) & ~127, alignment: 128
    ).assumingMemoryBound(to: RingParts.self)
  }

  deinit {
    if let bridge { bridge.destinations.leave(bridge.index, bridge.generation) }
    for index in 0..<(transmitCount + receiveCount) {
      unsafe rings[index].switching?.pointee.scratch?.deallocate()
    }
    unsafe switching.deallocate()
    unsafe syncPath.deallocate()
    unsafe rings.deinitialize(count: transmitCount + receiveCount)
    unsafe UnsafeMutableRawPointer(rings).deallocate()
  }

  /// Lets go of what backends have here: sockets, and the kernel's rings. Rings of interfaces move nothing
  /// from now on. The memory stays. Nobody may be syncing a ring.
  package func detach() {
    for index in 0..<transmitCount + receiveCount {
      unsafe rings[index].backend = .none
    }
    pollDescriptors = []
    alarmDescriptors = []
    polledDirections = []
    owners = []
  }

  /// Has transmit rings on a switch take packets from memory of this process where slots say `NS_INDIRECT`; until
  /// then they drop such packets, and count them. Nobody may be syncing a ring. See ``IndirectMemory``.
  package func allowIndirect(_ memory: IndirectMemory) {
    for index in 0..<transmitCount where unsafe rings[index].switching != nil {
      unsafe (switching + index).pointee.indirect = memory
    }
  }

  /// What a thread that waits for nothing but this port sleeps on; nil when descriptors have to be watched,
  /// or there is something that only those see who look.
  var bell: Bell? {
    guard pollDescriptors.isEmpty, alarmDescriptors.isEmpty, polledDirections.isEmpty, carrier < 0
    else { return nil }
    return unsafe segment.bell(ofBinding: bindingIndex)
  }

  /// Transmit ring `index` of the binding, counted from the first one it holds.
  package func transmit(_ index: Int) -> AttachedRing {
    precondition(index >= 0 && index < transmitCount, "the port has no such transmit ring")
    return unsafe AttachedRing(rings + index)
  }

  /// Receive ring `index` of the binding.
  package func receive(_ index: Int) -> AttachedRing {
    precondition(index >= 0 && index < receiveCount, "the port has no such receive ring")
    return unsafe AttachedRing(rings + transmitCount + index)
  }

  /// This process's address of the binding's `netmap_if`.
  package var interface: UnsafeMutableRawPointer {
    unsafe region.base + record.interfaceOffset
  }
}

/// Turns the offsets in a segment into this process's addresses, checking each.
@unsafe
private struct RingBuilder {
  let region: SharedMemory
  let segment: SyncSegment
  let end: Int
  let tag: ClientTag
  let doorbells: DoorbellTable.View
  let stampsAlways: Bool

  func ring(_ direction: Direction, _ index: Int) throws(NetmapError) -> RingParts {
    guard let kring = unsafe segment.kring(end: end, direction, index) else {
      throw unsafe damaged(direction, index)
    }
    let description = unsafe kring.description
    guard let kind = RingKind(rawValue: description.kind),
      let ring = unsafe view(description.slotCount, at: description.ringOffset)
    else { throw unsafe damaged(direction, index) }
    var (peerRing, peerKRing) = unsafe (ring, kring)
    if kind == .pipe {
      let peer = unsafe kring.peer
      guard let otherKRing = unsafe segment.kring(at: peer.kring),
        let otherRing = unsafe view(description.slotCount, at: peer.ring)
      else { throw unsafe damaged(direction, index) }
      unsafe peerRing = otherRing
      unsafe peerKRing = otherKRing
    }
    return unsafe RingParts(
      ring: ring, kring: kring, direction: direction, kind: kind, peerRing: peerRing,
      peerKRing: peerKRing, tag: tag, waitWord: peerKRing.outboxWaitWord(segment.waiters),
      doorbells: doorbells, backend: .none, switching: nil, stampsAlways: stampsAlways)
  }

  /// The ring of so many slots at an offset in the region; nil where that cannot be.
  private func view(_ slots: UInt32, at offset: UInt64) -> Ring? {
    guard slots >= 1, slots <= 4096 * 16 else { return nil }
    let byteCount = 256 + Int(slots) * 16
    let buffers = unsafe segment.buffers
    guard unsafe byteCount <= region.byteCount,
      unsafe offset <= UInt64(region.byteCount - byteCount), offset % 128 == 0,
      buffers.base >= 0, buffers.count >= 2,
      // Packets are copied in blocks of 64 bytes.
      RegionParameters.bufferSizes.contains(Int(buffers.size)), buffers.size % 64 == 0,
      unsafe buffers.base + Int(buffers.count) * Int(buffers.size) <= region.byteCount
    else { return nil }
    return unsafe Ring(
      base: region.base + Int(offset), buffers: region.base + buffers.base, slotCount: slots,
      bufferCount: buffers.count, bufferSize: buffers.size)
  }

  private func damaged(_ direction: Direction, _ index: Int) -> NetmapError {
    NetmapError(
      .invalidArgument, "attach", "\(direction) ring \(index)",
      reason: "its description in shared memory is damaged", remedy: "open the port again")
  }
}
