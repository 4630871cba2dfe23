/// `struct netmap_module_frame`.
@unsafe @frozen @usableFromInline
package struct ModuleFrame {
  @usableFromInline package var bytes: UnsafeRawPointer
  @usableFromInline package var room: UInt32
  @usableFromInline package var length: UInt16
  @usableFromInline package var next: UInt16
  @usableFromInline package var fragments: UInt8
  @usableFromInline package var continues: Bool
}

/// `struct netmap_module_batch`.
@unsafe @frozen @usableFromInline
package struct ModuleBatch {
  /// Nil when the packets are in slots.
  @usableFromInline package var frames: UnsafeRawPointer?
  @usableFromInline package var verdicts: UnsafeMutablePointer<UInt32>
  @usableFromInline package var addresses: UnsafeMutableRawPointer
  @usableFromInline package var count: UInt32
  @usableFromInline package var frameStride: UInt32
  @usableFromInline package var port: UInt32
  @usableFromInline package var ring: UInt32
  @usableFromInline package var header: UInt32 = 0
  @usableFromInline package var decided: UInt32 = 0
  @usableFromInline package var slots: UnsafeRawPointer?
  @usableFromInline package var buffers: UnsafeRawPointer?
  @usableFromInline package var bufferCount: UInt32 = 0
  @usableFromInline package var bufferSize: UInt32 = 0

  package init(
    frames: UnsafeRawPointer?, verdicts: UnsafeMutablePointer<UInt32>,
    addresses: UnsafeMutableRawPointer, count: Int, frameStride: Int, port: UInt32, ring: Int
  ) {
    unsafe self.frames = unsafe frames
    unsafe self.verdicts = verdicts
    unsafe self.addresses = addresses
    unsafe self.count = UInt32(truncatingIfNeeded: count)
    unsafe self.frameStride = UInt32(truncatingIfNeeded: frameStride)
    unsafe self.port = port
    unsafe self.ring = UInt32(truncatingIfNeeded: ring)
    unsafe slots = nil
    unsafe buffers = nil
  }
}

/// A batch of packets from one port, on which a ``SwitchModule`` decides.
///
/// A view of the switch's memory, which a module cannot keep.
@safe @frozen
public struct SwitchBatch: ~Copyable, ~Escapable {
  @usableFromInline let head: UnsafeMutablePointer<ModuleBatch>

  @inlinable
  @_lifetime(immortal)
  package init(_ head: UnsafeMutablePointer<ModuleBatch>) {
    unsafe self.head = unsafe head
  }

  /// The index of the port that sends the packets, 0 to 253.
  @inlinable
  public var port: Int { unsafe Int(head.pointee.port) }

  /// The number of that port's transmit ring.
  @inlinable
  public var ring: Int { unsafe Int(head.pointee.ring) }

  /// Goes through the packets in the order in which they were sent.
  ///
  /// - Parameter body: Returns the verdict on each packet.
  @inlinable @inline(__always)
  public func route(_ body: (borrowing SwitchPacket) -> SwitchVerdict) {
    if let slots = unsafe head.pointee.slots, let buffers = unsafe head.pointee.buffers {
      unsafe routeSlots(slots, buffers, body)
    } else if let frames = unsafe head.pointee.frames {
      unsafe routeFrames(frames, body)
    }
  }

  /// Goes through single-slot packets in the ring that they are sent from, up to the first unusual
  /// slot.
  ///
  /// The application may write to the slots meanwhile, so each slot is read once.
  @inlinable @inline(__always)
  func routeSlots(
    _ slots: UnsafeRawPointer, _ buffers: UnsafeRawPointer,
    _ body: (borrowing SwitchPacket) -> SwitchVerdict
  ) {
    let count = unsafe Int(head.pointee.count)
    let bufferCount = unsafe head.pointee.bufferCount
    let bufferSize = unsafe Int(head.pointee.bufferSize)
    let verdicts = unsafe head.pointee.verdicts
    var slot = unsafe slots
    var index = 0
    while index < count {
      let word = unsafe SlotWord(at: slot)
      guard word.isWhole(bufferCount, bufferSize) else { break }
      let packet = unsafe SwitchPacket(
        buffers + Int(word.buffer) &* bufferSize, Int(word.length), fragments: 1, head)
      unsafe verdicts[index] = body(packet).rawValue
      index &+= 1
      unsafe slot += 16
    }
    unsafe head.pointee.decided = UInt32(truncatingIfNeeded: index)
  }

  @inlinable @inline(__always)
  func routeFrames(
    _ frames: UnsafeRawPointer, _ body: (borrowing SwitchPacket) -> SwitchVerdict
  ) {
    let count = unsafe Int(head.pointee.count)
    let stride = unsafe Int(head.pointee.frameStride)
    let verdicts = unsafe head.pointee.verdicts
    var place = unsafe frames
    var index = 0
    while index < count {
      let frame = unsafe place.assumingMemoryBound(to: ModuleFrame.self)
      let fragments = unsafe Int(max(frame.pointee.fragments, 1))
      let packet = unsafe SwitchPacket(
        frame.pointee.bytes, Int(frame.pointee.length), fragments: fragments, head)
      unsafe verdicts[index] = body(packet).rawValue
      index &+= 1
      unsafe place += stride
      if fragments > 1 {
        let more = moreFrames(fragments)
        index &+= more
        unsafe place += stride &* more
      }
    }
  }
}

/// The number of frames behind the first frame of a packet.
///
/// A call, so that the compiler emits a branch. Without the branch, the place of the next packet
/// would depend on the load of this packet's fragment count. That wait would be most of the cost of
/// a single-slot packet.
@usableFromInline @inline(never)
func moreFrames(_ fragments: Int) -> Int { fragments &- 1 }

/// A packet on its way through a switch.
@safe @frozen
public struct SwitchPacket: ~Copyable, ~Escapable {
  @usableFromInline let start: UnsafeRawPointer
  @usableFromInline let head: UnsafeMutablePointer<ModuleBatch>

  /// Slots that the packet takes, 1 to 64.
  public let fragments: Int
  /// Bytes in the first slot: the whole packet if it has one slot.
  public let length: Int

  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(
    _ start: UnsafeRawPointer, _ length: Int, fragments: Int,
    _ head: UnsafeMutablePointer<ModuleBatch>
  ) {
    unsafe self.start = unsafe start
    unsafe self.head = unsafe head
    self.fragments = fragments
    self.length = length
  }

  /// The bytes in the first slot.
  @inlinable
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      let span = unsafe RawSpan(_unsafeStart: start, byteCount: length)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The station to which the frame goes; ``MACAddress/zero`` when the frame has no Ethernet header.
  @inlinable @inline(__always)
  public var destination: MACAddress {
    guard length >= 14 else { return .zero }
    let head = unsafe start.loadUnaligned(as: UInt64.self)
    return MACAddress(rawValue: UInt64(littleEndian: head))
  }

  /// The station that sends the frame; ``MACAddress/zero`` when the frame has no Ethernet header.
  @inlinable @inline(__always)
  public var source: MACAddress {
    guard length >= 14 else { return .zero }
    let tail = unsafe start.loadUnaligned(fromByteOffset: 4, as: UInt64.self)
    return MACAddress(rawValue: UInt64(littleEndian: tail) >> 16)
  }

  /// Makes the switch learn that ``source`` is behind the port that sends the packet.
  @inlinable @inline(__always)
  public func learn() {
    guard length >= 14 else { return }
    unsafe AddressTable(head.pointee.addresses).learn(source.rawValue, at: head.pointee.port)
  }

  /// The verdict of a learning bridge: the port on which ``destination`` was seen, or else all
  /// ports.
  @inlinable @inline(__always)
  public var learned: SwitchVerdict {
    guard length >= 14,
      let port = unsafe AddressTable(head.pointee.addresses).port(of: destination.rawValue)
    else { return .broadcast }
    return SwitchVerdict(rawValue: port)
  }

  /// The addresses, the protocol and the ports of the packet in the frame.
  public var flow: FlowHeaders {
    unsafe FlowHeaders(start, length)
  }
}
