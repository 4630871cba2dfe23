import Glibc
import Synchronization

@testable import NetmapCore
@testable import NetmapLinux

/// An interface whose XDP socket rings are memory of the test. The ring drivers run over that memory, and
/// only the test sends or receives. It may have a short cut, from its transmit ring to its receive ring.
@safe
final class FakeSocketRings: InterfaceBackend, Sendable {
  private static let slots = 64
  private let hasLane: Bool
  let geometry = PortGeometry(transmitSlots: slots, receiveSlots: slots)
  let backendDescription = BackendDescription(name: "fake", mode: "")
  // The engine calls a backend one call at a time, and the test reads the state afterwards.
  private nonisolated(unsafe) var state = State()

  @safe
  private struct State {
    var words: SharedMemory?
    var mappings: [XDPRingMapping] = []
    var contexts: [UInt] = []
    var receiving: XDPRingMapping?
    var sending: XDPRingMapping?
    var exposed: [ExposedMemory] = []
    var laneMemory: SharedMemory?
    var lane: ShortCutLane?
  }

  /// - Parameter hasLane: Whether there is a short cut. The test sets its mode; at first the kernel has the packets.
  init(hasLane: Bool = false) {
    self.hasLane = hasLane
  }

  deinit {
    for context in unsafe state.contexts {
      unsafe UnsafeMutableRawPointer(bitPattern: context)?.deallocate()
    }
  }

  func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError) {
    guard hasLane, let layout = ShortCutLayout(pairs: 1, slots: Self.slots) else { return }
    let memory = try SharedMemory(creating: "lane", byteCount: layout.byteCount)
    let lane = unsafe layout.lane(0, from: 0, memory.base)
    unsafe lane.empty()
    let buffers = unsafe try placement.region.allocateBuffers(Self.slots)
    for buffer in buffers { _ = unsafe placement.region.ownership.lend(buffer) }
    unsafe lane.fill(buffers)
    unsafe lane.frameLimit = 1518
    unsafe state.laneMemory = memory
    unsafe state.lane = unsafe lane
    // The header, the cells and the origins of slots; the former again, so that the peer writes it as often as these.
    unsafe state.exposed = unsafe [
      ExposedMemory(lane.base, 384), ExposedMemory(lane.base, 24),
      ExposedMemory(lane.base + 128, 16), ExposedMemory(lane.base + 256, 32),
      ExposedMemory(lane.base + 384, 16 * Self.slots),
    ]
  }

  /// The short cut, if there is one.
  var lane: ShortCutLane? { unsafe state.lane }

  /// How many frames the kernel has delivered.
  var writtenFrames: UInt32 {
    unsafe Cursor(state.receiving, ring: 1, isConsumer: false)?.value ?? 0
  }

  func deactivate(pair index: Int) {}

  /// All memory that another process that syncs the port can write: a kring's cursors and offsets, slots, the
  /// words and ledgers of the pair, and the kernel's rings. Locks are excluded, because that process must hold
  /// them.
  var exposed: [ExposedMemory] { unsafe state.exposed }

  func driverSource(for ring: RingPlacement) throws(NetmapError) -> RingDriverSource {
    let view = unsafe ring.ring
    let layout = unsafe XDPPairLayout(
      transmitSlots: Self.slots, receiveSlots: Self.slots, bufferCount: Int(view.bufferCount))
    let direction = unsafe ring.direction
    let mapping = try XDPRingMapping(imitating: direction, size: 2 * UInt32(Self.slots))
    let words: SharedMemory
    if let made = unsafe state.words {
      words = made
    } else {
      words = try SharedMemory(creating: "test", byteCount: layout.byteCount)
      unsafe state.words = words
    }
    let headroom = RegionLayout.kernelHeadroom
    let common = unsafe XDPCommon(
      file: -1, memory: view.buffers - headroom, headroom: headroom,
      chunkSize: Int(view.bufferSize), ownership: ring.ownership, longestChain: 17,
      mayOverlap: true)
    var half: RingDriverFunction
    switch direction {
    case .transmit:
      let place = UnsafeMutablePointer<XDPTransmit>.allocate(capacity: 1)
      unsafe place.initialize(
        to: XDPTransmit(common, mapping, state: words.base, layout, lane: state.lane))
      unsafe half = unsafe RingDriverFunction(
        context: place,
        synchronize: hasLane ? XDPTransmit.synchronizeWithLane : XDPTransmit.synchronize)
      unsafe half.waitWord = unsafe state.lane?.roomWait
      unsafe state.contexts.append(UInt(bitPattern: place))
    case .receive:
      let place = UnsafeMutablePointer<XDPReceive>.allocate(capacity: 1)
      unsafe place.initialize(
        to: XDPReceive(common, mapping, state: words.base, layout, lane: state.lane))
      unsafe place.pointee.prime(ring)
      unsafe half = unsafe RingDriverFunction(
        context: place,
        synchronize: hasLane ? XDPReceive.synchronizeWithLane : XDPReceive.synchronize)
      unsafe half.waitWord = unsafe state.lane?.arrivalWait
      unsafe half.briefSleep = unsafe state.lane?.briefSleep
      unsafe state.contexts.append(UInt(bitPattern: place))
    }
    var exposed = unsafe [
      ExposedMemory(ring.kring.base + 8, 16), ExposedMemory(ring.kring.base + 32, 24),
      ExposedMemory(view.base + 256, 16 * Self.slots), ExposedMemory(words.base, 256),
      ExposedMemory(words.base + 256, layout.byteCount - 256),
      // Again the first entries of the ledgers, which are those of the ring.
      ExposedMemory(words.base + 256, 4 * 2 * Self.slots),
    ]
    for index in 0..<2 {
      guard let base = unsafe mapping.bytes[index].baseAddress else { continue }
      // The cursors are separate areas, so that the peer writes them more often than entries.
      exposed += unsafe [
        ExposedMemory(base, 4), ExposedMemory(base + 64, 4), ExposedMemory(base + 192, 2048),
      ]
    }
    unsafe state.mappings.append(mapping)
    if direction == .receive {
      unsafe state.receiving = mapping
    } else {
      unsafe state.sending = mapping
    }
    unsafe state.exposed += exposed
    return unsafe .here(half)
  }

  // MARK: - The kernel's part

  /// A cursor of an imitated ring.
  @unsafe
  private struct Cursor {
    let word: UnsafeMutablePointer<Atomic<UInt32>>

    init?(_ mapping: XDPRingMapping?, ring: Int, isConsumer: Bool) {
      guard let base = unsafe mapping?.bytes[ring].baseAddress else { return nil }
      unsafe word = (base + (isConsumer ? 64 : 0)).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    var value: UInt32 {
      get { unsafe word.pointee.load(ordering: .acquiring) }
      nonmutating set { unsafe word.pointee.store(newValue, ordering: .releasing) }
    }
  }

  /// Takes `order.count` buffers from the fill ring, and returns frames of 60 bytes in them: the buffer that was posted
  /// as number `order[0]` of these comes first, and so on.
  func deliver(in order: [Int]) {
    guard let mapping = unsafe state.receiving,
      let fill = unsafe mapping.bytes[0].baseAddress,
      let frames = unsafe mapping.bytes[1].baseAddress,
      let taken = unsafe Cursor(mapping, ring: 0, isConsumer: true),
      let posted = unsafe Cursor(mapping, ring: 0, isConsumer: false),
      let written = unsafe Cursor(mapping, ring: 1, isConsumer: false)
    else { return }
    let mask = UInt32(2 * Self.slots - 1)
    precondition(unsafe posted.value &- taken.value >= order.count)
    for (place, number) in order.enumerated() {
      let entry = unsafe (taken.value &+ UInt32(number)) & mask
      let address = unsafe fill.load(fromByteOffset: 192 + 8 * Int(entry), as: UInt64.self)
      let target = unsafe 192 + 16 * Int((written.value &+ UInt32(place)) & mask)
      unsafe frames.storeBytes(
        of: address + UInt64(RegionLayout.kernelHeadroom), toByteOffset: target, as: UInt64.self)
      unsafe frames.storeBytes(of: 60, toByteOffset: target + 8, as: UInt64.self)
    }
    unsafe taken.value &+= UInt32(order.count)
    unsafe written.value &+= UInt32(order.count)
  }

  /// The addresses of the frames that wait in the transmit ring; takes them.
  func takeSent() -> [UInt64] {
    guard let mapping = unsafe state.sending, let entries = unsafe mapping.bytes[0].baseAddress,
      let taken = unsafe Cursor(mapping, ring: 0, isConsumer: true),
      let published = unsafe Cursor(mapping, ring: 0, isConsumer: false)
    else { return [] }
    var result: [UInt64] = []
    while unsafe taken.value != published.value {
      let entry = unsafe Int(taken.value & UInt32(2 * Self.slots - 1))
      result.append(unsafe entries.load(fromByteOffset: 192 + 16 * entry, as: UInt64.self))
      unsafe taken.value &+= 1
    }
    return result
  }

  /// Completes frames.
  func complete(_ addresses: [UInt64]) {
    guard let mapping = unsafe state.sending, let entries = unsafe mapping.bytes[1].baseAddress,
      let written = unsafe Cursor(mapping, ring: 1, isConsumer: false)
    else { return }
    for address in addresses {
      let entry = unsafe Int(written.value & UInt32(2 * Self.slots - 1))
      unsafe entries.storeBytes(of: address, toByteOffset: 192 + 8 * entry, as: UInt64.self)
      unsafe written.value &+= 1
    }
  }

  /// Undoes the release of the last `count` completions, as if the sync that took them had been killed just before it,
  /// and marks it as under way.
  func killReclaim(of count: UInt32) {
    guard let mapping = unsafe state.sending, let words = unsafe state.words,
      let released = unsafe Cursor(mapping, ring: 1, isConsumer: true)
    else { return }
    unsafe released.value &-= count
    unsafe words.base.storeBytes(of: 1, as: UInt32.self)
  }

  /// Sets the kernel's cursor of the receive ring to 2^30 entries, all of them fragments of one packet.
  func claimEndlessPacket() {
    guard let mapping = unsafe state.receiving,
      let base = unsafe mapping.bytes[1].baseAddress
    else { return }
    for entry in 0..<2 * Self.slots {
      unsafe base.storeBytes(of: 1, toByteOffset: 192 + 16 * entry + 12, as: UInt32.self)
    }
    unsafe base.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.store(
      1 << 30, ordering: .releasing)
  }
}
