internal import CLinux
internal import CNetmap

// Most packets are copied here, from ring to ring. The loops were chosen by measurement: see
// decision 34.

extension Forwarder {
  /// Copies consecutive single-slot packets to consecutive slots.
  ///
  /// - Parameters:
  ///   - packets: The number of packets.
  ///   - first: The slot of the first packet.
  ///   - place: The receive ring, whose buffers are at least as large.
  ///   - start: The first slot in that ring.
  /// - Returns: The bytes of the packets.
  @inline(__always)
  func copy(
    _ packets: UInt32, from first: UInt32, to place: ReceiveTarget, _ start: UInt32
  ) -> UInt64 {
    let (ring, target) = unsafe (ring, place.view)
    if packets == 1 {
      return unsafe copyOne(ring.place(first), of: ring, to: target, target.place(start))
    }
    var (from, to, left) = (first, start, packets)
    var bytes: UInt64 = 0
    while left > 0 {
      let stretch = unsafe min(left, min(ring.slotCount &- from, target.slotCount &- to))
      unsafe bytes &+= copyStretch(
        stretch, of: ring, from: ring.place(from), to: target, target.place(to))
      left &-= stretch
      from = unsafe ring.index(from, advancedBy: Int(stretch))
      to = unsafe target.index(to, advancedBy: Int(stretch))
    }
    return bytes
  }

  @inline(never)
  private func copyStretch(
    _ stretch: UInt32, of ring: Ring, from first: SlotPlace, to target: Ring,
    _ start: SlotPlace
  ) -> UInt64 {
    let ahead = unsafe Self.ahead
    var bytes: UInt64 = 0
    var done: UInt32 = 0
    while done < stretch {
      let left = stretch &- done
      let (from, to) = unsafe (first.advanced(by: Int(done)), start.advanced(by: Int(done)))
      var run: (packets: UInt32, bytes: UInt64) = (0, 0)
      let length = unsafe UInt32(from.loadLength())
      if length > 64 {
        if unsafe length <= Self.mediumMax {
          unsafe run = copyMedium(left, of: ring, from: from, to: target, to)
        }
      } else if left > ahead {
        unsafe run = copyShortFetching(left &- ahead, of: ring, from: from, to: target, to)
      } else {
        unsafe run = copyShort(left, of: ring, from: from, to: target, to)
      }
      if run.packets == 0 {
        if left > ahead { unsafe fetch(to.advanced(by: Int(ahead)), of: target) }
        unsafe run = (1, copyUncommon(from, of: ring, to: target, to))
      }
      done &+= run.packets
      bytes &+= run.bytes
    }
    return bytes
  }

  /// Prefetches the buffer of a slot. The index may be invalid: prefetching from an unmapped
  /// address has no effect.
  @inline(__always)
  private func fetch(_ slot: SlotPlace, of target: Ring) {
    let offset = unsafe Int(slot.loadBufferIndex()) &* Int(target.bufferSize)
    unsafe clinux_prefetch_to_write(target.buffers + offset)
  }

  /// How many packets ahead the buffers are prefetched.
  private static var ahead: UInt32 { 4 }

  /// The longest packet that is copied block by block, bytes. The C library is faster for longer
  /// packets.
  private static var mediumMax: UInt32 { 256 }

  /// Copies one packet.
  ///
  /// - Returns: Its length.
  @inline(__always)
  private func copyOne(
    _ from: SlotPlace, of ring: Ring, to target: Ring,
    _ to: SlotPlace
  ) -> UInt64 {
    let run = unsafe copyRun(1, of: ring, from: from, to: target, to, limit: 64) { _ in }
    return unsafe run.packets == 1 ? run.bytes : copyUncommon(from, of: ring, to: target, to)
  }

  // These three functions call no others, so that their loops keep everything in registers. A load
  // from the stack would wait for the stores to a buffer if both addresses have the same offset in
  // a page.

  /// Copies packets of at most one block, up to the first slot with any other content.
  @inline(never)
  private func copyShort(
    _ packets: UInt32, of ring: Ring, from first: SlotPlace, to target: Ring,
    _ start: SlotPlace
  ) -> (packets: UInt32, bytes: UInt64) {
    unsafe copyRun(packets, of: ring, from: first, to: target, start, limit: 64) { _ in }
  }

  /// Does the same, and prefetches the buffers of later slots. ``ahead`` more slots must follow.
  @inline(never)
  private func copyShortFetching(
    _ packets: UInt32, of ring: Ring, from first: SlotPlace, to target: Ring,
    _ start: SlotPlace
  ) -> (packets: UInt32, bytes: UInt64) {
    unsafe copyRun(packets, of: ring, from: first, to: target, start, limit: 64) { slot in
      unsafe fetch(slot.advanced(by: Int(Self.ahead)), of: target)
    }
  }

  /// Copies packets of several blocks.
  @inline(never)
  private func copyMedium(
    _ packets: UInt32, of ring: Ring, from first: SlotPlace, to target: Ring,
    _ start: SlotPlace
  ) -> (packets: UInt32, bytes: UInt64) {
    unsafe copyRun(
      packets, of: ring, from: first, to: target, start, limit: min(Self.mediumMax, ring.bufferSize)
    ) { _ in }
  }

  // `limit`: the longest packet to copy here, bytes; at most a buffer, so that shorter packets fit
  // (``SlotRule/fits(_:at:)``). `prepare`: called with each slot of the receiver.
  @inline(__always)
  private func copyRun(
    _ packets: UInt32, of ring: Ring, from first: SlotPlace, to target: Ring,
    _ start: SlotPlace, limit: UInt32,
    _ prepare: (SlotPlace) -> Void
  ) -> (packets: UInt32, bytes: UInt64) {
    var (from, to) = unsafe (first, start)
    var bytes: UInt64 = 0
    var left = packets
    while left > 0 {
      unsafe prepare(to)
      // Loaded again, and therefore checked again: the application may have written to the slot. In
      // two halves, as the application stored it, so that the processor can forward the stores.
      let (index, length) = unsafe (from.loadBufferIndex(), UInt32(from.loadLength()))
      let own = unsafe to.loadBufferIndex()
      guard unsafe ring.rule.reaches(index), length <= limit, unsafe target.rule.reaches(own) else {
        break
      }
      let source = unsafe ring.buffers + Int(index) &* Int(ring.bufferSize)
      let room = unsafe target.buffers + Int(own) &* Int(target.bufferSize)
      unsafe copyBlock(from: source, to: room)
      if limit > 64 {
        var offset = 64
        while offset < Int(length) {
          unsafe copyBlock(from: source + offset, to: room + offset)
          offset &+= 64
        }
      }
      unsafe setContent(of: to, length)
      bytes &+= UInt64(length)
      unsafe from += 1
      unsafe to += 1
      left &-= 1
    }
    return (packets &- left, bytes)
  }

  /// Copies a packet that is long, or whose source or target slot is invalid.
  ///
  /// Buffer 0 replaces an invalid buffer index. A packet with an invalid length becomes empty.
  ///
  /// - Returns: Its length.
  @inline(never)
  private func copyUncommon(
    _ from: SlotPlace, of ring: Ring, to target: Ring,
    _ to: SlotPlace
  ) -> UInt64 {
    let slot = unsafe from.loadWord()
    let length = unsafe ring.rule.fits(slot.byteCount) ? slot.length : 0
    unsafe copyPacket(
      from: ring.buffer(slot.buffer), to: target.buffer(to.loadBufferIndex()), Int(length),
      room: Int(ring.bufferSize))
    unsafe setContent(of: to, UInt32(length))
    return length
  }

  /// Stores in a slot the length and flags of a single-slot packet, in one store.
  @inline(__always)
  private func setContent(of slot: SlotPlace, _ length: UInt32) {
    unsafe slot.store(
      length: UInt16(truncatingIfNeeded: length), flags: SlotFlags(rawValue: 1 << 8))
  }
}
