internal import CLinux
internal import Synchronization

/// A block of a receive ring, as mapped. Read once, check, use what was checked: the mapping is shared
/// with every process that syncs the ring.
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

  @inline(__always)
  var frameCount: UInt32 { unsafe base.load(fromByteOffset: CLINUX_BLOCK_COUNT, as: UInt32.self) }

  @inline(__always)
  var firstOffset: UInt32 {
    unsafe base.load(fromByteOffset: CLINUX_BLOCK_FIRST, as: UInt32.self)
  }

  /// The number of the block: the kernel counts up with each one that it fills.
  @inline(__always)
  var sequence: UInt64 { unsafe base.load(fromByteOffset: CLINUX_BLOCK_SEQUENCE, as: UInt64.self) }

  /// Gives the block back, after everything in it has been read.
  @inline(__always)
  func handBack() {
    unsafe (base + CLINUX_BLOCK_STATUS).assumingMemoryBound(to: Atomic<UInt32>.self)
      .pointee.store(UInt32(TP_STATUS_KERNEL), ordering: .releasing)
  }
}

/// A received frame: where it is, and what the kernel says of it.
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
    let start = unsafe Int(header.load(fromByteOffset: CLINUX_FRAME_DATA, as: UInt16.self))
    let network = unsafe Int(
      header.load(fromByteOffset: CLINUX_FRAME_DATA + 2, as: UInt16.self))
    let captured = unsafe Int(header.load(fromByteOffset: CLINUX_FRAME_CAPTURED, as: UInt32.self))
    guard start >= CLINUX_FRAME_HEADER + CLINUX_OFFLOAD_BYTES, captured <= end,
      place + start + captured <= end
    else { return nil }
    unsafe data = header + start
    unsafe length = captured
    unsafe networkOffset = network - start
    unsafe status = header.load(fromByteOffset: CLINUX_FRAME_STATUS, as: UInt32.self)
    let tag = unsafe header.load(fromByteOffset: CLINUX_FRAME_VLAN_TCI, as: UInt32.self) & 0xffff
    let type = unsafe UInt32(
      header.load(fromByteOffset: CLINUX_FRAME_VLAN_TPID, as: UInt16.self))
    unsafe vlan = type << 16 | tag
    unsafe next = header.load(fromByteOffset: CLINUX_FRAME_NEXT, as: UInt32.self)
    let kind = unsafe header.load(
      fromByteOffset: CLINUX_FRAME_HEADER + 10, as: UInt8.self)
    unsafe isOutgoing = kind == UInt8(PACKET_OUTGOING)
    let whole = unsafe Int(header.load(fromByteOffset: CLINUX_FRAME_LENGTH, as: UInt32.self))
    unsafe isCut = whole != captured
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

  /// The slot after the packet's last one, which comes to the application when the frame has been sent.
  @inline(__always)
  var slotAfter: UInt32 {
    get { unsafe base.load(fromByteOffset: CLINUX_FRAME_SPARE, as: UInt32.self) }
    nonmutating set {
      unsafe base.storeBytes(of: newValue, toByteOffset: CLINUX_FRAME_SPARE, as: UInt32.self)
    }
  }

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
