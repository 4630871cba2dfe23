import Glibc
import NetmapCore
import Synchronization

/// A network interface without a network: packets sent on a ring pair come back on the same pair.
///
/// It treats buffers as a real backend must: it lends each one through its owner byte, keeps its own
/// record of the buffer of each slot, and does not trust slots.
final class FakeInterface: InterfaceBackend {
  /// A call of the control side.
  enum Call: Hashable {
    case activate(Int)
    case deactivate(Int)
  }

  private struct State {
    var calls: [Call] = []
    var active: Set<Int> = []
    var failures: [Int: NetmapError] = [:]
  }

  let name: String
  let geometry: PortGeometry
  let backendDescription = BackendDescription(
    name: "fake", mode: "copy", refusals: ["xdp: there is no interface"])
  /// Hardware pairs first, then host pairs.
  let pairs: [FakePair]
  private let state = Mutex(State())
  private nonisolated(unsafe) var lastRegion: Region?

  init(_ name: String, _ geometry: PortGeometry) {
    self.name = name
    self.geometry = geometry
    let count =
      max(geometry.transmitRings, geometry.receiveRings)
      + max(geometry.hostTransmitRings, geometry.hostReceiveRings)
    pairs = (0..<count).map { _ in FakePair() }
  }

  func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError) {
    unsafe lastRegion = placement.region
    let failure = state.withLock { state -> NetmapError? in
      state.calls.append(.activate(index))
      if let failure = state.failures[index] { return failure }
      state.active.insert(index)
      return nil
    }
    if let failure { throw failure }
  }

  func deactivate(pair index: Int) {
    state.withLock {
      $0.calls.append(.deactivate(index))
      $0.active.remove(index)
    }
    pairs[index].giveBack()
  }

  func driverSource(for ring: RingPlacement) throws(NetmapError) -> RingDriverSource {
    let pair = unsafe pairs[ring.index]
    unsafe pair.place(ring)
    let context = unsafe Unmanaged.passUnretained(pair).toOpaque()
    return unsafe .here(
      ring.direction == .transmit
        ? RingDriverFunction(context: context, synchronize: fakeTransmit)
        : RingDriverFunction(context: context, synchronize: fakeReceive))
  }

  /// Calls so far, in order.
  var calls: [Call] { state.withLock { $0.calls } }
  /// Pairs that are active now.
  var active: Set<Int> { state.withLock { $0.active } }

  func failActivation(of pair: Int, with error: NetmapError?) {
    state.withLock { $0.failures[pair] = error }
  }

  /// The region of the last activation.
  var region: Region? { unsafe lastRegion }
}

/// The interfaces of an imaginary host.
final class FakeInterfaces: InterfaceProvider {
  let interfaces: [String: FakeInterface]
  private let opened = Mutex<[String]>([])

  /// - Parameter geometries: Interfaces by name. Opening `broken0` fails with `EOPNOTSUPP`.
  init(_ geometries: [String: PortGeometry] = ["fake0": .fake]) {
    interfaces = Dictionary(
      uniqueKeysWithValues: geometries.map { ($0.key, FakeInterface($0.key, $0.value)) })
  }

  func open(
    _ name: String, backend: PortSpecification.BackendChoice?
  ) throws(NetmapError) -> (any InterfaceBackend)? {
    opened.withLock { $0.append(name) }
    if name == "broken0" {
      throw NetmapError(
        .unsupported, "open", name, reason: "its driver is broken", remedy: "choose another one")
    }
    return interfaces[name]
  }

  /// The names of all open calls.
  var asked: [String] { opened.withLock { $0 } }

  subscript(name: String) -> FakeInterface {
    guard let interface = interfaces[name] else { preconditionFailure("no interface \(name)") }
    return interface
  }
}

extension PortGeometry {
  /// More transmit than receive rings, but fewer host transmit than host receive rings, so that tests
  /// notice when counts are mixed up.
  static let fake = PortGeometry(
    transmitRings: 3, receiveRings: 2, transmitSlots: 8, receiveSlots: 16, hostTransmitRings: 1,
    hostReceiveRings: 2)

  static func pairs(_ count: Int, slots: Int = 8) -> PortGeometry {
    PortGeometry(
      transmitRings: count, receiveRings: count, transmitSlots: slots, receiveSlots: slots)
  }
}

/// The ring driver of one ring pair: frames wait here between transmit and receive.
final class FakePair: @unchecked Sendable {
  @safe private struct State {
    var frames: [(bytes: [UInt8], more: Bool)] = []
    /// For each receive slot: the buffer lent to "the hardware"; 0 if the slot's index was invalid.
    var held: [UInt32] = []
    var ownership: BufferOwnership?
    var receiverWaitWord: WaitWord?
    var failure: Int32 = 0
    var flags: [SyncFlags] = []
  }
  private let lock = Mutex(())
  private nonisolated(unsafe) var state = State()

  private func withState<R>(_ body: (inout State) -> R) -> R {
    lock.withLock { _ in unsafe body(&state) }
  }

  /// Frames beyond this many are dropped.
  static let queueCapacity = 64

  /// Makes every further sync of the pair fail with this `errno`; with 0, syncs succeed again.
  func fail(with code: Int32) {
    withState { $0.failure = code }
  }

  /// The flags of every sync so far.
  var flagsSeen: [SyncFlags] { withState { $0.flags } }

  /// Whether frames have been sent and not yet received.
  var hasFrames: Bool { withState { !$0.frames.isEmpty } }

  /// Buffers that are lent now.
  var lent: [UInt32] { withState { $0.held.filter { $0 != 0 } } }

  fileprivate func place(_ ring: RingPlacement) {
    let direction = unsafe ring.direction
    let ownership = unsafe ring.ownership
    let slots = unsafe (0..<ring.ring.slotCount).map {
      unsafe ring.ring.slot($0).pointee.bufferIndex
    }
    withState { state in
      state.ownership = ownership
      // The empty slots go to the hardware when the ring is first attached.
      guard direction == .receive, state.held.isEmpty else { return }
      state.held = slots.map { ownership.lend($0) ? $0 : 0 }
    }
  }

  fileprivate func giveBack() {
    withState { state in
      for buffer in state.held where buffer != 0 { _ = state.ownership?.takeBack(buffer) }
      state.held = []
      state.frames = []
      unsafe state.receiverWaitWord = nil
    }
  }

  fileprivate func transmit(_ port: MappedRing, upTo head: UInt32, _ flags: SyncFlags) -> Int32 {
    let (ring, kring) = unsafe (port.ring, port.kring)
    var frames: [(bytes: [UInt8], more: Bool)] = []
    var lent: [UInt32] = []
    guard let ownership = withState({ $0.ownership }) else { return EIO }
    var index = unsafe kring.cursors.hwcur
    while index != head {
      let slot = unsafe port.lendSlot(index, ownership)
      index = unsafe ring.next(index)
      if slot.buffer != 0 { lent.append(slot.buffer) }
      let bytes = unsafe UnsafeRawBufferPointer(
        start: ring.buffer(slot.buffer) + slot.offset, count: slot.length)
      frames.append((unsafe [UInt8](bytes), slot.flags.contains(.moreFragments)))
      unsafe kring.count(.packets)
    }
    // The frames are sent: return the buffers to the application.
    for buffer in lent { _ = ownership.takeBack(buffer) }
    let (dropped, wakes) = unsafe withState { state -> (Int, WaitWord?) in
      state.flags.append(flags)
      let room = max(0, Self.queueCapacity - state.frames.count)
      state.frames += frames.prefix(room)
      return unsafe (max(0, frames.count - room), frames.isEmpty ? nil : state.receiverWaitWord)
    }
    unsafe kring.countDrop(.ringFull, UInt64(dropped))
    unsafe kring.store(hwcur: head)
    unsafe kring.store(hwtail: head == 0 ? ring.slotCount - 1 : head - 1)
    unsafe wakes?.wake(port.doorbells)
    return 0
  }

  fileprivate func receive(_ port: MappedRing, upTo head: UInt32, _ flags: SyncFlags) -> Int32 {
    let (ring, kring) = unsafe (port.ring, port.kring)
    let waitWord = unsafe port.waitWord
    return withState { state in
      unsafe state.receiverWaitWord = waitWord
      state.flags.append(flags)
      guard let ownership = state.ownership else { return EIO }
      var index = unsafe kring.cursors.hwcur
      while index != head {
        let buffer = unsafe ring.slot(index).pointee.bufferIndex
        let good = ownership.lend(buffer)
        if !good { unsafe kring.countDrop(.badBufferIndex) }
        state.held[Int(index)] = good ? buffer : 0
        index = unsafe ring.next(index)
      }
      unsafe kring.store(hwcur: head)
      let limit = unsafe head == 0 ? ring.slotCount - 1 : head - 1
      index = unsafe kring.cursors.hwtail
      while index != limit, !state.frames.isEmpty {
        let frame = state.frames.removeFirst()
        let buffer = state.held[Int(index)]
        if buffer != 0 { _ = ownership.takeBack(buffer) }
        state.held[Int(index)] = 0
        let target = unsafe UnsafeMutableRawBufferPointer(
          start: ring.buffer(buffer), count: Int(ring.bufferSize))
        unsafe target.copyBytes(from: frame.bytes)
        unsafe ring.slot(index).pointee = Slot(
          bufferIndex: buffer, length: UInt16(frame.bytes.count),
          flags: frame.more ? .moreFragments : [])
        unsafe kring.count(.packets)
        index = unsafe ring.next(index)
      }
      unsafe kring.store(hwtail: index)
      return 0
    }
  }

  fileprivate var failure: Int32 { withState { $0.failure } }
}

private func fakeTransmit(
  _ context: UnsafeMutableRawPointer?, _ ring: UnsafeRawPointer, _ head: UInt32, _ flags: UInt32
) -> Int32 {
  unsafe withPair(context) { pair in
    let port = unsafe MappedRing(calledWith: ring)
    return unsafe pair.transmit(port, upTo: head, SyncFlags(rawValue: flags))
  }
}

private func fakeReceive(
  _ context: UnsafeMutableRawPointer?, _ ring: UnsafeRawPointer, _ head: UInt32, _ flags: UInt32
) -> Int32 {
  unsafe withPair(context) { pair in
    let port = unsafe MappedRing(calledWith: ring)
    return unsafe pair.receive(port, upTo: head, SyncFlags(rawValue: flags))
  }
}

private func withPair(
  _ context: UnsafeMutableRawPointer?, _ body: (FakePair) -> Int32
) -> Int32 {
  guard let context = unsafe context else { return EINVAL }
  let pair = unsafe Unmanaged<FakePair>.fromOpaque(context).takeUnretainedValue()
  return pair.failure == 0 ? body(pair) : pair.failure
}

/// A view into a region: a port with one tiny ring, which keeps the region in use so that the engine
/// does not reset its pools.
struct RegionProbe {
  let region: Region
  private let port: TestPort

  /// Opens `name`, which must not be open yet, in region `memoryID`; 0 is the region that interfaces
  /// share.
  init(
    _ engine: Engine, _ interfaces: FakeInterfaces, memoryID: UInt16 = 0, name: String = "probe0"
  )
    throws
  {
    port = try TestPort(engine, name, flags: .transmitOnly, memoryID: memoryID)
    guard let region = interfaces[name].region else { preconditionFailure("never activated") }
    self.region = region
  }

  var free: Free {
    let counts = region.freeCounts
    return Free(interfaces: counts.interfaces, rings: counts.rings, buffers: counts.buffers)
  }

  /// The buffers that the probe's own ring holds.
  var buffers: [UInt32] { port.tx().bufferIndexes }

  /// Free objects of each pool.
  struct Free: Hashable {
    var interfaces: Int
    var rings: Int
    var buffers: Int
  }
}

extension FakeInterfaces {
  /// `probe0` for a ``RegionProbe``, and `fake0` for everything else.
  static func probed(_ geometry: PortGeometry = .fake) -> FakeInterfaces {
    FakeInterfaces(["probe0": .pairs(1, slots: 2), "fake0": geometry])
  }
}
