internal import CNetmap

// Forwarding runs in the sender, in three steps per batch. The sender looks at every slot once. It
// then finds the receiver of each packet and puts the packet on that receiver's list. Finally it
// works through the lists, one receive ring after the other (``Deliver.swift``).

extension MappedRing {
  /// Forwards the slots before `head` to the other ports of the switch, and frees them.
  ///
  /// Slots stay in the ring only if a receiver with back-pressure has no room.
  @inline(never)
  func switchTransmit(upTo head: UInt32) {
    unsafe finalize(tail: forwardSlots(upTo: head))
  }

  /// ``switchTransmit(upTo:)`` without showing the application its free slots.
  ///
  /// - Returns: The end of the free slots.
  @inline(__always)
  func forwardSlots(upTo head: UInt32) -> UInt32 {
    let first = unsafe kring.hwcur(below: ring.slotCount)
    let batch = unsafe parts.pointee.switching?.pointee.vale.batch ?? 0
    guard let path = unsafe parts.pointee.switching, let scratch = unsafe path.pointee.scratch,
      batch > 0
    else {
      unsafe kring.deliveredSlot = 0
      return unsafe discardSlots(upTo: head)
    }
    var end = head
    if let first, first != head {
      var forwarder = unsafe Forwarder(
        ring: ring, kring: kring, doorbells: doorbells, path, scratch)
      end = unsafe forwarder.forward(from: first, upTo: head, batch: batch)
    }
    unsafe kring.store(hwcur: end)
    return unsafe end == 0 ? ring.slotCount - 1 : end - 1
  }
}

/// One sync of a switch port's transmit ring.
@unsafe
struct Forwarder {
  let ring: Ring
  let kring: KRing
  let doorbells: DoorbellTable.View
  let vale: SwitchView
  /// The transmit ring under which a module's decisions are counted: 16 times its port's index,
  /// plus its number.
  ///
  /// It stays the same when a module host forwards the packets of other ports.
  let sender: Int
  let cells: UnsafeMutableRawPointer
  var port: UInt32
  let resolver: DestinationResolver?
  let path: UnsafePointer<SwitchPath>
  let frames: UnsafeMutablePointer<Frame>
  let queues: UnsafeMutablePointer<FrameQueue>
  let touched: UnsafeMutablePointer<UInt16>
  let verdicts: UnsafeMutablePointer<UInt32>
  var ringIndex: Int
  /// Memory for the headers of one packet.
  let headers: UnsafeMutableRawPointer
  /// Bytes of virtio-net header before each frame: 0, 10 or 12.
  var headerLength: UInt8
  /// Whether packets begin at the beginning of their buffers.
  let isDirect: Bool

  var touchedCount = 0
  var broadcast = FrameQueue()
  /// Whether packets go to a module host, which must know their origin.
  var isRedirecting = false
  /// The page of an indirect packet that was last found readable.
  var readablePage: UInt = 0

  init(
    ring: Ring, kring: KRing, doorbells: DoorbellTable.View, _ path: UnsafePointer<SwitchPath>,
    _ scratch: ForwardScratch
  ) {
    unsafe self.ring = ring
    unsafe self.kring = kring
    unsafe self.doorbells = doorbells
    unsafe self.path = path
    unsafe vale = path.pointee.vale
    unsafe cells = path.pointee.cells
    unsafe port = path.pointee.port
    unsafe resolver = path.pointee.resolver
    unsafe frames = scratch.frames
    unsafe queues = scratch.queues
    unsafe touched = scratch.touched
    unsafe verdicts = scratch.verdicts
    unsafe headers = scratch.headers
    unsafe ringIndex = kring.switchRingID
    unsafe sender = Int(port & 255) &* 16 &+ ringIndex
    unsafe headerLength = kring.frameShape.headerLength
    unsafe isDirect = kring.offsetMask == 0
  }

  /// Forwards the slots from `from` up to `head`, batch by batch.
  ///
  /// - Parameters:
  ///   - from: The first slot.
  ///   - head: The slot after the last one.
  ///   - batch: The slots of a batch, at least 1. The caller loads this number once: a second load
  ///     could return 0, and the loop would never end.
  /// - Returns: The first slot that must stay in the ring; `head` when there is none.
  @inline(__always)
  mutating func forward(from: UInt32, upTo head: UInt32, batch: Int) -> UInt32 {
    var (index, start) = (from, from)
    // The number of frames, and the index of the first frame of the packet that is being collected.
    var (count, first) = (0, 0)
    var bytes: UInt64 = 0
    var packets: UInt64 = 0
    let (isPlain, isDirect) = unsafe (isPlain, isDirect)
    while index != head {
      if count == 0, isPlain {
        let gone = unsafe forwardFlowRuns(from: index, upTo: head, limit: batch)
        if gone.packets > 0 {
          packets &+= UInt64(gone.packets)
          bytes &+= gone.bytes
          index = unsafe slot(gone.packets, after: index)
          start = index
          continue
        }
      }
      // Between two packets. Single-slot packets are collected many at a time.
      if isDirect, count == first {
        let found = unsafe collect(
          from: index, upTo: head, into: frames + count, limit: UInt32(batch &- count))
        index = unsafe slot(found.count, after: index)
        count &+= Int(found.count)
        first = count
        packets &+= UInt64(found.count)
        bytes &+= found.bytes
      }
      if index != head, count < batch || count > first {
        let place = unsafe ring.place(index)
        let content = unsafe place.loadWord()
        index = unsafe ring.next(index)
        let size: UInt16
        var continues = content.flags.contains(.moreFragments)
        if isDirect, unsafe ring.rule.isCommon(content) {
          size = UInt16(truncatingIfNeeded: content.length)
          unsafe (frames + count).store(
            ring.buffer(content.buffer), room: ring.bufferSize, size, fragments: 1,
            continues: continues)
        } else {
          let frame = unsafe uncommonFrame(content, place, count)
          unsafe (size, continues) = (frame.length, frame.continues)
          unsafe frames[count] = frame
        }
        count &+= 1
        bytes &+= UInt64(size)
        if continues, index != head {
          guard count &- first == SwitchLimits.fragments else { continue }
          // Flush the packets before it first, so that the frames of a batch stay consecutive in
          // the ring.
          if first > 0 {
            let taken = unsafe flush(first)
            if taken < first {
              let stays = unsafe leave(taken, first, &packets, &bytes)
              unsafe countSent(packets, bytes &- length(first, count))
              return unsafe slot(stays, after: start)
            }
          }
          unsafe kring.countDrop(.tooManyFragments)
          packets &+= 1
          index = unsafe skipPacket(from: index, upTo: head)
          start = index
          (count, first) = (0, 0)
          continue
        }
        if continues || count &- first > 1 { bytes &-= unsafe endPacket(first, count) }
        packets &+= 1
        first = count
      }
      if count >= batch || index == head {
        let taken = unsafe flush(count)
        if taken < count {
          let stays = unsafe leave(taken, count, &packets, &bytes)
          unsafe countSent(packets, bytes)
          return unsafe slot(stays, after: start)
        }
        start = index
        (count, first) = (0, 0)
      }
    }
    unsafe countSent(packets, bytes)
    return head
  }

  /// Makes frames of consecutive slots, up to the first unusual one.
  ///
  /// Each of these slots must hold a whole packet with at least an Ethernet header.
  ///
  /// - Returns: The number of frames, at most `limit`, and their bytes.
  @inline(never)
  mutating func collect(
    from first: UInt32, upTo head: UInt32, into frames: UnsafeMutablePointer<Frame>, limit: UInt32
  ) -> (count: UInt32, bytes: UInt64) {
    // A local copy: stores through pointers cannot change it, so its fields stay in registers.
    let ring = unsafe ring
    var index = first
    var frame = unsafe frames
    var (count, bytes): (UInt32, UInt64) = (0, 0)
    while index != head, count != limit {
      let slot = unsafe ring.loadWord(index)
      guard unsafe ring.rule.isWhole(slot) else { break }
      unsafe frame.store(
        ring.buffer(slot.buffer), room: ring.bufferSize,
        UInt16(truncatingIfNeeded: slot.length), fragments: 1, continues: false)
      bytes &+= slot.length
      count &+= 1
      index = unsafe ring.next(index)
      unsafe frame += 1
    }
    return (count, bytes)
  }

  @inline(__always)
  private func countSent(_ packets: UInt64, _ bytes: UInt64) {
    unsafe kring.count(.packets, packets)
    unsafe kring.count(.bytes, bytes)
  }

  /// Subtracts the packets that stay in the ring from the sums.
  ///
  /// - Returns: `taken`, the number of frames that leave the ring.
  @inline(never)
  private func leave(
    _ taken: Int, _ count: Int, _ packets: inout UInt64, _ bytes: inout UInt64
  ) -> UInt32 {
    var packet = taken
    while packet < count {
      packets &-= 1
      packet &+= unsafe Int(frames[packet].fragments)
    }
    unsafe bytes &-= length(taken, count)
    unsafe kring.count(.retries)
    return UInt32(truncatingIfNeeded: taken)
  }

  /// The bytes of the frames `first..<end`.
  private func length(_ first: Int, _ end: Int) -> UInt64 {
    (first..<end).reduce(0) { unsafe $0 &+ UInt64(frames[$1].length) }
  }

  /// Ends a packet of several slots, or a packet that `head` cuts off and that is sent as it is.
  ///
  /// If one of its slots is invalid, the packet is dropped, and its first frame holds the reason.
  ///
  /// - Returns: The bytes by which this shortens the packet.
  @inline(never)
  private func endPacket(_ first: Int, _ end: Int) -> UInt64 {
    unsafe frames[end &- 1].continues = false
    unsafe frames[first].fragments = UInt8(truncatingIfNeeded: end &- first)
    var removed: UInt64 = 0
    for part in (first &+ 1)..<max(end, first &+ 1) where unsafe frames[part].fault != 0 {
      unsafe removed &+= UInt64(frames[first].length)
      unsafe frames[first].length = 0
      unsafe frames[first].fault = frames[part].fault
    }
    return removed
  }

  /// The slot that lies `frames` slots behind `start`.
  private func slot(_ frames: UInt32, after start: UInt32) -> UInt32 {
    unsafe ring.index(start, advancedBy: Int(frames))
  }

  /// Makes a frame of an unusual slot, which becomes frame `number` of the batch.
  @inline(never)
  private mutating func uncommonFrame(
    _ word: SlotWord, _ place: SlotPlace, _ number: Int
  ) -> Frame {
    let slot = unsafe Slot(word, pointer: place.loadPointer())
    if slot.flags.contains(.bufferChanged) {
      unsafe place.store(flags: slot.flags.subtracting(.bufferChanged))
    }
    let continues = slot.flags.contains(.moreFragments)
    if slot.flags.contains(.indirect) { return unsafe indirectFrame(slot, word, number) }
    let rule = unsafe ring.rule
    let offset = unsafe kring.offset(of: slot.pointer, rule)
    if let fault = rule.fault(of: word, at: offset) { return unsafe emptyFrame(fault, continues) }
    return unsafe Frame(
      bytes: UnsafeRawPointer(ring.buffer(slot.bufferIndex) + offset),
      room: UInt32(truncatingIfNeeded: rule.room(at: offset)), length: slot.length, fragments: 1,
      continues: continues)
  }

  /// The frame for an invalid slot: no bytes, and the reason for which its packet is dropped.
  func emptyFrame(_ reason: DropReason, _ continues: Bool) -> Frame {
    unsafe Frame(
      bytes: UnsafeRawPointer(ring.buffer(0)), room: ring.bufferSize, length: 0, fragments: 1,
      continues: continues, fault: UInt8(reason.rawValue + 1))
  }

  /// Skips the rest of a packet that goes on at `index`.
  ///
  /// - Returns: The slot after the packet.
  @inline(never)
  private func skipPacket(from index: UInt32, upTo head: UInt32) -> UInt32 {
    var index = index
    while index != head {
      let place = unsafe ring.place(index)
      let flags = unsafe place.loadWord().flags
      if flags.contains(.bufferChanged) {
        unsafe place.store(flags: flags.subtracting(.bufferChanged))
      }
      index = unsafe ring.next(index)
      if !flags.contains(.moreFragments) { break }
    }
    return index
  }

  /// Appends a packet to a list.
  @inline(__always)
  func append(_ packet: Int, _ fragments: UInt8, to queue: inout FrameQueue) {
    let number = UInt16(truncatingIfNeeded: packet)
    if queue.packets == 0 {
      queue.head = number
    } else {
      unsafe frames[Int(queue.last)].next = number
    }
    queue.last = number
    queue.packets &+= 1
    queue.slots &+= UInt16(fragments)
  }

  /// Appends a packet to the list of one receive ring.
  @inline(__always)
  mutating func append(_ packet: Int, _ fragments: UInt8, port: UInt32, ring: Int) {
    let place = Int(port) &* 16 &+ ring
    if unsafe queues[place].packets == 0 {
      unsafe touched[touchedCount] = UInt16(truncatingIfNeeded: place)
      unsafe touchedCount &+= 1
    }
    unsafe append(packet, fragments, to: &queues[place])
  }
}
