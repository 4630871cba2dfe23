internal import CLinux
internal import Glibc
package import NetmapCore

/// The ring driver of a receive ring over `TPACKET_V3`: plain data, which any process that syncs the ring makes
/// from a descriptor and two mappings.
///
/// The kernel fills blocks with frames. A sync copies the frames into the netmap ring's free slots, does the work
/// that an offload left out, and hands a block back when it has taken all of its frames. Frames that do not fit
/// stay in their blocks. A `PacketReceiver` owns nothing: the mappings must outlive it.
@unsafe
package struct PacketReceiver {
  /// The AF_PACKET socket.
  package let socket: CInt
  /// The mapped receive ring of the socket.
  package let blocks: UnsafeMutableRawPointer
  package let blockCount: UInt32
  /// The words of ``PacketCursorLayout``.
  package let cursors: UnsafeMutableRawPointer
  package let ownership: BufferOwnership

  package init(
    socket: CInt, blocks: UnsafeMutableRawPointer, layout: PacketReceiveLayout,
    cursors: UnsafeMutableRawPointer, ownership: BufferOwnership
  ) {
    unsafe self.socket = socket
    unsafe self.blocks = blocks
    unsafe blockCount = UInt32(layout.blockCount)
    unsafe self.cursors = cursors
    unsafe self.ownership = ownership
  }

  /// The function of the ring driver; its context is an `UnsafeMutablePointer<PacketReceiver>`.
  package static let synchronize: RingDriverFunction.Synchronize = { context, ring, head, flags in
    guard let context = unsafe context else { return EIO }
    return unsafe context.assumingMemoryBound(to: PacketReceiver.self).pointee.receive(
      MappedRing(calledWith: ring), releasedUpTo: head,
      SyncFlags(rawValue: flags))
  }
}

extension PacketReceiver {
  @inline(__always)
  private var cursor: PacketReceiveCursor {
    unsafe PacketReceiveCursor(base: cursors + PacketCursorLayout.receive)
  }

  /// Initializes the words of a ring that has never been synced.
  ///
  /// - Parameter tail: `hwtail` of the netmap ring.
  package func begin(at tail: UInt32) {
    var place = PacketReceivePlace()
    place.tail = tail
    unsafe cursor.store(place)
  }

  @inline(__always)
  private func block(_ index: UInt32) -> PacketBlock {
    unsafe PacketBlock(blocks + Int(index) &* PacketReceiveLayout.blockBytes)
  }

  /// One receive sync. Called with the ring's lock held.
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  private func receive(
    _ ring: MappedRing, releasedUpTo head: UInt32, _ flags: SyncFlags
  ) -> Int32 {
    if unsafe cursor.isUnderWay { unsafe repair(ring) }
    guard let tail = unsafe ring.kring.hwtail(below: ring.ring.slotCount) else { return EIO }
    unsafe cursor.begin()
    unsafe ring.kring.store(hwcur: head)
    var writer = unsafe SlotWriter(ring, from: tail, releasedUpTo: head, ownership)
    var place = unsafe cursor.load(below: blockCount)
    // Visit each block once, even if another process keeps marking blocks as full.
    for _ in 0..<(unsafe blockCount) {
      let block = unsafe block(place.block)
      if place.framesLeft == 0, unsafe !open(block, &place) { break }
      guard unsafe take(block, ring, &place, &writer) else { break }
      // The block is empty. First store what was taken, then hand the block back to the kernel.
      let previous = unsafe place.block == 0 ? blockCount &- 1 : place.block &- 1
      place.block = unsafe place.block &+ 1 == blockCount ? 0 : place.block &+ 1
      place.finishedSequence = unsafe block.sequence
      unsafe place.tail = writer.tail
      unsafe cursor.store(place)
      unsafe ring.kring.store(hwtail: writer.tail)
      unsafe block.handBack()
      // If all other blocks are full, packets may have been lost until now, and no block will report the last of
      // these losses.
      if unsafe self.block(previous).status & UInt32(TP_STATUS_USER) != 0 {
        place.statisticsDue = 1
      }
    }
    let isDue = place.statisticsDue != 0
    place.statisticsDue = 0
    unsafe place.tail = writer.tail
    unsafe cursor.store(place)
    unsafe ring.kring.store(hwtail: writer.tail)
    unsafe ring.kring.count(.packets, writer.packets)
    unsafe ring.kring.count(.bytes, writer.bytes)
    if isDue { unsafe countKernelDrops(ring) }
    unsafe cursor.end()
    // Before a sleep: after the interface went down, poll(2) reports an error until a process has read it.
    if unsafe writer.packets == 0 && flags.rawValue & SyncFlags.forceRead.rawValue == 0 {
      unsafe clearError(ring)
    }
    return 0
  }

  /// The repair that a sync begins with when the process of the former sync was killed in the middle of it. The
  /// cursor says which frames were taken for good.
  @inline(never)
  private func repair(_ ring: MappedRing) {
    let place = unsafe cursor.load(below: blockCount)
    guard unsafe place.tail < ring.ring.slotCount else { return }
    unsafe ring.kring.store(hwtail: place.tail)
    // The block before may still have to be handed back. Otherwise the kernel has it, or has filled it again and
    // given it another sequence number.
    let before = unsafe block(place.block == 0 ? blockCount &- 1 : place.block &- 1)
    if unsafe before.status & UInt32(TP_STATUS_USER) != 0,
      unsafe before.sequence == place.finishedSequence
    {
      unsafe before.handBack()
    }
  }

  /// Begins to read a block, if the kernel has filled it.
  @inline(__always)
  private func open(_ block: PacketBlock, _ place: inout PacketReceivePlace) -> Bool {
    let status = unsafe block.status
    guard status & UInt32(TP_STATUS_USER) != 0 else { return false }
    place.framesLeft = unsafe block.frameCount
    place.offset = unsafe block.firstOffset
    place.payloadTaken = 0
    // The kernel marks a block that it closed after it had lost packets.
    if status & UInt32(TP_STATUS_LOSING) != 0 { place.statisticsDue = 1 }
    return true
  }

  /// Takes frames of an open block until it is empty or the ring is full.
  ///
  /// - Returns: Whether the block is empty.
  @inline(__always)
  private func take(
    _ block: PacketBlock, _ ring: MappedRing, _ place: inout PacketReceivePlace,
    _ writer: inout SlotWriter
  ) -> Bool {
    while place.framesLeft != 0 {
      guard let frame = unsafe ReceivedFrame(in: block, at: place.offset) else {
        // The frame's header is damaged, so the rest of the block cannot be used.
        unsafe ring.kring.countDrop(.kernel, UInt64(place.framesLeft))
        place.framesLeft = 0
        break
      }
      if unsafe frame.isOutgoing {
        // Sent by this host. Only kernels that cannot leave such frames out put them here.
      } else if unsafe frame.isCut {
        unsafe ring.kring.countDrop(.kernel)
      } else if unsafe frame.needsRepair {
        guard unsafe takeRepaired(frame, block, ring, &place, &writer) else { return false }
      } else if unsafe !writer.write(frame.data, frame.length, tag: frame.tag) {
        guard unsafe !writer.canEverFit(frame.length + 4) else { return false }
        unsafe ring.kring.countDrop(.badLength)
      }
      place.payloadTaken = 0
      place.framesLeft &-= 1
      place.offset = unsafe place.offset &+ frame.next
    }
    return true
  }

  /// Takes a frame whose checksum is not finished, or that stands for several packets. Drops one that cannot be
  /// completed here.
  ///
  /// - Returns: False when the ring is full before all of it has been taken.
  @inline(never)
  private func takeRepaired(
    _ frame: ReceivedFrame, _ block: PacketBlock, _ ring: MappedRing,
    _ place: inout PacketReceivePlace, _ writer: inout SlotWriter
  ) -> Bool {
    guard unsafe frame.isSuperPacket else {
      guard unsafe writer.canEverFit(frame.length + 4) else {
        unsafe ring.kring.countDrop(.badLength)
        return true
      }
      if unsafe frame.lacksChecksum {
        guard unsafe frame.finishChecksum(cursor.checksum, block.sequence, at: place.offset) else {
          unsafe ring.kring.countDrop(.unfinished)
          return true
        }
        // When the ring is full, the frame comes back as one that needs no repair.
        unsafe ring.kring.count(.repairedChecksums)
      }
      return unsafe writer.write(frame.data, frame.length, tag: frame.tag)
    }
    guard let segments = unsafe frame.segmentation() else {
      unsafe ring.kring.countDrop(.unfinished)
      return true
    }
    let header = unsafe cursors + PacketCursorLayout.scratch
    while Int(place.payloadTaken) < segments.payloadTotal {
      let taken = Int(place.payloadTaken)
      let payload = unsafe segments.write(
        header: header, from: frame.data, payload: frame.data + segments.headerBytes + taken,
        after: taken)
      guard unsafe writer.canEverFit(segments.headerBytes + payload + 4) else {
        unsafe ring.kring.countDrop(.badLength)
        return true
      }
      guard
        unsafe writer.write(
          header, segments.headerBytes, frame.data + segments.headerBytes + taken, payload,
          tag: frame.tag)
      else { return false }
      place.payloadTaken &+= UInt32(truncatingIfNeeded: payload)
    }
    unsafe ring.kring.count(.segmentedPackets)
    return true
  }

  /// Asks the kernel how many packets it dropped since it was last asked (packet(7),
  /// `PACKET_STATISTICS`: reading resets it).
  @inline(never)
  private func countKernelDrops(_ ring: MappedRing) {
    unsafe ring.kring.count(.systemCalls)
    unsafe ring.kring.countDrop(.kernel, kernelDrops())
  }

  @_semantics("no_performance_analysis")
  @inline(never)
  private func clearError(_ ring: MappedRing) {
    unsafe ring.kring.count(.systemCalls)
    var code: CInt = 0
    var size = socklen_t(MemoryLayout<CInt>.size)
    _ = unsafe getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size)
  }

  /// Packets that the kernel dropped since the last call, because every block was full.
  @_semantics("no_performance_analysis")
  package func kernelDrops() -> UInt64 {
    var statistics = tpacket_stats_v3()
    var size = socklen_t(MemoryLayout<tpacket_stats_v3>.size)
    let result = unsafe getsockopt(
      socket, CInt(CLINUX_SOL_PACKET), PACKET_STATISTICS, &statistics, &size)
    return result == 0 ? UInt64(statistics.tp_drops) : 0
  }
}
