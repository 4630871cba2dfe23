internal import CLinux
internal import Synchronization

extension Forwarder {
  /// Forwards a batch of frames that form complete packets.
  ///
  /// - Returns: The number of frames that leave the ring: all of them, unless packets must wait for
  ///   room at a receiver.
  @inline(never)
  mutating func flush(_ count: Int) -> Int {
    let program = unsafe vale.program
    if unsafe headerLength == 0 {
      unsafe decide(count, by: program)
    } else {
      unsafe skipHeaders(count)
      unsafe decide(count, by: program)
      unsafe restoreHeaders(count)
    }
    var taken = count
    if unsafe vale.holdsAny || kring.deliveredSlot != 0, unsafe needsOrder {
      taken = unsafe flushWithBackpressure(count)
    } else {
      unsafe deliverLists()
    }
    unsafe isRedirecting = false
    return taken
  }

  /// Puts each packet on the list of its receiver.
  @inline(__always)
  private mutating func decide(_ count: Int, by program: ModuleProgram) {
    if program.isLearning {
      unsafe learnAndLookUp(count)
    } else {
      unsafe lookUp(count, by: program)
    }
  }

  /// Delivers the packets on all lists, and empties the lists.
  @inline(__always)
  mutating func deliverLists() {
    if unsafe broadcast.packets > 0 { unsafe flood() }
    for place in unsafe 0..<touchedCount {
      let queue = unsafe Int(touched[place])
      // Empty if its packets were delivered together with the broadcasts.
      if unsafe queues[queue].packets > 0 {
        _ = unsafe deliver(to: queue >> 4, ring: queue & 15, queues[queue], FrameQueue())
        unsafe queues[queue] = FrameQueue()
      }
    }
    unsafe touchedCount = 0
  }

  /// Delivers the broadcasts, and with them the packets for ring 0 of each port, in the order in
  /// which they were sent.
  @inline(never)
  mutating func flood() {
    var receivers: UInt64 = 0
    for part in 0..<SwitchLayout.activeWords {
      var ports = unsafe vale.active(part)
      while ports != 0 {
        let receiver = part * 64 + ports.trailingZeroBitCount
        ports &= ports - 1
        if unsafe receiver == Int(port) { continue }
        _ = unsafe deliver(to: receiver, ring: 0, queues[receiver << 4], broadcast)
        unsafe queues[receiver << 4] = FrameQueue()
        receivers &+= 1
      }
    }
    unsafe countBroadcasts(
      UInt64(broadcast.packets), copies: UInt64(broadcast.packets) &* receivers)
    unsafe broadcast = FrameQueue()
  }

  @inline(__always)
  func countBroadcasts(_ packets: UInt64, copies: UInt64) {
    unsafe kring.count(.broadcasts, packets)
    unsafe kring.count(.copies, copies)
  }

  /// Copies the packets of two lists into a receive ring of another port as far as they fit.
  ///
  /// - Parameters:
  ///   - receiver: The index of the receiving port, below 256.
  ///   - ring: The number of the sender's ring; the receiver may have fewer rings.
  ///   - own: Packets for this port alone.
  ///   - common: Broadcast packets.
  ///   - holds: Whether packets without room wait in the sender's ring instead of being dropped.
  /// - Returns: The number of packets, from the first one on, that were delivered or dropped.
  @inline(never)
  mutating func deliver(
    to receiver: Int, ring: Int, _ own: FrameQueue, _ common: FrameQueue, holds: Bool = false
  ) -> Int {
    let generation = unsafe vale.generation(of: receiver)
    let packets = Int(own.packets) &+ Int(common.packets)
    guard generation != 0 else {
      unsafe kring.countDrop(.noDestination, UInt64(packets))
      return packets
    }
    guard let target = unsafe destination(receiver, generation) else {
      unsafe vale.count(.unknownRegion, UInt64(packets), for: receiver)
      return packets
    }
    guard let place = unsafe ReceiveTarget(target, ring: ring) else {
      unsafe vale.count(.noReceiver, UInt64(packets), for: receiver)
      return packets
    }
    let shape = unsafe place.shape
    let taken: Int
    // A module host gets packets unchanged, and delivers them as their sender would have.
    if unsafe shape.headerLength == headerLength || isRedirecting {
      taken = unsafe deliver(own, common, to: place, receiver, packets, holds)
    } else {
      taken = unsafe deliverConverted(own, common, to: place, receiver, shape, holds)
    }
    unsafe wake(place)
    return taken
  }

  /// Wakes the threads that sleep until this receive ring gets packets.
  @inline(__always)
  func wake(_ place: ReceiveTarget) {
    guard unsafe place.kring.outboxWaitWordIsSet else { return }
    unsafe kring.count(.systemCalls)
    unsafe place.kring.outboxWaitWord(place.target.pointee.waiters).wake(doorbells)
  }

  /// Copies packets unchanged.
  @inline(__always)
  private func deliver(
    _ own: FrameQueue, _ common: FrameQueue, to place: ReceiveTarget, _ receiver: Int,
    _ packets: Int, _ holds: Bool
  ) -> Int {
    let all = Int(own.slots) &+ Int(common.slots)
    var fitting = (slots: all, packets: packets)
    let lease = unsafe reserve(place, for: receiver, enough: all) { room in
      if room >= all {
        fitting = (all, packets)
      } else if room < fitting.slots {
        // Counts the packets one by one only if less fits than at the attempt before.
        fitting = unsafe prefix(own, common, fitting: room)
      }
      return fitting.slots
    }
    guard let lease else { return unsafe refuse(0, own, common, at: place, holds) }
    let bytes = unsafe copy(fitting.packets, from: own, common, to: place, lease.start)
    if unsafe isRedirecting { unsafe stampOrigin(lease, in: place) }
    unsafe place.finish(lease, packets: UInt64(fitting.packets), bytes: bytes)
    if fitting.packets == packets { return packets }
    // Refuse last, so that this sync's own unfinished lease does not make the ring look held up.
    return unsafe refuse(fitting.packets, own, common, at: place, holds)
  }

  /// Counts packets without room as refused, unless they can wait.
  ///
  /// - Returns: The number of packets that were delivered or dropped.
  @inline(never)
  private func refuse(
    _ granted: Int, _ own: FrameQueue, _ common: FrameQueue, at place: ReceiveTarget, _ holds: Bool
  ) -> Int {
    let packets = Int(own.packets) &+ Int(common.packets)
    guard holds, unsafe place.isSound else {
      unsafe place.refuse(UInt64(packets - granted))
      return packets
    }
    var merged = MergedQueues(own, common)
    for _ in 0..<granted { _ = unsafe merged.next(frames) }
    // A packet that needs more slots than the ring can offer would wait forever.
    guard let next = unsafe merged.next(frames),
      unsafe UInt32(frames[next].fragments) >= place.target.pointee.slotCount
    else { return granted }
    unsafe place.refuse(1)
    return granted + 1
  }

  @inline(__always)
  func destination(
    _ receiver: Int, _ generation: UInt32
  ) -> UnsafePointer<Destination>? {
    unsafe findDestination(cells, receiver, generation, resolver)
  }
}

extension Forwarder {
  /// Counts the packets that fit, up to the first one that does not.
  @inline(never)
  private func prefix(
    _ own: FrameQueue, _ common: FrameQueue, fitting free: Int
  ) -> (slots: Int, packets: Int) {
    var merged = MergedQueues(own, common)
    var (slots, packets) = (0, 0)
    while let packet = unsafe merged.next(frames) {
      let fragments = unsafe Int(frames[packet].fragments)
      guard slots + fragments <= free else { break }
      slots += fragments
      packets += 1
    }
    return (slots, packets)
  }

  /// Copies the first packets of two lists into reserved slots.
  ///
  /// - Returns: The bytes of the packets.
  @inline(__always)
  private func copy(
    _ packets: Int, from own: FrameQueue, _ common: FrameQueue, to place: ReceiveTarget,
    _ start: UInt32
  ) -> UInt64 {
    let mask = unsafe place.kring.openOffsetMask
    let ring = unsafe place.view
    if mask == 0, own.packets == 0 || common.packets == 0 {
      let queue = own.packets == 0 ? common : own
      if queue.packets == queue.slots {
        return unsafe copySingles(packets, queue.head, to: ring, start)
      }
    }
    var merged = MergedQueues(own, common)
    var slot = start
    var bytes: UInt64 = 0
    for _ in 0..<packets {
      guard let packet = unsafe merged.next(frames) else { break }
      let fragments = unsafe frames[packet].fragments
      var flags = UInt16(fragments) << 8 | SlotFlags.moreFragments.rawValue
      for part in 0..<Int(fragments) {
        let frame = unsafe frames[packet &+ part]
        if part &+ 1 == Int(fragments) { flags &= ~SlotFlags.moreFragments.rawValue }
        let target = unsafe ring.place(slot)
        let length =
          unsafe mask == 0
          ? fill(target, of: ring, with: frame, 0)
          : fill(target, of: ring, with: frame, offset(target, place, mask), upTo: gap(place))
        unsafe target.store(length: length, flags: SlotFlags(rawValue: flags))
        bytes &+= UInt64(length)
        slot = unsafe ring.next(slot)
      }
    }
    return bytes
  }

  /// Copies single-slot packets of one list.
  ///
  /// A function of its own, so that its loop has all registers.
  @inline(never)
  private func copySingles(
    _ packets: Int, _ head: UInt16, to target: Ring, _ start: UInt32
  ) -> UInt64 {
    let (frames, flags) = unsafe (frames, UInt64(1) << 56)
    var (packet, slot) = (head, start)
    var bytes: UInt64 = 0
    for index in 0..<packets {
      let ahead = slot &+ 8
      if index &+ 8 < packets, unsafe ahead < target.slotCount {
        unsafe clinux_prefetch_to_write(target.buffer(target.loadWord(ahead).buffer))
      }
      let frame = unsafe frames + Int(packet)
      let source = unsafe frame.pointee.bytes
      let room = unsafe min(frame.pointee.room, target.bufferSize)
      let fits = unsafe target.rule.fits(UInt32(frame.pointee.length))
      let length = unsafe fits ? UInt64(frame.pointee.length) : 0
      unsafe packet = frame.pointee.next
      let place = unsafe target.place(slot)
      let own = unsafe place.loadWord()
      let buffer = unsafe target.buffer(own.buffer)
      if length <= 64, room >= 64 {
        unsafe copyBlock(from: source, to: buffer)
      } else {
        unsafe copyLongPacket(from: source, to: buffer, Int(length), room: Int(room))
      }
      // Index, length and flags in one store.
      unsafe place.store(SlotWord(rawValue: UInt64(own.buffer) | length << 32 | flags))
      bytes &+= length
      slot = unsafe target.next(slot)
    }
    return bytes
  }

  /// Copies a frame into the buffer of a slot.
  ///
  /// - Returns: The slot's new length: that of the frame, or 0 if the frame does not fit or exceeds the limit.
  @inline(__always)
  private func fill(
    _ slot: SlotPlace, of ring: Ring, with frame: Frame, _ offset: Int, upTo limit: UInt16 = .max
  ) -> UInt16 {
    let rule = unsafe ring.rule
    guard unsafe rule.fits(UInt32(frame.length), at: offset), unsafe frame.length <= limit else {
      return 0
    }
    unsafe copyPacket(
      from: frame.bytes, to: ring.buffer(slot.loadBufferIndex()) + offset, Int(frame.length),
      room: min(min(rule.room(at: offset), Int(frame.room)), Int(limit)))
    return unsafe frame.length
  }

  /// The most bytes that the receiver wants in a slot.
  @inline(never)
  private func gap(_ place: ReceiveTarget) -> UInt16 {
    unsafe UInt16(truncatingIfNeeded: place.kring.limitedByGap(0xffff))
  }

  /// The offset in its buffer at which the receiver wants the packet to begin, bytes.
  @inline(never)
  private func offset(
    _ slot: SlotPlace, _ place: ReceiveTarget, _ mask: UInt64
  ) -> Int {
    unsafe place.view.rule.offset(
      of: slot.loadPointer(), mask: mask, limit: place.kring.openOffsetMax)
  }
}

/// Merges two lists in the order in which their packets were sent.
struct MergedQueues {
  private var own: FrameQueue
  private var common: FrameQueue

  @inline(__always)
  init(_ own: FrameQueue, _ common: FrameQueue) {
    self.own = own
    self.common = common
  }

  @inline(__always)
  mutating func next(_ frames: UnsafeMutablePointer<Frame>) -> Int? {
    if own.packets > 0, common.packets == 0 || own.head < common.head {
      let packet = Int(own.head)
      own.packets &-= 1
      unsafe own.head = frames[packet].next
      return packet
    }
    guard common.packets > 0 else { return nil }
    let packet = Int(common.head)
    common.packets &-= 1
    unsafe common.head = frames[packet].next
    return packet
  }
}
