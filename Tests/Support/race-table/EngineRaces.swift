import Glibc
import Netmap
import NetmapCore
import TableSupport

// Readers in netmapd: its engine and its worker. The victim has an engine of its own, because an operation that begins
// and ends in one process can be repeated from the same state.

/// A port of the victim's engine.
final class EnginePort {
  let engine: Engine
  let registration: Registration
  let tag: ClientTag
  let mapped: MappedPort

  static let slots = 64

  init(
    _ engine: Engine, _ name: String, flags: BindingFlags = [], extensions: PortExtensions = [],
    extraBuffers: Int = 0, memory: ProgramMemory? = nil
  ) throws {
    self.engine = engine
    var request = RegisterRequest(
      name: try PortName(name), flags: flags, extensions: extensions,
      hints: RingGeometryHints(
        transmitSlots: UInt32(Self.slots), receiveSlots: UInt32(Self.slots)),
      extraBuffers: extraBuffers)
    request.memory = memory
    registration = try engine.register(request)
    tag = try engine.addClient(process: getpid())
    mapped = try engine.mapPort(registration, tag: tag)
  }

  /// Puts packets of 60 bytes into the transmit ring.
  func fill(_ count: Int) {
    let ring = unsafe mapped.transmit(0).ring
    for _ in 0..<count {
      let index = unsafe ring.head
      guard unsafe index != ring.tail else { return }
      unsafe ring.place(index).store(length: 60, flags: [])
      unsafe ring.cur = ring.next(index)
      unsafe ring.head = ring.next(index)
    }
  }

  func send(_ count: Int) {
    fill(count)
    _ = unsafe mapped.transmit(0).synchronizeTransmit([])
  }

  /// Takes all packets out of the receive ring.
  func drain() {
    _ = unsafe mapped.receive(0).synchronizeReceive([])
    let ring = unsafe mapped.receive(0).ring
    let tail = unsafe ring.tail
    unsafe ring.cur = tail
    unsafe ring.head = tail
    _ = unsafe mapped.receive(0).synchronizeReceive([])
  }
}

/// netmapd's check (`netmap ports --check`).
struct CheckRace: RaceRow {
  let name = "netmapd: check"

  func victim(_ host: HostEngine) throws -> RaceOperation {
    let engine = try Engine()
    let ports = [
      try EnginePort(engine, "netmap:raced{1", extraBuffers: 4),
      try EnginePort(engine, "netmap:raced}1"),
      try EnginePort(engine, "vale7:raced"), try EnginePort(engine, "vale7:other"),
    ]
    for port in ports { port.send(3) }
    return RaceOperation {
      let count = engine.check().findings.count
      withExtendedLifetime(ports) {}
      return UInt64(count)
    }
  }
}

/// netmapd's worker, which carries the packets of an isolated port.
struct WorkerRace: RaceRow {
  let name: String
  /// Whether the untrusted process sends.
  let isSender: Bool

  static let all = [
    WorkerRace(name: "worker, from an isolated port", isSender: true),
    WorkerRace(name: "worker, to an isolated port", isSender: false),
  ]

  func victim(_ host: HostEngine) throws -> RaceOperation {
    let engine = try Engine()
    let process = try EnginePort(engine, "netmap:isolated{1")
    let outside = try EnginePort(engine, "netmap:isolated}1")
    let inside = try EnginePort(engine, "netmap:inside{1")
    let peer = try EnginePort(engine, "netmap:inside}1")
    (isSender ? process : peer).send(3)
    let link = WorkerLink(inside: inside.mapped, outside: outside.mapped) {}
    return RaceOperation {
      let moved = link.turn()
      withExtendedLifetime((process, outside, inside, peer)) {}
      return UInt64(moved)
    }
  }
}

/// netmapd's repair after the death of a sender on a switch that had reserved slots, and of a forwarder in the middle
/// of an exchange.
struct RepairRace: RaceRow {
  let name: String
  let isSwitch: Bool

  static let all = [
    RepairRace(name: "netmapd: repair of a lease", isSwitch: true),
    RepairRace(name: "netmapd: repair of an exchange", isSwitch: false),
  ]

  func victim(_ host: HostEngine) throws -> RaceOperation {
    let engine = try Engine()
    let first = isSwitch ? "vale7:raced" : "netmap:raced{1"
    let dead = try EnginePort(engine, first)
    let other = try EnginePort(engine, isSwitch ? "vale7:other" : "netmap:raced}1")
    let kring = unsafe (isSwitch ? dead.mapped.transmit(0) : other.mapped.receive(0)).kring
    guard unsafe kring.tryLock(dead.tag) else { throw TableError("the ring is locked") }
    if isSwitch {
      let target = unsafe other.mapped.receive(0).kring
      let known = unsafe target.reservation
      unsafe kring.announce(
        LeaseTarget(
          port: other.mapped.vale?.index ?? 0, generation: other.mapped.vale?.generation ?? 0,
          ring: 0), known, slots: 5)
      guard unsafe target.reserve(from: known, upTo: known.following(5, of: 64)).isOurs else {
        throw TableError("no lease")
      }
    } else {
      dead.send(3)
      _ = unsafe other.mapped.receive(0).synchronizeReceive([])
      let (source, target) = unsafe (other.mapped.receive(0).ring, other.mapped.transmit(0).ring)
      let note = unsafe kring.exchangeNote
      unsafe note.begin(
        ExchangeNote.Owner(dead.tag, binding: other.registration.bindingIndex), at: 0, to: target,
        at: 0)
      unsafe note.exchange(0, source.loadWord(0), from: source.place(0), to: target.place(0))
      unsafe note.exchange(1, source.loadWord(1), from: source.place(1), to: target.place(1))
    }
    return RaceOperation {
      let count = engine.finishLeases(of: dead.tag)
      engine.finishExchanges(of: dead.tag)
      let locks = [dead, other].reduce(0) {
        $0 + $1.registration.segment.releaseLocks(of: dead.tag)
      }
      return UInt64(count + locks)
    }
  }
}

/// A process that maps a port which another process has opened.
struct AttachRace: RaceRow {
  let name: String
  let port: String

  static let all = [
    AttachRace(name: "attach to a pipe", port: "netmap:raced{1"),
    AttachRace(name: "attach on a switch", port: "vale7:raced"),
  ]

  func victim(_ host: HostEngine) throws -> RaceOperation {
    let engine = try Engine()
    let port = try EnginePort(engine, port)
    return RaceOperation {
      let known = port.registration
      var copy = Registration(
        id: known.id, name: known.name, bindingIndex: known.bindingIndex,
        interfaceOffset: known.interfaceOffset, memorySize: known.memorySize,
        memoryID: known.memoryID, geometry: known.geometry, extraBuffers: known.extraBuffers,
        offsetMax: known.offsetMax, region: known.region,
        segment: try SyncSegment(mapping: known.segment.memory), backend: known.backend)
      copy.place = known.place
      let mapped = try engine.mapPort(copy, tag: port.tag)
      return UInt64(mapped.transmitCount + mapped.receiveCount)
    }
  }
}

/// netmapd opens a port that is open already, and closes it again.
struct ReopenRace: RaceRow {
  let name: String
  let port: String

  static let all = [
    ReopenRace(name: "netmapd: open a pipe again", port: "netmap:raced{1"),
    ReopenRace(name: "netmapd: open on a switch again", port: "vale7:raced"),
  ]

  func victim(_ host: HostEngine) throws -> RaceOperation {
    let engine = try Engine()
    let port = try EnginePort(engine, port)
    port.send(3)
    let request = RegisterRequest(name: port.registration.name)
    return RaceOperation {
      let registration = try engine.register(request)
      engine.release(registration.id)
      return UInt64(registration.bindingIndex)
    }
  }
}
