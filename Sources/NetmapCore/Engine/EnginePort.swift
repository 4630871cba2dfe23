/// The engine's record of a port: its geometry, its memory, and how many bindings hold each ring.
///
/// Upstream calls this an adapter. The port's segment has everything that a data path needs. This record belongs to
/// the engine, and no part of it is read from shared memory. Guarded by the engine's lock.
final class EnginePort {
  enum Kind {
    /// A port that exists only as the parent of pipes. Packets that are sent to it are discarded.
    case virtual
    /// One end of a pipe.
    case pipeEnd
    /// Rings without packets.
    case null
    /// A network interface, or a stand-in for one.
    case interface(any InterfaceBackend)
    /// A port of a VALE switch.
    case vale
    /// A monitor of another port; without its record in a dump.
    case monitor(EngineMonitor?)
  }

  /// The engine's record of one ring.
  struct RingState {
    /// How many bindings hold the ring.
    var users = 0
    /// Whether one binding holds the ring exclusively.
    var isExclusive = false
    /// The offset of the ring object in the region; nil while there is none.
    var offset: Int?
  }

  let name: PortName
  let kind: Kind
  let geometry: PortGeometry
  let segment: SyncSegment
  /// The end of the segment that is this port's.
  let end: Int
  /// The region of the port's rings. An idle interface may be lent another region for as long as it is bound.
  private(set) var region: Region
  /// The port's own region while another one is lent to it; nil otherwise.
  var ownRegion: Region?

  private var transmit: [RingState]
  private var receive: [RingState]

  /// Whether the directory shows the port.
  let isListed: Bool

  /// The free binding records of the segment. The two ends of a pipe share them.
  let bindingSlots: BindingSlots

  /// The index of the port's record in the directory; nil while it is not listed.
  var directoryIndex: Int?

  /// How many bindings the port has now.
  var bindings = 0

  /// For each ring pair, how many bindings hold at least one ring of it.
  var pairUsers: [Int: Int] = [:]

  /// The pipe that this port is an end of; nil for other ports.
  unowned(unsafe) var pair: PipePair?

  /// The port's places on switches, in the order in which it was attached. It sends and receives on the first one.
  var memberships: [SwitchMember] = []
  var membership: SwitchMember? { memberships.first }

  /// Whether the port stays when no process has it open.
  var isPersistent = false

  /// The name on a switch under which the engine itself holds the port: an interface there, or the switch port of
  /// such an interface. Programs cannot open such a port.
  var attachedAs: PortName?
  /// Of a switch port (`PORT_HDR_SET`): the bytes of virtio-net header before each frame, and the longest frame
  /// that it takes when a longer packet has to be segmented.
  var headerLength = 0
  var frameLimit = FrameShape.usualLimit
  /// Whether the port was attached with backpressure, and how many receiving bindings asked for backpressure.
  var holdsWhileAttached = false
  var holdingBindings = 0

  /// Pipes that hang on this port.
  var pipes: [[UInt8]: PipePair] = [:]

  init(
    name: PortName, kind: Kind, geometry: PortGeometry, segment: SyncSegment, end: Int,
    region: Region, bindingSlots: BindingSlots, isListed: Bool = true
  ) {
    self.name = name
    self.kind = kind
    self.geometry = geometry
    self.segment = segment
    self.end = end
    self.region = region
    self.bindingSlots = bindingSlots
    self.isListed = isListed
    transmit = Array(repeating: RingState(), count: geometry.rings(.transmit))
    receive = Array(repeating: RingState(), count: geometry.rings(.receive))
  }

  subscript(direction: Direction, index: Int) -> RingState {
    get { direction == .transmit ? transmit[index] : receive[index] }
    set {
      if direction == .transmit { transmit[index] = newValue } else { receive[index] = newValue }
    }
  }

  /// The identity of an interface; nil for other ports, and where names alone identify interfaces.
  var identity: InterfaceIdentity? {
    if case .interface(let backend) = kind { backend.identity } else { nil }
  }

  /// The key under which the engine keeps the port.
  var key: EngineState.PortKey { identity.map { .interface($0) } ?? .name(name) }

  /// The kind of a ring's data path.
  var ringKind: RingKind {
    switch kind {
    case .virtual: .discard
    case .pipeEnd: .pipe
    case .null: .null
    case .interface: .backend
    case .vale: .vale
    case .monitor: .monitor
    }
  }

  /// Whether slots may carry offsets.
  var supportsOffsets: Bool {
    switch kind {
    case .virtual, .pipeEnd, .null, .vale: true
    case .monitor(let monitor): monitor?.exchanges != true
    case .interface(let backend): backend.supportsOffsets
    }
  }

  func kring(_ direction: Direction, _ index: Int) -> KRing {
    guard let kring = unsafe segment.kring(end: end, direction, index) else {
      preconditionFailure("ring \(index) is outside the port's own segment")
    }
    return unsafe kring
  }

  /// Moves the port into another region. None of its rings may exist.
  func move(to other: Region) {
    region = other
    segment.describeBuffers(other.layout)
  }

  /// Whether the port has no bindings, no pipes and no monitors.
  var isIdle: Bool { bindings == 0 && pipes.isEmpty && !monitors.hasAny(of: self) }

  /// The monitors of the port. A pipe's two ends share them, and so do the monitors of a port that exchange buffers, because
  /// the second one exchanges those of the first.
  var monitors: PortMonitors {
    monitorsRoot.bindingSlots.monitors
  }

  /// The port whose monitors ``monitors`` are: of a monitor that exchanges buffers, the monitored port.
  var monitorsRoot: EnginePort {
    if let monitor, monitor.exchanges { return monitor.parent }
    return self
  }

  /// The monitor that the port is; nil for other ports.
  var monitor: EngineMonitor? {
    if case .monitor(let monitor) = kind { monitor } else { nil }
  }
}

/// The free binding records of a segment, and what else the two ends of a pipe share.
final class BindingSlots {
  let monitors = PortMonitors()
  private var pool = ObjectPool(count: EngineLimits.bindingsPerPort)

  func take(for name: PortName) throws(NetmapError) -> Int {
    guard let index = pool.allocate() else {
      throw NetmapError(
        .outOfMemory, "open", name.rawValue,
        reason: "the port is open \(EngineLimits.bindingsPerPort) times already",
        remedy: "close some of them")
    }
    return index
  }

  func release(_ index: Int) {
    pool.release(index)
  }
}

/// The two ends of a pipe, made and destroyed together.
final class PipePair {
  let parent: EnginePort
  let id: [UInt8]
  let master: EnginePort
  let slave: EnginePort

  init(parent: EnginePort, id: [UInt8], master: EnginePort, slave: EnginePort) {
    self.parent = parent
    self.id = id
    self.master = master
    self.slave = slave
    unsafe master.pair = self
    unsafe slave.pair = self
  }

  func end(_ role: PortName.Pipe.Role) -> EnginePort {
    role == .master ? master : slave
  }

  func peer(of end: EnginePort) -> EnginePort {
    end === master ? slave : master
  }
}
