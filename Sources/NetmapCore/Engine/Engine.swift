internal import Synchronization

/// Plays the kernel's part: owns regions and ports, and answers requests as netmap's control device does, with
/// netmap's `errno` for every refusal.
///
/// The engine is the control plane only. A binding's data path works on shared memory (``MappedPort``) and never
/// calls the engine. Any thread may call any method. The engine answers one request at a time.
@safe
package final class Engine: Sendable {
  let lock = Mutex<Void>(())
  /// Guards the directory's clients. It is a separate lock, so that a process can become a client while the engine
  /// answers a request.
  private let clients = Mutex<Void>(())
  /// Guarded by ``lock``.
  nonisolated(unsafe) let state: EngineState

  /// Doorbells of this process's sleepers.
  package let doorbells: DoorbellTable

  private let lazyWorker = Mutex<Worker?>(nil)
  /// The links of interfaces on switches, where the worker of this process carries their packets.
  let links = Mutex<[PortName: InterfaceLink]>([:])

  /// Creates an engine that has no ports yet.
  ///
  /// - Parameters:
  ///   - interfaces: The provider of network interfaces; nil for an engine without any.
  ///   - tunables: The values of netmap's tunables.
  ///   - regionBlocks: Takes numbers for private regions (``RegionNumbers``); nil for an engine whose regions only this
  ///     process sees.
  /// - Throws: ``NetmapError`` when there is no memory or no descriptor left.
  package init(
    interfaces: (any InterfaceProvider)? = nil, tunables: Tunables = Tunables(),
    regionBlocks: RegionNumbers.Source? = nil
  ) throws(NetmapError) {
    doorbells = try DoorbellTable()
    unsafe state = EngineState(
      interfaces: interfaces, directory: try Directory(), tunables: tunables,
      regionNumbers: RegionNumbers(regionBlocks))
  }

  deinit { lazyWorker.withLock { $0?.stop() } }

  /// The worker, which carries the packets of isolated ports and of interfaces on switches. The first call creates
  /// it.
  ///
  /// - Throws: ``NetmapError`` when there are no descriptors left.
  package func worker() throws(NetmapError) -> Worker {
    try lazyWorker.withLock { (known) throws(NetmapError) -> Worker in
      if let known { return known }
      let made = try Worker(doorbells: doorbells)
      known = made
      return made
    }
  }

  /// Runs `body` on the engine's state, with the engine's lock held.
  func exclusively<R: Sendable>(
    _ body: (EngineState) throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    try lock.withLock { (_) throws(NetmapError) -> R in
      unsafe state.sweepSwitches()
      _ = unsafe state.finishLeases()
      unsafe state.settleMonitors()
      return unsafe try body(state)
    }
  }

  /// Registers a client, in whose name rings are synced: a process, or one open port of an embedded engine.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM` when there are too many.
  package func addClient(process: Int32) throws(NetmapError) -> ClientTag {
    try clients.withLock { (_) throws(NetmapError) in
      try directory.addClient(process: process)
    }
  }

  /// Removes a client. It must not hold the lock of any ring.
  package func removeClient(_ tag: ClientTag) {
    clients.withLock { _ in directory.removeClient(tag) }
  }

  /// The directory of ports, which other processes can map.
  package var directory: Directory { unsafe state.directory }
}

/// The engine's state: ordinary Swift objects, guarded by the engine's lock.
final class EngineState {
  let interfaces: (any InterfaceProvider)?
  let directory: Directory
  /// netmap's tunables. Whoever makes something that one of them describes reads it then.
  var tunables: Tunables
  /// What the tunables said when the shared region was made.
  private var sharedRegionOrder: RegionParameters?

  /// Regions by `nr_mem_id`.
  var regions: [UInt16: Region] = [:]
  private var regionNumbers: RegionNumbers

  /// Ports that can be opened: interfaces, switch ports, and parents of pipes that have no interface.
  var ports: [PortKey: EnginePort] = [:]

  /// VALE switches by name.
  var switches: [String: EngineSwitch] = [:]
  var lastSwitch: UInt64 = 0

  /// Sets of monitors with rings that were locked when the set changed; see ``settleMonitors()``.
  var unsettledMonitors: [ObjectIdentifier: EnginePort] = [:]

  /// Persistent ports, by name. They stay when no process has them open.
  var persistent: [String: EnginePort] = [:]

  /// Network interfaces that are on a switch, by the name they have there.
  var interfacesOnSwitches: [PortName: AttachedInterface] = [:]

  /// Ports and rings that have left a switch, but that senders may still be writing to.
  var leaving: [SwitchQuarantine] = []

  /// Leases of dead senders that the engine could not finish yet.
  var orphans: [OrphanLease] = []

  var bindings: [BindingID: Binding] = [:]

  /// Regions and sync segments of released bindings whose rings a process may still reach through its views.
  var quarantined: [BindingID: (region: Region, segment: SyncSegment, begun: UInt64)] = [:]
  private var lastBinding: UInt64 = 0

  init(
    interfaces: (any InterfaceProvider)?, directory: Directory, tunables: Tunables,
    regionNumbers: RegionNumbers
  ) {
    self.interfaces = interfaces
    self.directory = directory
    self.tunables = tunables
    self.regionNumbers = regionNumbers
  }

  /// The key under which the engine keeps a port.
  enum PortKey: Hashable {
    case name(PortName)
    case interface(InterfaceIdentity)
  }

  /// The engine's record of a binding.
  struct Binding {
    let port: EnginePort
    let index: Int
    let record: BindingRecord
    let isExclusive: Bool
  }

  func newBindingID() -> BindingID {
    lastBinding += 1
    return BindingID(number: lastBinding)
  }

  /// The region that NIC ports share. The first call creates it.
  ///
  /// A region that nothing uses is made again if the tunables have changed since.
  ///
  /// - Parameter geometry: The rings of the interface that is about to use it; nil for another use.
  /// - Returns: The region with number 1.
  /// - Throws: ``NetmapError`` `ENOMEM` when the host has no memory for it.
  func globalRegion(for geometry: PortGeometry? = nil) throws(NetmapError) -> Region {
    let order = tunables.sharedRegion
    if let region = regions[1], sharedRegionOrder == order || isInUse(region) { return region }
    let parameters = geometry.map { order.sized(for: $0) } ?? order
    let region = try Region(id: 1, isPrivate: false, parameters)
    regions[1] = region
    sharedRegionOrder = order
    return region
  }

  /// Whether a port lies in a region, returns to it, or has left objects there that a process may still see.
  private func isInUse(_ region: Region) -> Bool {
    region.isUsed || region.isQuarantining
      || ports.values.contains { $0.region === region || $0.ownRegion === region }
      || persistent.values.contains { $0.region === region }
  }

  /// The region that a request names.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when there is none of that number.
  func region(_ id: UInt16, for name: String) throws(NetmapError) -> Region {
    if id == 1 { return try globalRegion() }
    guard let region = regions[id] else {
      throw NetmapError(
        .invalidArgument, "open", name, reason: "there is no memory region \(id)",
        remedy: "leave the number out, or use the number of an open port")
    }
    return region
  }

  /// Creates a private region, with a number that is not in use.
  func newRegion(_ parameters: RegionParameters) throws(NetmapError) -> Region {
    try newRegion { (id) throws(NetmapError) in
      try Region(id: id, isPrivate: true, parameters)
    }
  }

  /// The region in a program's memory. Creates it unless a process has registered the same memory, which then keeps the
  /// objects that it was made with.
  ///
  /// The caller drops the region (``dropIfUnused(_:)-(Region)``) if no port comes to lie in it.
  ///
  /// - Throws: ``NetmapError`` as ``ProgramMemory/layout``, or the error from creating the memory.
  func region(in memory: ProgramMemory) throws(NetmapError) -> Region {
    try memory.checkSize()
    let key = memory.origin.map { memory.key(at: $0) }
    if let key, let known = regions.values.first(where: { $0.keys.contains(key) }) { return known }
    let layout = try memory.layout
    let region = try newRegion { (id) throws(NetmapError) in
      try Region(id: id, isPrivate: true, layout)
    }
    if let key { region.keys.insert(key) }
    // What a process names that registers the same addresses again.
    let identity = region.memory.identity
    region.keys.insert(
      memory.key(
        at: .init(device: identity.device, file: identity.file, birth: 0, offset: 0)))
    return region
  }

  private func newRegion(
    _ make: (UInt16) throws(NetmapError) -> Region
  ) throws(NetmapError) -> Region {
    for _ in 0..<Int(UInt16.max) {
      let id = regionNumbers.next()
      guard regions[id] == nil else { continue }
      let region = try make(id)
      regions[id] = region
      return region
    }
    throw NetmapError(
      .outOfMemory, "create", "memory region", reason: "all 65534 numbers are in use",
      remedy: "close some ports")
  }

  /// Removes a private region once no port lies in it.
  func dropIfUnused(_ region: Region) {
    guard region.isPrivate else { return }
    let isUsed =
      ports.values.contains { $0.region === region }
      || bindings.values.contains { $0.port.region === region } || !region.heldRings.isEmpty
    if !isUsed { regions[region.id] = nil }
  }
}
