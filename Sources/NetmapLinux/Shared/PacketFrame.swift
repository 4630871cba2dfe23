internal import CLinux
internal import Synchronization

/// Loads a field once: the kernel, or another process that has the ring mapped, may be writing it.
@inline(__always)
private func load(_ base: UnsafeMutableRawPointer, _ offset: Int) -> UInt32 {
  unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
    .pointee.load(ordering: .relaxed)
}

@inline(__always)
private func load16(_ base: UnsafeMutableRawPointer, _ offset: Int) -> UInt16 {
  unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt16>.self)
    .pointee.load(ordering: .relaxed)
}

@inline(__always)
private func load8(_ base: UnsafeMutableRawPointer, _ offset: Int) -> UInt8 {
  unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt8>.self)
    .pointee.load(ordering: .relaxed)
}

/// A mapped block of a receive ring. The kernel fills it, but every process that syncs the ring can write it.
@unsafe
struct PacketBlock {
  let base: UnsafeMutableRawPointer

  @inline(__always)
  init(_ base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// `TP_STATUS_USER` and the bits that come with it, or `TP_STATUS_KERNEL`. Everything that the kernel wrote
  /// before it set the bit is visible after this load.
  @inline(__always)
  var status: UInt32 {
    unsafe (base + CLINUX_BLOCK_STATUS).assumingMemoryBound(to: Atomic<UInt32>.self)
      .pointee.load(ordering: .acquiring)
  }

  /// The number of frames that the block states, at most the number that fit.
  @inline(__always)
  var frameCount: UInt32 {
    unsafe min(load(base, CLINUX_BLOCK_COUNT), PacketReceivePlace.mostFrames)
  }

  /// The offset of the first frame that the block states, bytes.
  @inline(__always)
  var firstOffset: UInt32 { unsafe load(base, CLINUX_BLOCK_FIRST) }

  /// The block's sequence number. The kernel counts up with each block that it fills.
  @inline(__always)
  var sequence: UInt64 {
    unsafe (base + CLINUX_BLOCK_SEQUENCE).assumingMemoryBound(to: Atomic<UInt64>.self)
      .pointee.load(ordering: .relaxed)
  }

  /// Gives the block back to the kernel. Call it after everything in the block has been read.
  @inline(__always)
  func handBack() {
    unsafe (base + CLINUX_BLOCK_STATUS).assumingMemoryBound(to: Atomic<UInt32>.self)
      .pointee.store(UInt32(TP_STATUS_KERNEL), ordering: .releasing)
  }
}

/// A received frame: where it lies, and the fields of its header as they were read.
@unsafe
struct ReceivedFrame {
  /// The first byte of the Ethernet header; the offload words lie before it.
  let data: UnsafeMutableRawPointer
  let length: Int
  let status: UInt32
  /// From the frame's first byte to its network header.
  let networkOffset: Int
  let vlan: UInt32
  /// From this frame's header to the next one's, 0 in the last of a block.
  let next: UInt32
  /// Whether this host sent the frame, so that it must not be received here.
  let isOutgoing: Bool
  /// Whether the kernel has cut the frame short.
  let isCut: Bool

  /// Reads the frame whose header lies `offset` bytes into `block`.
  ///
  /// - Returns: Nil when the header is damaged: the frame that it describes does not lie in the block.
  @inline(__always)
  init?(in block: PacketBlock, at offset: UInt32) {
    let end = PacketReceiveLayout.blockBytes
    let place = Int(offset)
    guard place & 7 == 0, place + CLINUX_FRAME_HEADER + MemoryLayout<sockaddr_ll>.size <= end
    else { return nil }
    let header = unsafe block.base + place
    let start = unsafe Int(load16(header, CLINUX_FRAME_DATA))
    let captured = unsafe Int(load(header, CLINUX_FRAME_CAPTURED))
    // The offload words before the frame are 16 bits wide, so they must begin at an even address.
    guard start >= CLINUX_FRAME_HEADER + CLINUX_OFFLOAD_BYTES, start & 1 == 0, captured <= end,
      place + start + captured <= end
    else { return nil }
    unsafe data = header + start
    unsafe length = captured
    unsafe networkOffset = Int(load16(header, CLINUX_FRAME_DATA + 2)) - start
    unsafe status = load(header, CLINUX_FRAME_STATUS)
    let tag = unsafe load(header, CLINUX_FRAME_VLAN_TCI) & 0xffff
    unsafe vlan = UInt32(load16(header, CLINUX_FRAME_VLAN_TPID)) << 16 | tag
    unsafe next = load(header, CLINUX_FRAME_NEXT)
    unsafe isOutgoing = load8(header, CLINUX_FRAME_HEADER + 10) == UInt8(PACKET_OUTGOING)
    unsafe isCut = Int(load(header, CLINUX_FRAME_LENGTH)) != captured
  }

  /// The VLAN tag that the kernel has taken out of the frame: type and control information. Stored big-endian, its
  /// 4 bytes are in network order. 0 when the frame had no tag.
  @inline(__always)
  var tag: UInt32 {
    guard unsafe status & UInt32(TP_STATUS_VLAN_VALID) != 0 else { return 0 }
    // Kernels before 3.14 do not report the type. The tag is then a customer tag (802.1Q).
    let hasType = unsafe status & UInt32(TP_STATUS_VLAN_TPID_VALID) != 0
    return unsafe hasType ? vlan : UInt32(ETH_P_8021Q) << 16 | vlan & 0xffff
  }
}

/// The work that the sender of a received frame has left to the interface. A virtio_net_hdr before the frame
/// describes it. Each accessor loads its field once.
extension ReceivedFrame {
  @inline(__always)
  private var offload: UnsafeMutableRawPointer { unsafe data - CLINUX_OFFLOAD_BYTES }

  /// `VIRTIO_NET_HDR_F_*`.
  @inline(__always)
  var offloadFlags: UInt8 { unsafe load8(offload, CLINUX_OFFLOAD_FLAGS) }

  /// `VIRTIO_NET_HDR_GSO_*`.
  @inline(__always)
  var offloadType: UInt8 { unsafe load8(offload, CLINUX_OFFLOAD_TYPE) }

  /// Bytes of payload in each packet that the frame stands for.
  var segmentBytes: Int { unsafe Int(load16(offload, CLINUX_OFFLOAD_SIZE)) }

  /// Where the bytes that the checksum covers begin, and where the checksum goes, in bytes from the start of the
  /// frame. Nil when either place does not lie in the frame.
  var checksumPlace: (start: Int, field: Int)? {
    let start = unsafe Int(load16(offload, CLINUX_OFFLOAD_START))
    let field = unsafe start + Int(load16(offload, CLINUX_OFFLOAD_FIELD))
    guard unsafe start < length, unsafe field + 2 <= length else { return nil }
    return (start, field)
  }

  /// Writes a checksum into the frame, then clears the flag that says it is missing.
  func finish(_ checksum: UInt16, at field: Int) {
    unsafe (data + field).storeBytes(of: checksum, as: UInt16.self)
    atomicMemoryFence(ordering: .releasing)
    unsafe offload.storeBytes(of: 0, toByteOffset: CLINUX_OFFLOAD_FLAGS, as: UInt8.self)
  }
}

/// A mapped frame of a transmit ring.
@unsafe
struct TransmitFrame {
  let base: UnsafeMutableRawPointer

  @inline(__always)
  init(_ base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  @inline(__always)
  private var statusWord: UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + CLINUX_FRAME_STATUS).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// Whether the kernel has finished with the frame, or never had it.
  @inline(__always)
  var isAvailable: Bool {
    unsafe statusWord.pointee.load(ordering: .acquiring)
      & UInt32(TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING) == 0
  }

  /// Whether the frame waits for a send(2) to pick it up.
  @inline(__always)
  var isWaiting: Bool {
    unsafe statusWord.pointee.load(ordering: .relaxed) & UInt32(TP_STATUS_SEND_REQUEST) != 0
  }

  /// The slot after the last slot of the packet, as stored: it may be out of range. When the kernel has sent the
  /// frame, the slots before this one go back to the application.
  @inline(__always)
  var slotAfter: UInt32 {
    get { unsafe load(base, CLINUX_FRAME_SPARE) }
    nonmutating set {
      unsafe base.storeBytes(of: newValue, toByteOffset: CLINUX_FRAME_SPARE, as: UInt32.self)
    }
  }

  /// The EtherType of the packet in the frame. The packet must have an Ethernet header.
  var etherType: UInt16 { unsafe UInt16(bigEndian: load16(data, 12)) }

  /// Where the bytes of the packet go.
  @inline(__always)
  var data: UnsafeMutableRawPointer { unsafe base + PacketTransmitLayout.dataOffset }

  /// Publishes the frame: `length` bytes at ``data`` are to be sent.
  ///
  /// It asks for no offload. The kernel copies the part of the packet that is declared as its "header" into a
  /// buffer of its own. For a packet of at most `linearBytes` that part is the whole packet. The kernel's buffer
  /// then needs no pages of the ring, which the kernel would have to track, or to copy at the next virtual hop.
  @inline(__always)
  func request(length: Int) {
    let offload = unsafe base + CLINUX_FRAME_HEADER
    unsafe offload.storeBytes(of: 0, as: UInt64.self)
    unsafe offload.storeBytes(of: 0, toByteOffset: 8, as: UInt16.self)
    unsafe offload.storeBytes(
      of: UInt16(min(length, Self.linearBytes)), toByteOffset: CLINUX_OFFLOAD_HEADER,
      as: UInt16.self)
    unsafe base.storeBytes(
      of: UInt32(length + CLINUX_OFFLOAD_BYTES), toByteOffset: CLINUX_FRAME_LENGTH,
      as: UInt32.self)
    unsafe statusWord.pointee.store(UInt32(TP_STATUS_SEND_REQUEST), ordering: .releasing)
  }

  /// Packets up to this long are copied whole into the kernel's buffer, bytes.
  private static let linearBytes = 1600
}
