import Glibc
import NetmapCore
import NetmapLinuxSetup

/// A port on an interface whose slots a test reads and writes as a C program does.
@safe
final class RawPort {
  let engine: Engine
  let registration: Registration
  private let mapped: MappedPort
  private let tag: ClientTag
  private var isOpen = true

  /// - Parameters:
  ///   - engine: An engine with Linux's interfaces.
  ///   - interface: The interface.
  ///   - choice: `packet`, or `xdp` and its mode as in `xdp,mode=copy`; nil for the best backend.
  ///   - offsets: The offsets option.
  /// - Throws: The engine's refusal.
  init(
    _ engine: Engine, _ interface: String, _ choice: String? = nil, offsets: OffsetsOption? = nil
  ) throws {
    self.engine = engine
    let backend = choice.map { "@backend:name=\($0)" } ?? ""
    let specification = try PortSpecification.parse("netmap:\(interface)\(backend)")
    registration = try engine.register(
      RegisterRequest(
        name: specification.name, selection: specification.selection, offsets: offsets,
        backend: specification.backend))
    tag = try engine.addClient(process: getpid())
    mapped = try engine.mapPort(registration, tag: tag)
  }

  deinit { close() }

  func close() {
    guard isOpen else { return }
    isOpen = false
    mapped.detach()
    engine.release(registration.id)
    engine.removeClient(tag)
  }

  var transmit: Ring { unsafe mapped.transmit(0).ring }
  var receive: Ring { unsafe mapped.receive(0).ring }

  func counters(_ direction: Direction) -> RingCounters {
    unsafe (direction == .transmit ? mapped.transmit(0) : mapped.receive(0)).kring.counters
  }

  @discardableResult
  func sync(_ direction: Direction) -> SyncResult {
    unsafe direction == .transmit
      ? mapped.transmit(0).synchronize(.forceReclaim) : mapped.receive(0).synchronize(.forceRead)
  }

  /// Where the packet of a slot begins in its buffer.
  func offset(_ slot: Slot, _ ring: Ring) -> Int {
    unsafe ring.offsetMask == 0 ? 0 : Int(slot.pointer & ring.offsetMask)
  }

  /// Puts a frame into the next transmit slot, at the slot's offset, and hands the slot over.
  func put(_ frame: [UInt8], flags: SlotFlags = []) {
    let ring = unsafe transmit
    let index = unsafe ring.head
    let slot = unsafe ring.load(index)
    let buffer = unsafe ring.buffer(slot.bufferIndex) + offset(slot, ring)
    for (place, byte) in frame.enumerated() {
      unsafe buffer.storeBytes(of: byte, toByteOffset: place, as: UInt8.self)
    }
    unsafe ring.place(index).store(length: UInt16(frame.count), flags: flags)
    unsafe handOver(ring)
  }

  /// Moves the head of a ring by one slot.
  func handOver(_ ring: Ring) {
    unsafe ring.cur = ring.next(ring.head)
    unsafe ring.head = ring.cur
  }

  /// Syncs until all slots of the transmit ring are back.
  func flush() {
    for _ in 0..<1000 {
      sync(.transmit)
      let ring = unsafe transmit
      if unsafe ring.next(ring.tail) == ring.head { return }
      usleep(1000)
    }
  }

  /// Syncs until a packet is there, for two seconds at most.
  func wait() -> Bool {
    for _ in 0..<2000 {
      sync(.receive)
      if unsafe receive.head != receive.tail { return true }
      usleep(1000)
    }
    return false
  }

  func bytes(_ ring: Ring, _ buffer: UInt32, at offset: Int = 0, _ count: Int) -> [UInt8] {
    unsafe Array(
      UnsafeRawBufferPointer(start: UnsafeRawPointer(ring.buffer(buffer)) + offset, count: count))
  }

  /// Takes packets, slots joined, until there are `count` or none arrives for two seconds.
  ///
  /// - Parameters:
  ///   - count: How many packets.
  ///   - inspect: Called with each slot before it is released.
  /// - Returns: The packets.
  func take(_ count: Int, _ inspect: (UInt32, Slot) -> Void = { _, _ in }) -> [[UInt8]] {
    var result: [[UInt8]] = []
    var part: [UInt8] = []
    while result.count < count, wait() {
      let ring = unsafe receive
      while unsafe ring.head != ring.tail, result.count < count {
        let slot = unsafe ring.load(ring.head)
        inspect(unsafe ring.head, slot)
        part += unsafe bytes(ring, slot.bufferIndex, at: offset(slot, ring), Int(slot.length))
        if !slot.flags.contains(.moreFragments) {
          result.append(part)
          part = []
        }
        unsafe handOver(ring)
      }
    }
    return result
  }
}
