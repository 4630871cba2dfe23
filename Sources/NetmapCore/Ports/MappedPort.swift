internal import Glibc

/// A binding in the process that syncs it: the mappings, and the ``RingParts`` of each ring.
///
/// A process builds it from a region, a sync segment and the number of a binding, in an embedded engine as well
/// as in a client. Two threads must not use it at once, except that several threads may sync different rings.
@safe
package final class MappedPort {
  package let region: SharedMemory
  package let segment: SyncSegment
  package let record: BindingRecord
  /// The binding's number in the segment.
  let bindingIndex: Int
  let doorbells: DoorbellTable
  /// The owner that buffer exchanges of this port name.
  package let exchangeOwner: ExchangeNote.Owner
  /// The port's attachment to a switch; nil if there is none.
  package let vale: SwitchMapping?
  /// The syncs of a switch port that this process is executing; nil for a port that is on no switch.
  private let epochs: SyncEpochs?
  /// The switch paths of the rings, in the order of ``rings``.
  ///
  /// Only those of switch port rings are initialized.
  private let switching: UnsafeMutablePointer<SwitchPath>

  /// The monitors of the port, as this process has mapped them; nil if its syncs copy packets to none.
  private let monitors: MonitorTable?
  private let monitorView: UnsafeMutablePointer<MonitorTable.View>?

  /// The targets of transparent mode, one for each receive ring; nil for a port without host rings.
  private var forwarding: UnsafeMutablePointer<ForwardingTargets>?

  /// The rings of the binding, transmit rings first.
  let rings: UnsafeMutablePointer<RingParts>
  package let transmitCount: Int
  package let receiveCount: Int
  /// The rings as plain data.
  package var syncPath: UnsafePointer<SyncPath> { unsafe UnsafePointer(path) }
  private let path: UnsafeMutablePointer<SyncPath>

  /// Descriptors of backends to wait for besides doorbells, with their poll(2) events.
  package private(set) var pollDescriptors: [(direction: Direction, file: CInt, events: Int16)] = []

  /// Descriptors that become readable when a ring has stopped for good; each is listed once.
  package private(set) var alarmDescriptors: [CInt] = []

  /// A descriptor that reports a hang-up when the process that carries the port's packets has exited; -1 if no
  /// other process carries them.
  package var carrier: CInt = -1
  /// Whether a wait has found that process gone; if so, every wait and every sync of the port ends with an error.
  package var isAbandoned: Bool { unsafe path.pointee.refusal == .abandoned }
  /// Whether every wait of this object ends with an error.
  var refusesWaits: Bool { unsafe path.pointee.refusal != .none }

  /// The objects that the ring drivers of backends use.
  private var owners: [AnyObject] = []

  /// Directions with a ring whose progress a sleeper must poll for.
  package private(set) var polledDirections: Set<Direction> = []

  /// - Parameters:
  ///   - region: The binding's region.
  ///   - segment: The sync segment of its port.
  ///   - index: The binding's number in the segment.
  ///   - tag: The client that locks rings.
  ///   - doorbells: The doorbells that this process can ring.
  ///   - defaults: What syncs do without being asked.
  ///   - vale: The port's attachment to a switch; nil when the port is on no switch.
  ///   - resolver: Maps the memory of other processes' ports on the switch.
  ///   - monitors: The port's monitors, for syncs to copy packets to; nil copies packets to none.
  ///   - lane: The only ring pair to attach, of those that the binding has; nil attaches all rings. Needs `geometry`.
  ///   - geometry: The rings of the port; without it there is no transparent mode.
  ///   - backend: Makes the ring driver of a ring of kind ``RingKind/backend``, from the ring's position among
  ///     the binding's rings, transmit rings first, and the ring.
  /// - Throws: ``NetmapError`` `EINVAL` when the segment does not describe such a binding.
  package init(
    region: SharedMemory, segment: SyncSegment, binding index: Int, tag: ClientTag,
    doorbells: DoorbellTable, defaults: SyncDefaults = [], vale: SwitchMapping? = nil,
    resolver: DestinationResolver? = nil, monitors: MonitorTable? = nil, lane: Int? = nil,
    geometry: PortGeometry? = nil,
    backend: (Int, Ring) throws(NetmapError) -> RingDriver = {
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
    if let lane, let geometry {
      record = binding.only(lane, of: geometry)
    } else {
      record = binding
    }
    bindingIndex = index
    exchangeOwner = ExchangeNote.Owner(tag, binding: index)
    self.doorbells = doorbells
    self.vale = vale
    let builder = unsafe RingBuilder(
      region: region, segment: segment, end: record.end, tag: tag, doorbells: doorbells.view,
      stampsAlways: !defaults.contains(.stampsOnRequest))
    var built: [RingParts] = unsafe []
    for direction in [Direction.transmit, .receive] {
      for number in record.ranges[direction] {
        var ring = unsafe try builder.ring(direction, number)
        if unsafe ring.kind == .backend {
          let half = unsafe try backend(binding.place(direction, number), ring.ring)
          unsafe ring.backend = unsafe half.ring
          if let word = unsafe half.ring.waitWord { unsafe ring.waitWord = unsafe word }
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
    // Nothing below throws, so the join and the allocations need no cleanup on failure.
    let epochs = vale.map { $0.destinations.join($0.index, $0.generation) }
    self.epochs = epochs
    unsafe switching = .allocate(capacity: max(unsafe built.count, 1))
    self.monitors = monitors
    if let monitors {
      let view: UnsafeMutablePointer<MonitorTable.View> = .allocate(capacity: 1)
      unsafe view.initialize(to: monitors.view(resolver))
      for index in unsafe built.indices { unsafe built[index].monitors = UnsafePointer(view) }
      unsafe monitorView = view
    } else {
      unsafe monitorView = nil
    }
    for index in unsafe built.indices where unsafe built[index].kind == .vale {
      guard let vale, let epochs else { continue }
      let path = unsafe SwitchPath(vale, built[index], segment, resolver, epochs)
      unsafe (switching + index).initialize(to: path)
      unsafe built[index].switching = UnsafePointer(switching + index)
    }
    unsafe rings = Self.allocateRings(built.count)
    unsafe rings.initialize(from: built, count: built.count)
    unsafe path = .allocate(capacity: 1)
    unsafe path.initialize(
      to: SyncPath(rings, transmitCount: transmitCount, receiveCount: receiveCount))
    if let geometry { forward(geometry, always: defaults.contains(.forwardsReleased)) }
  }

  /// Prepares the receive rings for transparent mode.
  private func forward(_ geometry: PortGeometry, always: Bool) {
    guard record.ranges.holdHostRings(of: geometry), receiveCount > 0 else { return }
    let targets = UnsafeMutablePointer<ForwardingTargets>.allocate(capacity: receiveCount)
    for (place, index) in record.ranges.receive.enumerated() {
      let ring = unsafe rings + transmitCount + place
      guard unsafe ring.pointee.kind == .backend,
        let range = record.forwardingTargets(ofReceiveRing: index, geometry),
        range.upperBound <= transmitCount
      else { continue }
      unsafe (targets + place).initialize(
        to: ForwardingTargets(
          rings: rings + range.lowerBound, count: range.count, forwardsAlways: always))
      unsafe ring.pointee.forwarding = UnsafePointer(targets + place)
    }
    unsafe forwarding = targets
  }

  /// Allocates rings on cache lines of their own: a receive sync stores its last time stamp here, which must not
  /// slow down the thread of another port.
  private static func allocateRings(_ count: Int) -> UnsafeMutablePointer<RingParts> {
    unsafe UnsafeMutableRawPointer.allocate(
      byteCount: (max(count, 1) * MemoryLayout<RingParts>.stride + 127) & ~127, alignment: 128
    ).assumingMemoryBound(to: RingParts.self)
  }

  deinit {
    if let vale { vale.destinations.leave(vale.index, vale.generation) }
    for index in 0..<(transmitCount + receiveCount) {
      unsafe rings[index].switching?.pointee.scratch?.deallocate()
      unsafe free(rings[index].switching?.pointee.copies)
    }
    unsafe switching.deallocate()
    unsafe monitorView?.deallocate()
    unsafe forwarding?.deallocate()
    unsafe path.deallocate()
    unsafe rings.deinitialize(count: transmitCount + receiveCount)
    unsafe UnsafeMutableRawPointer(rings).deallocate()
  }

  /// Has every sync and every wait of this object refused, because control blocks drive the rings now (CSB mode).
  package func refuseSyncs() { unsafe path.pointee.refuse() }

  /// Records that the process that carries the port's packets has exited.
  package func abandon() { unsafe path.pointee.abandon() }

  /// Releases the resources that backends hold here: sockets and the kernel's rings.
  ///
  /// Afterwards the rings of interfaces move no packets. The memory stays mapped. No thread may be syncing a
  /// ring.
  package func detach() {
    for index in 0..<transmitCount + receiveCount {
      if unsafe rings[index].backend.waitWord != nil {
        // The backend's word goes with its mappings.
        unsafe rings[index].waitWord = rings[index].peerKRing.outboxWaitWord(segment.waiters)
      }
      unsafe rings[index].backend = .none
    }
    pollDescriptors = []
    alarmDescriptors = []
    polledDirections = []
    owners = []
  }

  /// Allows transmit rings on a switch to read packets from memory of this process for slots with `NS_INDIRECT`.
  ///
  /// Before this call they drop such packets and count them. No thread may be syncing a ring. See
  /// ``IndirectMemory``.
  package func allowIndirect(_ memory: IndirectMemory) {
    for index in 0..<transmitCount where unsafe rings[index].switching != nil {
      if memory.isCopied, unsafe (switching + index).pointee.copies == nil {
        // Pages that no packet needs are never touched, and so do not exist.
        // Without memory the port goes on as before: it drops such packets and counts them.
        unsafe (switching + index).pointee.copies = malloc(
          ForwardScratch.frameCount * Int(rings[index].ring.bufferSize))
      }
      unsafe (switching + index).pointee.indirect = memory
    }
  }

  /// The bell that a thread sleeps on if it waits for this port alone; nil when it must watch descriptors or
  /// poll.
  var bell: Bell? {
    guard pollDescriptors.isEmpty, alarmDescriptors.isEmpty, polledDirections.isEmpty, carrier < 0
    else { return nil }
    return unsafe segment.bell(ofBinding: bindingIndex)
  }

  /// Transmit ring `index` of the binding, counted from the binding's first transmit ring.
  package func transmit(_ index: Int) -> MappedRing {
    precondition(index >= 0 && index < transmitCount, "the port has no such transmit ring")
    return unsafe MappedRing(rings + index)
  }

  /// Receive ring `index` of the binding, counted from the binding's first receive ring.
  package func receive(_ index: Int) -> MappedRing {
    precondition(index >= 0 && index < receiveCount, "the port has no such receive ring")
    return unsafe MappedRing(rings + transmitCount + index)
  }

  /// The address in this process of the binding's `netmap_if`.
  package var interface: UnsafeMutableRawPointer {
    unsafe region.base + record.interfaceOffset
  }
}

/// Converts the offsets in a segment to addresses in this process, and validates each of them.
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
    if kind == .pipe || kind == .monitor && direction == .receive {
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
      doorbells: doorbells, backend: .none, switching: nil, monitors: nil,
      stampsAlways: stampsAlways, forwarding: nil, shownTail: ShownTail(of: ring))
  }

  /// The ring of `slots` slots at an offset in the region; nil when no such ring can lie there.
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
