internal import CLinux
internal import Synchronization

/// A field that the kernel, or another process that has the ring mapped, may be writing: loaded once.
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

/// A block of a receive ring, as mapped: the kernel's, but every process that syncs the ring can write it.
@unsafe
struct PacketBlock {
  let base: UnsafeMutableRawPointer

  @inline(__always)
  init(_ base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// `TP_STATUS_USER` and the bits that come with it, or `TP_STATUS_KERNEL`. What the kernel wrote
  /// before it set the bit is visible after this.
  @inline(__always)
  var status: UInt32 {
    unsafe (base + CLINUX_BLOCK_STATUS).assumingMemoryBound(to: Atomic<UInt32>.self)
      .pointee.load(ordering: .acquiring)
  }

  /// How many frames the block says that it has; never more than fit.
  @inline(__always)
  var frameCount: UInt32 {
    unsafe min(load(base, CLINUX_BLOCK_COUNT), PacketReceivePlace.mostFrames)
  }

  /// Where it says that the first one begins.
  @inline(__always)
  var firstOffset: UInt32 { unsafe load(base, CLINUX_BLOCK_FIRST) }

  /// The number of the block: the kernel counts up with each one that it fills.
  @inline(__always)
  var sequence: UInt64 {
    unsafe (base + CLINUX_BLOCK_SEQUENCE).assumingMemoryBound(to: Atomic<UInt64>.self)
      .pointee.load(ordering: .relaxed)
  }

  /// Gives the block back, after everything in it has been read.
  @inline(__always)
  func handBack() {
    unsafe (base + CLINUX_BLOCK_STATUS).assumingMemoryBound(to: Atomic<UInt32>.self)
      .pointee.store(UInt32(TP_STATUS_KERNEL), ordering: .releasing)
  }
}

/// A received frame: where it is, and what its header said of it when it was read.
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
  /// Sent by this host, and no business of a receiver's.
  let isOutgoing: Bool
  /// The kernel could not keep all of it.
  let isCut: Bool

  /// Reads the frame whose header lies `offset` bytes into `block`.
  ///
  /// - Returns: Nil when the header is damaged: what it names does not lie in the block.
  @inline(__always)
  init?(in block: PacketBlock, at offset: UInt32) {
    let end = PacketReceiveLayout.blockBytes
    let place = Int(offset)
    guard place & 7 == 0, place + CLINUX_FRAME_HEADER + MemoryLayout<sockaddr_ll>.size <= end
    else { return nil }
    let header = unsafe block.base + place
    let start = unsafe Int(load16(header, CLINUX_FRAME_DATA))
    let captured = unsafe Int(load(header, CLINUX_FRAME_CAPTURED))
    // The offload words, which lie before the frame, are 16 bits wide.
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

  /// The tag that the kernel took out of the frame: type and control information, 4 bytes in network
  /// order when stored big-endian; 0 when there was none.
  @inline(__always)
  var tag: UInt32 {
    guard unsafe status & UInt32(TP_STATUS_VLAN_VALID) != 0 else { return 0 }
    // Kernels before 3.14 do not say which type; the tag then is a customer's.
    let hasType = unsafe status & UInt32(TP_STATUS_VLAN_TPID_VALID) != 0
    return unsafe hasType ? vlan : UInt32(ETH_P_8021Q) << 16 | vlan & 0xffff
  }
}

/// What the sender of a received frame has left to the interface: a virtio_net_hdr before the frame, each
/// field as one load found it.
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

  /// Where the bytes that a checksum covers begin, and where it goes: bytes from the frame's first one; nil
  /// when either does not lie in the frame.
  var checksumPlace: (start: Int, field: Int)? {
    let start = unsafe Int(load16(offload, CLINUX_OFFLOAD_START))
    let field = unsafe start + Int(load16(offload, CLINUX_OFFLOAD_FIELD))
    guard unsafe start < length, unsafe field + 2 <= length else { return nil }
    return (start, field)
  }

  /// Writes a checksum into the frame, and then that it is there.
  func finish(_ checksum: UInt16, at field: Int) {
    unsafe (data + field).storeBytes(of: checksum, as: UInt16.self)
    atomicMemoryFence(ordering: .releasing)
    unsafe offload.storeBytes(of: 0, toByteOffset: CLINUX_OFFLOAD_FLAGS, as: UInt8.self)
  }
}

/// A frame of a transmit ring, as mapped.
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

  /// Whether the kernel is done with it, or has never had it.
  @inline(__always)
  var isAvailable: Bool {
    unsafe statusWord.pointee.load(ordering: .acquiring)
      & UInt32(TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING) == 0
  }

  /// Whether it waits for a send(2) to pick it up.
  @inline(__always)
  var isWaiting: Bool {
    unsafe statusWord.pointee.load(ordering: .relaxed) & UInt32(TP_STATUS_SEND_REQUEST) != 0
  }

  /// The slot after the packet's last one, which comes to the application when the frame has been sent;
  /// perhaps none of the ring's.
  @inline(__always)
  var slotAfter: UInt32 {
    get { unsafe load(base, CLINUX_FRAME_SPARE) }
    nonmutating set {
      unsafe base.storeBytes(of: newValue, toByteOffset: CLINUX_FRAME_SPARE, as: UInt32.self)
    }
  }

  /// The type of the packet in the frame, which must have an Ethernet header.
  var etherType: UInt16 { unsafe UInt16(bigEndian: load16(data, 12)) }

  /// Where the packet goes.
  @inline(__always)
  var data: UnsafeMutableRawPointer { unsafe base + PacketTransmitLayout.dataOffset }

  /// Publishes the frame: `length` bytes at ``data`` are to be sent.
  ///
  /// No offload is asked for. The "header" that the kernel copies is the whole packet unless it is
  /// long: then the buffer it allocates needs no pages of the ring, whose life would have to be
  /// tracked, or copied at the next virtual hop.
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
