import Glibc
import Synchronization

@testable import NetmapCore
@testable import NetmapLinux

/// An interface whose XDP socket rings are memory of the test. The ring drivers run over that memory, and
/// only the test sends or receives.
@safe
final class FakeSocketRings: InterfaceBackend, Sendable {
  private static let slots = 64
  let geometry = PortGeometry(transmitSlots: slots, receiveSlots: slots)
  let backendDescription = BackendDescription(name: "fake", mode: "")
  // The engine calls a backend one call at a time, and the test reads the state afterwards.
  private nonisolated(unsafe) var state = State()

  private struct State {
    var words: SharedMemory?
    var mappings: [XDPRingMapping] = []
    var contexts: [UInt] = []
    var receiving: XDPRingMapping?
    var exposed: [ExposedMemory] = []
  }

  deinit {
    for context in unsafe state.contexts {
      unsafe UnsafeMutableRawPointer(bitPattern: context)?.deallocate()
    }
  }

  func activate(pair index: Int, of placement: PortPlacement) {}
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
    let half: RingDriverFunction
    switch direction {
    case .transmit:
      let place = UnsafeMutablePointer<XDPTransmit>.allocate(capacity: 1)
      unsafe place.initialize(to: XDPTransmit(common, mapping, state: words.base, layout))
      unsafe half = unsafe RingDriverFunction(context: place, synchronize: XDPTransmit.synchronize)
      unsafe state.contexts.append(UInt(bitPattern: place))
    case .receive:
      let place = UnsafeMutablePointer<XDPReceive>.allocate(capacity: 1)
      unsafe place.initialize(to: XDPReceive(common, mapping, state: words.base, layout))
      unsafe place.pointee.prime(ring)
      unsafe half = unsafe RingDriverFunction(context: place, synchronize: XDPReceive.synchronize)
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
    if direction == .receive { unsafe state.receiving = mapping }
    unsafe state.exposed += exposed
    return unsafe .here(half)
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
