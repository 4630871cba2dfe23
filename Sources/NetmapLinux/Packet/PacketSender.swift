internal import CLinux
internal import Glibc
package import NetmapCore

/// The ring driver of a transmit ring over `TPACKET_V3`: plain data, which any process that syncs the ring makes
/// from a descriptor and two mappings.
///
/// A sync copies the packets of the slots up to head into frames of the mapped ring, a packet of several slots into
/// one frame, and tells the kernel with one send(2). `hwtail` follows the frames that the kernel has given back, in
/// order. Slots for which there is no frame stay pending. A `PacketSender` owns nothing: the mappings must outlive
/// it.
@unsafe
package struct PacketSender {
  /// The AF_PACKET socket.
  package let socket: CInt
  /// The mapped transmit ring of the socket.
  package let frames: UnsafeMutableRawPointer
  package let frameCount: UInt32
  package let frameBytes: Int
  /// The longest frame that the interface takes, bytes, without a VLAN tag.
  package let frameLimit: Int
  /// The words of ``PacketCursorLayout``.
  package let cursors: UnsafeMutableRawPointer
  package let ownership: BufferOwnership

  package init(
    socket: CInt, frames: UnsafeMutableRawPointer, layout: PacketTransmitLayout, frameLimit: Int,
    cursors: UnsafeMutableRawPointer, ownership: BufferOwnership
  ) {
    unsafe self.socket = socket
    unsafe self.frames = frames
    unsafe frameCount = UInt32(layout.frameCount)
    unsafe frameBytes = layout.frameBytes
    unsafe self.frameLimit = frameLimit
    unsafe self.cursors = cursors
    unsafe self.ownership = ownership
  }

  /// The function of the ring driver; its context is an `UnsafeMutablePointer<PacketSender>`.
  package static let synchronize: RingDriverFunction.Synchronize = { context, ring, head, _ in
    guard let context = unsafe context else { return EIO }
    return unsafe context.assumingMemoryBound(to: PacketSender.self).pointee.transmit(
      MappedRing(calledWith: ring), upTo: head)
  }
}

extension PacketSender {
  @inline(__always)
  private var cursor: PacketTransmitCursor {
    unsafe PacketTransmitCursor(base: cursors + PacketCursorLayout.transmit)
  }

  /// Initializes the words of a ring that has never been synced.
  ///
  /// - Parameter slot: `hwcur` of the netmap ring.
  package func begin(at slot: UInt32) {
    var place = PacketTransmitPlace(0)
    place.slot = slot
    unsafe cursor.store(place)
    unsafe cursor.bytesUnsent = 0
  }

  @inline(__always)
  private func frame(_ index: UInt32) -> TransmitFrame {
    unsafe TransmitFrame(frames + Int(index) &* frameBytes)
  }

  @inline(__always)
  private func next(_ index: UInt32) -> UInt32 {
    unsafe index &+ 1 == frameCount ? 0 : index &+ 1
  }

  /// One transmit sync. Called with the ring's lock held.
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  private func transmit(_ ring: MappedRing, upTo head: UInt32) -> Int32 {
    guard var place = unsafe cursor.load(below: frameCount, ring.ring.slotCount) else { return EIO }
    // The place is right about hwcur. A process that was killed may not have stored hwcur in the kring.
    unsafe ring.kring.store(hwcur: place.slot)
    unsafe adopt(ring, &place)
    unsafe reclaim(ring, &place)
    unsafe fill(ring, &place, upTo: head)
    // Store the place before telling the kernel about the frames. If this process is killed, the next sync finds
    // the frames where they are.
    unsafe store(ring, place)
    var failure: Int32 = 0
    if place.underWay != 0, unsafe frame(last(place)).isWaiting {
      failure = unsafe kick(ring, place)
      unsafe reclaim(ring, &place)
      unsafe store(ring, place)
    }
    return failure
  }

  @inline(__always)
  private func store(_ ring: MappedRing, _ place: PacketTransmitPlace) {
    unsafe cursor.store(place)
    unsafe ring.kring.store(hwcur: place.slot)
  }

  @inline(__always)
  private func last(_ place: PacketTransmitPlace) -> UInt32 {
    unsafe place.next == 0 ? frameCount &- 1 : place.next &- 1
  }

  /// Takes over frames that a process published before it was killed, and that the place does not include.
  @inline(__always)
  private func adopt(_ ring: MappedRing, _ place: inout PacketTransmitPlace) {
    while unsafe place.underWay < frameCount, unsafe frame(place.next).isWaiting {
      let slot = unsafe frame(place.next).slotAfter
      if unsafe slot < ring.ring.slotCount { place.slot = slot }
      place.next = unsafe next(place.next)
      place.underWay &+= 1
    }
  }

  /// Gives the application back the slots of frames that have been sent.
  @inline(__always)
  private func reclaim(_ ring: MappedRing, _ place: inout PacketTransmitPlace) {
    var after = UInt32.max
    var oldest = unsafe place.oldest(of: frameCount)
    while place.underWay != 0, unsafe frame(oldest).isAvailable {
      after = unsafe frame(oldest).slotAfter
      oldest = unsafe next(oldest)
      place.underWay &-= 1
    }
    // When no frame is under way, all slots before hwcur are free, those of dropped packets included.
    if place.underWay == 0 { after = place.slot }
    guard unsafe after < ring.ring.slotCount else { return }
    unsafe ring.kring.store(hwtail: after == 0 ? ring.ring.slotCount &- 1 : after &- 1)
  }

  /// Copies packets into frames, as long as there are packets and free frames.
  @inline(__always)
  private func fill(_ ring: MappedRing, _ place: inout PacketTransmitPlace, upTo head: UInt32) {
    var slot = place.slot
    var packets: UInt64 = 0
    var bytes: UInt64 = 0
    while slot != head, unsafe place.underWay < frameCount {
      let target = unsafe frame(place.next)
      guard unsafe target.isAvailable else { break }
      let packet = unsafe gather(ring, from: slot, upTo: head, into: target, place)
      guard packet.isWhole else {
        // The rest of the packet has not been written yet. The packet waits, unless its beginning already fills the
        // ring: then the rest can never be written.
        if unsafe ring.ring.distance(from: slot, to: head) == ring.ring.slotCount - 1 {
          unsafe ring.kring.countDrop(.badLength)
          place.isDiscarding = true
          slot = head
        }
        break
      }
      slot = packet.slotAfter
      if packet.length == 0 {
        // The packet was dropped and counted. Its slots come back with the packet before it.
        place.isDiscarding = false
        if place.underWay != 0 { unsafe frame(last(place)).slotAfter = slot }
        continue
      }
      unsafe target.slotAfter = slot
      unsafe target.request(length: packet.length)
      place.next = unsafe next(place.next)
      place.underWay &+= 1
      packets &+= 1
      bytes &+= UInt64(packet.length)
    }
    place.slot = slot
    unsafe cursor.bytesUnsent = cursor.bytesUnsent &+ bytes
    if place.underWay == 0 { unsafe reclaim(ring, &place) }
    unsafe ring.kring.count(.packets, packets)
    unsafe ring.kring.count(.bytes, bytes)
  }

  /// A packet as found in the slots of a ring.
  private struct Gathered {
    /// Whether its last slot is there.
    var isWhole: Bool
    var slotAfter: UInt32
    /// Bytes in the frame; 0 for a packet that must not be sent.
    var length: Int
  }

  /// Copies the packet that begins at `first` into a frame.
  ///
  /// A packet that the interface would not take (shorter than an Ethernet header, or longer than its MTU allows) is
  /// counted as a drop here, because the kernel would drop it without reporting it.
  @inline(__always)
  private func gather(
    _ ring: MappedRing, from first: UInt32, upTo head: UInt32, into target: TransmitFrame,
    _ place: PacketTransmitPlace
  ) -> Gathered {
    var slot = first
    var length = 0
    let capacity = unsafe frameBytes - PacketTransmitLayout.dataOffset
    var flags: SlotFlags
    repeat {
      let part = unsafe ring.readSlot(slot, ownership)
      flags = part.flags
      if length + part.length <= capacity {
        unsafe (target.data + length).copyMemory(
          from: ring.ring.buffer(part.buffer) + part.offset, byteCount: part.length)
      }
      length += part.length
      if flags.rawValue & sentFlags != 0 {
        unsafe ring.ring.place(slot).store(
          flags: SlotFlags(rawValue: flags.rawValue & ~sentFlags))
      }
      slot = unsafe ring.ring.next(slot)
    } while flags.contains(.moreFragments) && slot != head
    if flags.contains(.moreFragments) {
      return Gathered(isWhole: false, slotAfter: slot, length: 0)
    }
    if place.isDiscarding { return Gathered(isWhole: true, slotAfter: slot, length: 0) }
    var limit = unsafe min(frameLimit, capacity)
    if length > limit, length >= 14, unsafe isTagged(target) { limit = min(limit + 4, capacity) }
    if length < 14 || length > limit {
      unsafe ring.kring.countDrop(.badLength)
      length = 0
    }
    return Gathered(isWhole: true, slotAfter: slot, length: length)
  }

  /// Whether the packet in a frame has a VLAN tag, which does not count toward the MTU.
  private func isTagged(_ target: TransmitFrame) -> Bool {
    let type = unsafe target.etherType
    return type == UInt16(ETH_P_8021Q) || type == UInt16(ETH_P_8021AD)
  }

  /// Makes the kernel send the frames that wait in the ring. Packets that a sync has taken over are to be sent even
  /// if the ring is closed right after it.
  ///
  /// For closing only, once no process syncs the ring any more.
  ///
  /// - Returns: Whether no frame waits any more.
  package func drain() -> Bool {
    guard let place = unsafe cursor.load(below: frameCount, .max), place.underWay != 0,
      unsafe frame(last(place)).isWaiting
    else { return true }
    _ = unsafe send(socket, nil, 0, CInt(MSG_DONTWAIT))
    return unsafe !frame(last(place)).isWaiting
  }

  /// Tells the kernel that there are frames. The kernel sends all it can before the call returns.
  ///
  /// - Returns: 0, also when the interface cannot take more now; `EIO` when the interface has disappeared.
  @_semantics("no_performance_analysis")
  @inline(never)
  private func kick(_ ring: MappedRing, _ place: PacketTransmitPlace) -> Int32 {
    unsafe ring.kring.count(.systemCalls)
    let sent = unsafe send(socket, nil, 0, CInt(MSG_DONTWAIT))
    let failure = sent < 0 ? errno : 0
    let isDrained = unsafe !frame(last(place)).isWaiting
    if sent >= 0 {
      let taken = UInt64(sent)
      // The kernel drops a malformed frame and goes on (PACKET_LOSS). It reports only how many bytes it has sent.
      // If bytes are missing, it dropped at least one packet.
      let unsent = unsafe cursor.bytesUnsent
      if isDrained, taken < unsent { unsafe ring.kring.countDrop(.kernel) }
      unsafe cursor.bytesUnsent = unsent > taken ? unsent - taken : 0
    }
    if isDrained || failure != 0 { unsafe cursor.bytesUnsent = 0 }
    switch failure {
    case ENXIO, ENODEV: return EIO
    // The interface dropped its copy of one frame, but the frame stays in the ring. packet(7) does not say so;
    // tpacket_snd() requests the frame again when the driver has refused it.
    case ENOBUFS:
      unsafe ring.kring.count(.retries)
      return 0
    // The interface is down (the frames wait for it to come up), its queue is full, or too many frames are under
    // way. The next sync tries again.
    default: return 0
    }
  }
}
