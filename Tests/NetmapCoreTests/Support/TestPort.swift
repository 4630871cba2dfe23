import CNetmap
import NetmapCore

/// A port opened on an engine for one test. It closes with the object.
final class TestPort {
  let engine: Engine
  let registration: Registration
  let mapped: MappedPort
  let tag: ClientTag
  private var isOpen = true

  init(
    _ engine: Engine, _ name: String, _ selection: RingSelection = .allHardware,
    flags: BindingFlags = [], extensions: PortExtensions = [], memoryID: UInt16 = 0,
    memory: ProgramMemory? = nil, hints: RingGeometryHints = .none,
    extraBuffers: Int = 0, offsets: OffsetsOption? = nil, stampsAlways: Bool = true
  ) throws {
    self.engine = engine
    var request = RegisterRequest(
      name: try PortName(name), selection: selection, flags: flags, extensions: extensions,
      memoryID: memoryID, hints: hints, extraBuffers: extraBuffers, offsets: offsets)
    request.memory = memory
    var registration = try engine.register(request)
    if !stampsAlways { registration.defaults.insert(.stampsOnRequest) }
    self.registration = registration
    tag = try engine.addClient(process: 1)
    mapped = try engine.mapPort(registration, tag: tag)
  }

  deinit { close() }

  /// Closes the port, as closing a client's descriptor does; closing twice does nothing.
  func close() {
    guard isOpen else { return }
    isOpen = false
    engine.release(registration.id)
    engine.removeClient(tag)
  }

  /// Transmit ring `index` of those that the binding holds.
  func tx(_ index: Int = 0) -> TestRing { unsafe TestRing(mapped.transmit(index), self) }

  /// Receive ring `index` of those that the binding holds.
  func rx(_ index: Int = 0) -> TestRing { unsafe TestRing(mapped.receive(index), self) }

  var interface: TestInterface {
    TestInterface(memory: registration.region, offset: registration.interfaceOffset)
  }
}

/// A `netmap_if` as an application reads it.
struct TestInterface {
  let memory: SharedMemory
  let offset: Int

  func word(_ field: Int) -> UInt32 { memory.load(at: offset + field, as: UInt32.self) }

  var name: String {
    var bytes: [UInt8] = []
    for index in 0..<16 {
      let byte = memory.load(at: offset + index, as: UInt8.self)
      if byte == 0 { break }
      bytes.append(byte)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  var flags: UInt32 { word(20) }
  var transmitRings: Int { Int(word(24)) }
  var receiveRings: Int { Int(word(28)) }
  var hostTransmitRings: Int { Int(word(36)) }
  var hostReceiveRings: Int { Int(word(40)) }

  /// `ni_bufs_head`.
  var extraBuffersHead: UInt32 {
    get { word(32) }
    nonmutating set { memory.store(newValue, at: offset + 32) }
  }

  /// `ring_ofs[index]`.
  func ringOffset(_ index: Int) -> Int {
    Int(memory.load(at: offset + 56 + 8 * index, as: Int64.self))
  }

  var ringOffsets: [Int] {
    (0..<(transmitRings + hostTransmitRings + receiveRings + hostReceiveRings)).map(ringOffset)
  }
}

/// One ring of a ``TestPort``: the application's and the engine's side, with checks of every index.
@safe
struct TestRing {
  let mapped: MappedRing
  /// Keeps the memory mapped.
  let port: TestPort

  init(_ mapped: MappedRing, _ port: TestPort) {
    unsafe self.mapped = mapped
    self.port = port
  }

  private var ring: Ring { unsafe mapped.ring }
  private var kring: KRing { unsafe mapped.kring }

  var count: UInt32 { unsafe ring.slotCount }

  var head: UInt32 {
    get { unsafe ring.head }
    nonmutating set { unsafe ring.head = newValue }
  }
  var cur: UInt32 {
    get { unsafe ring.cur }
    nonmutating set { unsafe ring.cur = newValue }
  }
  var tail: UInt32 {
    get { unsafe ring.tail }
    nonmutating set { unsafe ring.tail = newValue }
  }
  var flags: UInt32 {
    get { unsafe ring.flags }
    nonmutating set { unsafe ring.flags = newValue }
  }
  var timestamp: (seconds: Int64, microseconds: Int64) { unsafe ring.timestamp }

  var hwcur: UInt32 {
    get { unsafe kring.cursors.hwcur }
    nonmutating set { unsafe kring.store(hwcur: newValue) }
  }
  var hwtail: UInt32 {
    get { unsafe kring.cursors.hwtail }
    nonmutating set { unsafe kring.store(hwtail: newValue) }
  }
  var rhead: UInt32 {
    get { unsafe kring.cursors.rhead }
    nonmutating set { unsafe kring.store(rhead: newValue) }
  }
  var rcur: UInt32 {
    get { unsafe kring.cursors.rcur }
    nonmutating set { unsafe kring.store(rcur: newValue) }
  }
  var rtail: UInt32 {
    get { unsafe kring.cursors.rtail }
    nonmutating set { unsafe kring.store(rtail: newValue) }
  }
  /// The position that this side of a pipe has published for the other.
  var position: UInt32 { unsafe kring.acquirePosition() }
  /// The ring's own record of the position that it has published.
  var published: UInt32 {
    get { unsafe kring.published }
    nonmutating set {
      unsafe kring.base.storeBytes(
        of: newValue, toByteOffset: KRingLayout.published, as: UInt32.self)
    }
  }
  var state: KRingState {
    get { unsafe kring.state }
    nonmutating set { unsafe kring.state = newValue }
  }
  var offsetMask: UInt64 { unsafe kring.offsetMask }
  var offsetMax: UInt64 { unsafe kring.offsetMax }
  var counters: RingCounters { unsafe mapped.counters }

  /// Moves `head` and `cur` together.
  func move(to index: UInt32) {
    cur = index
    head = index
  }

  @discardableResult
  func sync(_ flags: SyncFlags = []) -> SyncResult { unsafe mapped.synchronize(flags) }

  func lock(_ tag: ClientTag) -> Bool { unsafe kring.tryLock(tag) }
  func unlock() { unsafe kring.unlock() }
  var lockHolder: UInt64 { unsafe kring.lockHolder }

  func next(_ index: UInt32) -> UInt32 { index + 1 == count ? 0 : index + 1 }

  /// Slots from `head` to `tail`.
  var space: UInt32 { (tail + count - head) % count }

  subscript(index: UInt32) -> Slot {
    get {
      precondition(index < count)
      return unsafe ring.slot(index).pointee
    }
    nonmutating set {
      precondition(index < count)
      unsafe ring.slot(index).pointee = newValue
    }
  }

  var slots: [Slot] { (0..<count).map { self[$0] } }
  var bufferIndexes: [UInt32] { slots.map(\.bufferIndex) }

  /// The slots of the ring this one is joined to, whether or not that ring is open.
  var peerSlots: [Slot] {
    (0..<count).map { unsafe mapped.peerRing.slot($0).pointee }
  }
  func setPeerSlot(_ index: UInt32, _ slot: Slot) {
    precondition(index < count)
    unsafe mapped.peerRing.slot(index).pointee = slot
  }
  var peerHwcur: UInt32 { unsafe mapped.peerKRing.cursors.hwcur }

  /// A field of the ring's header.
  func field<T: BitwiseCopyable>(_ offset: Int, as type: T.Type) -> T {
    precondition(offset + MemoryLayout<T>.size <= 256)
    return unsafe ring.base.loadUnaligned(fromByteOffset: offset, as: type)
  }

  /// The offset of the ring in the region.
  var offset: Int { unsafe ring.base - port.registration.region.base }

  /// The first 8 bytes of a buffer (of buffer 0 for an invalid index).
  func payload(_ buffer: UInt32) -> UInt64 {
    unsafe ring.buffer(buffer).loadUnaligned(as: UInt64.self)
  }
  func setPayload(_ buffer: UInt32, _ value: UInt64) {
    unsafe ring.buffer(buffer).storeBytes(of: value, as: UInt64.self)
  }
  /// The offset of a buffer in the region.
  func bufferOffset(_ buffer: UInt32) -> Int {
    unsafe ring.buffer(buffer) - port.registration.region.base
  }
}

extension TestRing {
  /// Fills the slots from `head` on, one packet each, and moves `head` and `cur`; no sync.
  func put(_ numbers: some Sequence<UInt64>) {
    for number in numbers {
      let index = head
      precondition(index != tail, "the ring is full")
      self[index].length = 60
      self[index].flags.remove(.moreFragments)
      setPayload(self[index].bufferIndex, number)
      move(to: next(index))
    }
  }

  /// Puts and syncs.
  func send(_ numbers: some Sequence<UInt64>) {
    put(numbers)
    sync()
  }

  func send(_ number: UInt64) { send(CollectionOfOne(number)) }

  /// The payloads of the slots from `head` to `tail`.
  var visible: [UInt64] {
    var result: [UInt64] = []
    var index = head
    while index != tail {
      result.append(payload(self[index].bufferIndex))
      index = next(index)
    }
    return result
  }

  /// Syncs, takes everything that is visible, and syncs again.
  func receive() -> [UInt64] {
    sync()
    let result = visible
    move(to: tail)
    sync()
    return result
  }
}

extension RingGeometryHints {
  /// One ring of `count` slots each way.
  static func slots(_ count: UInt32) -> Self { Self(transmitSlots: count, receiveSlots: count) }
}

/// Both ends of a pipe on an engine of their own.
struct TestPipe {
  let engine: Engine
  let master: TestPort
  let slave: TestPort

  init(_ hints: RingGeometryHints = .slots(4), engine: Engine? = nil) throws {
    let owner = try engine ?? Engine()
    self.engine = owner
    master = try TestPort(owner, "a{1", hints: hints)
    slave = try TestPort(owner, "a}1")
  }
}
