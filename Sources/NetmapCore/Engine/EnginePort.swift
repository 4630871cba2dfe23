/// A port as the engine knows it: geometry, memory, and who holds which ring.
///
/// Upstream calls this an adapter. Everything a data path needs is in the port's segment; what is here
/// is the engine's own, and is never read from shared memory. Guarded by the engine's lock.
final class EnginePort {
  enum Kind {
    /// A port that exists because pipes hang on it (or would): whatever it sends is discarded.
    case virtual
    /// One end of a pipe.
    case pipeEnd
    /// Rings without packets.
    case null
    /// A network interface, or something that stands for one.
    case interface(any InterfaceBackend)
    /// A port of a VALE switch.
    case bridge
  }

  /// The engine's record of one ring.
  struct RingState {
    /// Bindings that hold the ring.
    var users = 0
    /// Held by one binding alone.
    var isExclusive = false
    /// Where the ring object is in the region; nil while there is none.
    var offset: Int?
  }

  let name: PortName
  let kind: Kind
  let geometry: PortGeometry
  let segment: SyncSegment
  /// Which end of the segment this port is.
  let end: Int
  /// An idle interface may be given another region for as long as it is bound.
  private(set) var region: Region
  /// The region to go back to then.
  var ownRegion: Region?

  private var transmit: [RingState]
  private var receive: [RingState]

  /// Whether the directory shows the port.
  let isListed: Bool

  /// Which binding records of the segment are taken; the two ends of a pipe share them.
  let bindingSlots: BindingSlots

  /// The port's record in the directory, while it is listed.
  var directoryIndex: Int?

  /// Bindings on this port now.
  var bindings = 0

  /// Bindings by ring pair: those that hold at least one ring of it.
  var pairUsers: [Int: Int] = [:]

  /// The pair this port is an end of.
  unowned(unsafe) var pair: PipePair?

  /// The switches the port is on, in the order in which it was put there. It sends and receives on the
  /// first.
  var memberships: [BridgeMember] = []
  var membership: BridgeMember? { memberships.first }

  /// Whether the port stays when nobody has it open.
  var isPersistent = false

  /// The name on a switch under which the engine itself holds the port: an interface there, and the switch
  /// port that it has. Nobody else can open it.
  var attachedAs: PortName?
  /// Of a switch port: bytes of virtio-net header before each frame, and the longest frame it takes of a
  /// packet that has to be cut (`PORT_HDR_SET`).
  var headerLength = 0
  var frameLimit = FrameShape.usualLimit
  /// Whether the port was attached with back-pressure, and how many bindings that receive asked for it.
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

  /// Which interface the port is; nil for other ports, and where names say it all.
  var identity: InterfaceIdentity? {
    if case .interface(let backend) = kind { backend.identity } else { nil }
  }

  /// What the engine knows the port by.
  var key: EngineState.PortKey { identity.map { .interface($0) } ?? .name(name) }

  /// The kind of a ring's data path.
  var ringKind: RingKind {
    switch kind {
    case .virtual: .discard
    case .pipeEnd: .pipe
    case .null: .null
    case .interface: .backend
    case .bridge: .bridge
    }
  }

  /// Whether slots may carry offsets.
  var supportsOffsets: Bool {
    switch kind {
    case .virtual, .pipeEnd, .null, .bridge: true
    case .interface: false
    }
  }

  func kring(_ direction: Direction, _ index: Int) -> KRing {
    guard let kring = unsafe segment.kring(end: end, direction, index) else {
      preconditionFailure("ring \(index) is outside the port's own segment")
    }
    return unsafe kring
  }

  /// Puts the port into another region; none of its rings exist.
  func move(to other: Region) {
    region = other
    segment.describeBuffers(other.layout)
  }

  /// Nobody uses the port, and no pipe hangs on it.
  var isIdle: Bool { bindings == 0 && pipes.isEmpty }
}

/// The free binding records of a segment.
final class BindingSlots {
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
