internal import CLinux
internal import Synchronization

// Monitors: ports whose receive rings get copies of the packets of another port's rings (netmap(4), "MONITOR PORTS").
//
// The process that syncs a monitored ring makes the copies. The ring's kring says which monitors to copy to, and a bit in
// the ring's lock says that there are any.

/// The engine's record of a monitor. Guarded by the engine's lock.
final class EngineMonitor {
  let parent: EnginePort
  let flags: BindingFlags
  /// The monitor's receive rings that get packets; empty while it is attached to nothing.
  fileprivate(set) var rings = 0..<0
  fileprivate(set) var index = 0
  fileprivate(set) var generation: UInt32 = 0
  /// The monitor's own port, while it is attached.
  fileprivate(set) weak var port: EnginePort?

  /// Whether it exchanges buffers with the monitored rings instead of getting copies (`/z`).
  var exchanges: Bool { flags.contains(.zeroCopyMonitor) }
  /// Of a monitor that exchanges buffers: its place in the order in which they were opened.
  fileprivate(set) var age: UInt64 = 0
  /// For each of its receive rings, the rings that may be exchanged with it, as the kring of those who fill it says.
  var sources: [Int: MonitorSources] = [:]

  init(of parent: EnginePort, _ flags: BindingFlags) {
    self.parent = parent
    self.flags = flags
  }
}

/// The number of the last set of monitors of this process.
private let lastSerial = Atomic<UInt64>(0)

/// The monitors of a port, or of both ends of a pipe. Guarded by the engine's lock.
final class PortMonitors {
  /// A number that no other set of monitors, and no switch, of this process ever gets.
  let serial = 1 << 63 | lastSerial.wrappingAdd(1, ordering: .relaxed).newValue
  /// The monitors as mapped in the engine's own process.
  let table = MonitorTable()
  fileprivate(set) var members: [Int: EngineMonitor] = [:]
  private var lastGeneration: UInt32 = 0
  private var lastAge: UInt64 = 0
  private var lastNumber: UInt16 = 0

  /// A number for the name of a monitor that shares its parent's region.
  func newNumber() -> UInt16 {
    lastNumber &+= 1
    return lastNumber
  }

  /// Whether a port has monitors, among them those that its last close has stopped.
  func hasAny(of port: EnginePort) -> Bool { members.values.contains { $0.parent === port } }

  /// Adds a monitor.
  ///
  /// - Returns: False when there are too many.
  fileprivate func add(_ monitor: EngineMonitor) -> Bool {
    guard let index = (0..<MonitorLimits.perPort).first(where: { members[$0] == nil }) else {
      return false
    }
    lastGeneration = lastGeneration == .max ? 1 : lastGeneration + 1
    monitor.index = index
    monitor.generation = lastGeneration
    lastAge += 1
    monitor.age = lastAge
    members[index] = monitor
    return true
  }

  /// The monitors that get the packets which syncs of a ring move.
  ///
  /// What one end of a pipe receives is copied when the other end sends it: the receiver may not sync for long.
  fileprivate func entries(_ port: EnginePort, _ direction: Direction, _ ring: Int)
    -> [MonitorEntry]
  {
    let peer = unsafe port.pair?.peer(of: port)
    let isPipe = peer != nil
    let exchanging = exchangingEntry(port, direction, ring).map { [$0] } ?? []
    // A monitor has one receive ring for each pair of rings.
    let ring = port.geometry.pair(direction, ring)
    return members.values.sorted { $0.index < $1.index }.flatMap { monitor -> [MonitorEntry] in
      guard monitor.rings.contains(ring), !monitor.exchanges else { return [] }
      func entry(isTransmit: Bool) -> MonitorEntry {
        MonitorEntry(
          index: monitor.index, generation: monitor.generation, ring: ring, isTransmit: isTransmit)
      }
      var result: [MonitorEntry] = []
      if direction == .transmit, monitor.flags.contains(.monitorTransmit), monitor.parent === port {
        result.append(entry(isTransmit: true))
      }
      let receives = isPipe ? direction == .transmit : direction == .receive
      if receives, monitor.flags.contains(.monitorReceive), monitor.parent === peer ?? port {
        result.append(entry(isTransmit: false))
      }
      return result
    } + exchanging
  }
}

extension EngineState {
  /// The port of a new monitor of the port that the request names.
  func monitorPort(_ request: RegisterRequest) throws(NetmapError) -> EnginePort {
    let name = request.name.rawValue
    var parentRequest = request
    parentRequest.flags.subtract(.anyMonitor)
    parentRequest.memoryID = 0
    let parent = try findPort(parentRequest)
    guard parent.isListed else {
      throw NetmapError(
        .invalidArgument, "open", name, reason: "the port belongs to the host of a switch's module",
        remedy: "monitor the ports of the switch")
    }
    guard parent.bindings > 0 else {
      dropIfUnused(parent)
      throw NetmapError(
        .invalidArgument, "open", name, reason: "no program has the port open",
        remedy: "open the port first, and monitor it then")
    }
    let geometry = Self.monitorGeometry(of: parent.geometry, request.hints)
    if request.flags.contains(.zeroCopyMonitor) {
      return try exchangingMonitorPort(request, parent, geometry)
    }
    let region = try newRegion(
      .monitor(
        geometry, extraBuffers: min(request.extraBuffers, EngineLimits.extraBuffers),
        tunables.privateMinimums))
    do throws(NetmapError) {
      let segment = try SyncSegment(
        creating: "netmap-monitor-\(name)", ends: [geometry, Self.fillingEnd(of: geometry)],
        region: region.layout, hasLeases: true)
      return EnginePort(
        name: Self.monitorName(parent.name, request.flags, number: region.id),
        kind: .monitor(EngineMonitor(of: parent, request.flags)), geometry: geometry,
        segment: segment, end: 0, region: region, bindingSlots: BindingSlots())
    } catch {
      dropIfUnused(region)
      throw error
    }
  }

  /// One transmit ring, which sends nothing, and a receive ring for each pair of rings of the monitored port. Host rings
  /// are host rings here, too.
  private static func monitorGeometry(
    of parent: PortGeometry, _ hints: RingGeometryHints
  ) -> PortGeometry {
    func slots(_ hint: UInt32, _ inherited: Int) -> Int {
      EngineLimits.bound(Int(hint), default: inherited, in: EngineLimits.pipeSlots)
    }
    return PortGeometry(
      transmitRings: 1, receiveRings: max(parent.transmitRings, parent.receiveRings),
      transmitSlots: slots(hints.transmitSlots, parent.transmitSlots),
      receiveSlots: slots(hints.receiveSlots, parent.receiveSlots),
      hostTransmitRings: parent.hostTransmitRings,
      hostReceiveRings: max(parent.hostTransmitRings, parent.hostReceiveRings))
  }

  /// The other end of a monitor's segment: a transmit ring for each receive ring, for those who fill it.
  static func fillingEnd(of monitor: PortGeometry) -> PortGeometry {
    PortGeometry(
      transmitRings: monitor.rings(.receive), receiveRings: monitor.rings(.transmit),
      transmitSlots: monitor.receiveSlots, receiveSlots: monitor.transmitSlots)
  }

  /// `PARENT/rt#N` or `PARENT/zrt#N`, as netmap names monitors.
  static func monitorName(
    _ parent: PortName, _ flags: BindingFlags, number: UInt16
  ) -> PortName {
    let letters =
      (flags.contains(.zeroCopyMonitor) ? "z" : "")
      + (flags.contains(.monitorReceive) ? "r" : "") + (flags.contains(.monitorTransmit) ? "t" : "")
    let ending = [UInt8]("/\(letters)#\(number)".utf8)
    let name = try? PortName(
      bytes: parent.bytes.prefix(PortName.byteCountMax - ending.count) + ending)
    return name ?? parent
  }

  /// Whether a region is that of a monitor that gets copies. No other port may lie there: processes that still copy packets to a monitor that
  /// was closed would write into the other port's buffers.
  func isOfMonitor(_ region: Region) -> Bool {
    bindings.values.contains {
      $0.port.monitor?.exchanges == false && $0.port.region === region
    }
  }

  /// Has the syncs of the monitored port copy packets to a monitor.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM` when a ring has too many monitors.
  func attach(
    _ monitor: EngineMonitor, _ port: EnginePort, _ rings: Range<Int>
  ) throws(NetmapError) {
    let set = monitor.parent.monitors
    monitor.rings = rings
    monitor.port = port
    let isAdded = set.add(monitor)
    do throws(NetmapError) {
      guard isAdded, !hasTooMany(monitor.parent) else {
        throw NetmapError(
          .outOfMemory, "open", port.name.rawValue,
          reason: "\(monitor.parent.name.rawValue) has too many monitors: a ring has at most "
            + "\(MonitorLimits.perRing), and a port \(MonitorLimits.perPort)",
          remedy: "close some of them")
      }
      try set.table.install(
        monitor.index, region: port.region.memory, segment: port.segment,
        generation: monitor.generation)
    } catch {
      if isAdded { set.members[monitor.index] = nil }
      monitor.rings = 0..<0
      throw error
    }
    refreshMonitors(of: monitor.parent)
  }

  /// Ends the copying of packets to a monitor.
  func detach(_ monitor: EngineMonitor) {
    let set = monitor.parent.monitors
    guard set.members[monitor.index] === monitor else { return }
    set.members[monitor.index] = nil
    monitor.rings = 0..<0
    refreshMonitors(of: monitor.parent)
    set.table.retire(monitor.index)
  }

  /// Stops the monitors of a port whose last binding has ended. Packets that they have stay readable.
  func stopMonitors(of port: EnginePort) {
    for monitor in port.monitors.members.values where monitor.parent === port {
      guard let own = monitor.port else { continue }
      for ring in monitor.rings where own[.receive, ring].offset != nil {
        unsafe own.kring(.receive, ring).stop()
      }
      monitor.rings = 0..<0
    }
    refreshMonitors(of: port)
  }

  private func hasTooMany(_ port: EnginePort) -> Bool {
    rings(sharingMonitorsWith: port).contains { port, direction, index in
      port.monitors.entries(port, direction, index).count > MonitorLimits.perRing
    }
  }

  /// Writes the monitors of a port into its rings, and of a pipe into the rings of both ends.
  ///
  /// - Parameters:
  ///   - port: The port.
  ///   - patience: How often to look, for all rings together, whether a sync that is under way has ended.
  func refreshMonitors(of port: EnginePort, patience: Int = 2000) {
    var isSettled = true
    var patience = patience
    for (port, direction, index) in rings(sharingMonitorsWith: port) {
      let kring = unsafe port.kring(direction, index)
      let entries = port.monitors.entries(port, direction, index)
      if unsafe kring.monitor(at: 0) == nil { unsafe kring.store(monitoredEnd: nil) }
      if unsafe kring.exchangingMonitor == nil { unsafe kring.store(exchangedEnd: nil) }
      unsafe kring.store(monitors: entries)
      isSettled = unsafe settle(kring, !entries.isEmpty, &patience) && isSettled
    }
    isSettled = settleSources(of: port.monitors, &patience) && isSettled
    unsettledMonitors[ObjectIdentifier(port.monitors)] = isSettled ? nil : port.monitorsRoot
  }

  /// Sets or clears the bit in a ring's lock.
  ///
  /// - Returns: False when the ring was locked each time.
  private func settle(_ kring: KRing, _ isMonitored: Bool, _ patience: inout Int) -> Bool {
    while unsafe !kring.setMonitored(isMonitored) {
      guard patience > 0 else { return false }
      patience -= 1
      clinux_pause()
    }
    return true
  }

  /// Tries again where a ring was locked when its monitors changed: its process was preempted, stopped or killed in the
  /// middle of a sync.
  func settleMonitors() {
    for port in Array(unsettledMonitors.values) { refreshMonitors(of: port, patience: 0) }
    settleHeldRings()
  }

  /// The rings that the monitors of a set can have: those of the port, of both ends of a pipe, and of the monitors that
  /// exchange buffers.
  func rings(sharingMonitorsWith port: EnginePort) -> [(EnginePort, Direction, Int)] {
    let root = port.monitorsRoot
    let ports =
      unsafe (root.pair.map { [$0.master, $0.slave] } ?? [root])
      + port.monitors.exchanging.compactMap(\.port)
    return ports.flatMap { port in
      Direction.allCases.flatMap { direction in
        (0..<port.geometry.rings(direction)).filter { port[direction, $0].offset != nil }.map {
          (port, direction, $0)
        }
      }
    }
  }
}

extension Engine {
  /// Tries again to have syncs take notice of monitors, on rings that were locked when the monitors changed. Each other
  /// request tries that, too.
  ///
  /// - Returns: Whether all monitors are settled.
  package func settleMonitors() -> Bool {
    let isSettled = try? exclusively { (state) throws(NetmapError) in
      state.unsettledMonitors.isEmpty && !state.holdsRings
    }
    return isSettled ?? true
  }

  /// Whether rings of closed ports or monitors are kept because a process may still be exchanging buffers with them.
  package var holdsRings: Bool {
    let holds = try? exclusively { (state) throws(NetmapError) in state.holdsRings }
    return holds ?? false
  }

  /// The monitors that get packets now, by the number of their set and by their index there.
  package var monitors: [UInt64: [Int: SwitchNeighbour]] {
    let found = try? exclusively { (state) throws(NetmapError) in
      state.bindings.values.reduce(into: [UInt64: [Int: SwitchNeighbour]]()) { result, binding in
        guard let monitor = binding.port.monitor, !monitor.rings.isEmpty else { return }
        result[monitor.parent.monitors.serial, default: [:]][monitor.index] = SwitchNeighbour(
          index: monitor.index, generation: monitor.generation,
          region: binding.port.region.memory, segment: binding.port.segment)
      }
    }
    return found ?? [:]
  }

  /// Wakes the threads that sleep on monitors whose port has just been closed.
  ///
  /// Only for an engine whose clients are all in this process: only then does the engine have their doorbells.
  package func wakeStoppedMonitors(of serial: UInt64) {
    let segments = try? exclusively { (state) throws(NetmapError) in
      state.bindings.values.filter { $0.port.monitor?.parent.monitors.serial == serial }.map(
        \.port.segment)
    }
    for segment in segments ?? [] {
      for index in 0..<segment.ringCount(end: 1, .transmit) {
        guard let kring = unsafe segment.kring(end: 1, .transmit, index),
          unsafe kring.outboxWaitWordIsSet
        else { continue }
        unsafe kring.outboxWaitWord(segment.waiters).wake(doorbells.view)
      }
    }
  }

  /// Finishes the exchanges that a dead client has left unfinished with rings of monitors, and releases the locks that it held
  /// on such rings.
  ///
  /// The caller does that before it releases the client's locks on the monitored rings.
  package func releaseMonitorLocks(of tag: ClientTag) {
    try? exclusively { (state) throws(NetmapError) in
      for filling in state.fillings { filling.finish(after: tag, in: state) }
      var segments = state.bindings.values.filter { $0.port.monitor != nil }.map(\.port.segment)
      segments += state.heldFillings.map(\.segment)
      for segment in segments { _ = segment.releaseLocks(of: tag) }
      state.settleMonitors()
    }
  }
}
