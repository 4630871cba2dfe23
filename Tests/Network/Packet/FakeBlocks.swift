import CLinux
import Glibc
import Synchronization

@testable import Netmap
@testable import NetmapCore
@testable import NetmapLinux

/// A receive ring that a test fills instead of the kernel. The ring driver runs over plain memory.
@safe
final class FakeBlocks: InterfaceBackend, Sendable {
  let layout = PacketReceiveLayout(slots: 64)
  private nonisolated(unsafe) let blocks: UnsafeMutableRawPointer
  private nonisolated(unsafe) let cursors: UnsafeMutableRawPointer
  private let contexts = Mutex<[UInt]>([])
  /// The receive ring's words: the engine's, and those it shares with the application.
  private nonisolated(unsafe) var words: [(base: UnsafeMutableRawPointer, count: Int)] = unsafe []
  private let sequence = Mutex<UInt64>(0)

  let geometry = PortGeometry(transmitSlots: 64, receiveSlots: 64)
  let backendDescription = BackendDescription(name: "fake", mode: "")

  init() {
    unsafe blocks = .allocate(byteCount: layout.byteCount, alignment: 4096)
    unsafe blocks.initializeMemory(as: UInt8.self, repeating: 0, count: layout.byteCount)
    unsafe cursors = .allocate(byteCount: PacketCursorLayout.byteCount, alignment: 128)
    unsafe cursors.initializeMemory(
      as: UInt8.self, repeating: 0, count: PacketCursorLayout.byteCount)
  }

  deinit {
    unsafe blocks.deallocate()
    unsafe cursors.deallocate()
    for context in contexts.withLock({ $0 }) {
      unsafe UnsafeMutableRawPointer(bitPattern: context)?.deallocate()
    }
  }

  func activate(pair index: Int, of placement: PortPlacement) {}
  func deactivate(pair index: Int) {}

  func driverSource(for ring: RingPlacement) throws(NetmapError) -> RingDriverSource {
    guard unsafe ring.direction == .receive else { return unsafe .here(.none) }
    unsafe words = unsafe [(ring.kring.base, KRingLayout.byteCount), (ring.ring.base, 256)]
    let half = UnsafeMutablePointer<PacketReceiver>.allocate(capacity: 1)
    unsafe half.initialize(
      to: PacketReceiver(
        socket: -1, blocks: blocks, layout: layout, cursors: cursors, ownership: ring.ownership))
    contexts.withLock { $0.append(UInt(bitPattern: half)) }
    return unsafe .here(RingDriverFunction(context: half, synchronize: PacketReceiver.synchronize))
  }

  /// A frame, with the data that the kernel's header has about it.
  struct Frame {
    var bytes: [UInt8]
    var tag: (type: UInt16, control: UInt16)?
    /// `VIRTIO_NET_HDR_*`: flags, type, size, where the checksum begins, and its field.
    var offload: (flags: UInt8, type: UInt8, size: UInt16, start: UInt16, field: UInt16)?
    /// The length that the header claims; nil for the real one.
    var claimed: UInt32?
    var isOutgoing = false
  }

  /// Fills block `index` as the kernel does, and publishes it.
  func publish(_ index: Int, _ frames: [Frame], firstOffset: UInt32 = 48) {
    let block = unsafe blocks + index * PacketReceiveLayout.blockBytes
    var offset = Int(firstOffset)
    for (number, frame) in frames.enumerated() {
      let header = unsafe block + offset
      let start = 92
      let size = (start + frame.bytes.count + 15) & ~15
      func store<T: BitwiseCopyable>(_ value: T, _ place: Int) {
        unsafe header.storeBytes(of: value, toByteOffset: place, as: T.self)
      }
      store(UInt32(number + 1 < frames.count ? size : 0), CLINUX_FRAME_NEXT)
      store(frame.claimed ?? UInt32(frame.bytes.count), CLINUX_FRAME_CAPTURED)
      store(frame.claimed ?? UInt32(frame.bytes.count), CLINUX_FRAME_LENGTH)
      store(
        UInt32(
          TP_STATUS_USER
            | (frame.tag == nil ? 0 : TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID)),
        CLINUX_FRAME_STATUS)
      store(UInt16(start), CLINUX_FRAME_DATA)
      store(UInt16(start + 14), CLINUX_FRAME_DATA + 2)
      store(UInt32(frame.tag?.control ?? 0), CLINUX_FRAME_VLAN_TCI)
      store(frame.tag?.type ?? 0, CLINUX_FRAME_VLAN_TPID)
      store(UInt8(frame.isOutgoing ? PACKET_OUTGOING : PACKET_HOST), CLINUX_FRAME_HEADER + 10)
      let offload = start - CLINUX_OFFLOAD_BYTES
      store(frame.offload?.flags ?? 0, offload + CLINUX_OFFLOAD_FLAGS)
      store(frame.offload?.type ?? 0, offload + CLINUX_OFFLOAD_TYPE)
      store(frame.offload?.size ?? 0, offload + CLINUX_OFFLOAD_SIZE)
      store(frame.offload?.start ?? 0, offload + CLINUX_OFFLOAD_START)
      store(frame.offload?.field ?? 0, offload + CLINUX_OFFLOAD_FIELD)
      unsafe (header + start).copyMemory(from: frame.bytes, byteCount: frame.bytes.count)
      offset += size
    }
    let number = sequence.withLock { sequence -> UInt64 in
      sequence += 1
      return sequence
    }
    unsafe block.storeBytes(of: number, toByteOffset: CLINUX_BLOCK_SEQUENCE, as: UInt64.self)
    unsafe block.storeBytes(
      of: UInt32(frames.count), toByteOffset: CLINUX_BLOCK_COUNT, as: UInt32.self)
    unsafe block.storeBytes(of: firstOffset, toByteOffset: CLINUX_BLOCK_FIRST, as: UInt32.self)
    unsafe block.storeBytes(
      of: UInt32(TP_STATUS_USER), toByteOffset: CLINUX_BLOCK_STATUS, as: UInt32.self)
  }

  /// Whether the ring driver has handed block `index` back.
  func isReturned(_ index: Int) -> Bool {
    unsafe (blocks + index * PacketReceiveLayout.blockBytes)
      .load(fromByteOffset: CLINUX_BLOCK_STATUS, as: UInt32.self) == UInt32(TP_STATUS_KERNEL)
  }
}

extension FakeBlocks {
  /// All memory that another process that syncs the ring can write: the kring behind its lock, the blocks'
  /// headers and first frames, and the cursors. Words that only the engine's lock guards are excluded.
  var exposed: [ExposedMemory] {
    var result = unsafe [
      ExposedMemory(words[0].base + 8, 16), ExposedMemory(words[0].base + 32, 24),
      ExposedMemory(cursors, PacketCursorLayout.scratch),
    ]
    for index in 0..<layout.blockCount {
      unsafe result.append(ExposedMemory(blocks + index * PacketReceiveLayout.blockBytes, 512))
    }
    return result
  }

  /// All words that a sync changes, without slots, buffers and blocks.
  struct Words {
    /// The words of the ring: the engine's, then the application's.
    var ring: [[UInt8]]
    /// The position of the reader of the blocks.
    var cursors: [UInt8]

    /// Marks a sync as in progress.
    mutating func markUnderWay() { cursors[PacketCursorLayout.receive + 4] = 1 }
  }

  var currentWords: Words {
    unsafe Words(
      ring: words.map {
        unsafe Array(UnsafeRawBufferPointer(start: $0.base, count: $0.count))
      },
      cursors: Array(
        UnsafeRawBufferPointer(start: cursors, count: PacketCursorLayout.byteCount)))
  }

  /// Restores the words to a state during a sync.
  func restore(_ former: Words) {
    for index in former.ring.indices {
      let place = unsafe words[index]
      unsafe place.base.copyMemory(from: former.ring[index], byteCount: place.count)
    }
    unsafe cursors.copyMemory(from: former.cursors, byteCount: PacketCursorLayout.byteCount)
  }

  /// Returns block `index` to the reader.
  func takeBack(_ index: Int) {
    unsafe (blocks + index * PacketReceiveLayout.blockBytes).storeBytes(
      of: UInt32(TP_STATUS_USER), toByteOffset: CLINUX_BLOCK_STATUS, as: UInt32.self)
  }
}

/// Returns the same interface for every name.
struct FakeInterfaces: InterfaceProvider {
  let backend: any InterfaceBackend

  func open(
    _ name: String, backend choice: PortSpecification.BackendChoice?
  ) -> (any InterfaceBackend)? { backend }
}
