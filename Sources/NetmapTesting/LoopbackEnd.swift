internal import NetmapCore
internal import Synchronization

/// The frames on their way in one direction of a wire.
@safe
final class LoopbackQueue: @unchecked Sendable {
  /// The bytes of one slot.
  struct Frame: Sendable {
    let bytes: [UInt8]
    let flags: SlotFlags
  }

  /// Frames beyond this number are dropped.
  static let capacity = 1024

  @safe private struct State {
    var frames: [Frame] = []
    /// Wakes the receiver; nil while no receiver is open.
    var receiver: (word: WaitWord, doorbells: DoorbellTable.View)?
  }

  private let lock = Mutex(())
  private nonisolated(unsafe) var state = State()

  private func withState<R>(_ body: (inout State) -> R) -> R {
    lock.withLock { _ in unsafe body(&state) }
  }

  /// Appends frames up to the capacity, and wakes the receiver.
  ///
  /// - Returns: The number of frames that found no room.
  func append(_ frames: [Frame]) -> Int {
    let dropped = withState { state in
      let room = Self.capacity - state.frames.count
      state.frames += frames.prefix(room)
      return max(0, frames.count - room)
    }
    wakeReceiver()
    return dropped
  }

  func wakeReceiver() {
    let receiver = unsafe withState { unsafe $0.receiver }
    if let receiver = unsafe receiver { unsafe receiver.word.wake(receiver.doorbells) }
  }

  /// Takes the oldest frames, at most `count`, and notes where the receiver sleeps.
  func take(upTo count: Int, for receiver: MappedRing) -> [Frame] {
    withState { state in
      unsafe state.receiver = (receiver.waitWord, receiver.doorbells)
      let taken = Array(state.frames.prefix(count))
      state.frames.removeFirst(taken.count)
      return taken
    }
  }

  /// Forgets the receiver and the frames that wait for it.
  func clear() {
    withState { state in
      state.frames = []
      unsafe state.receiver = nil
    }
  }
}

/// The ring drivers of one ring pair at an end of a wire.
///
/// Lends the buffers of a receive ring's empty slots to itself by their owner bytes, as drivers of real interfaces do,
/// and remembers which buffer is in which slot.
final class LoopbackEnd: Sendable {
  private struct State {
    var ownership: BufferOwnership?
    /// By receive slot: the lent buffer; 0 for none.
    var lent: [UInt32] = []
    /// Whether the interface was removed while ports used it.
    var isRemoved = false
  }

  private let outgoing: LoopbackQueue
  private let incoming: LoopbackQueue
  private let state = Mutex(State())

  init(sends outgoing: LoopbackQueue, receives incoming: LoopbackQueue) {
    self.outgoing = outgoing
    self.incoming = incoming
  }

  /// Takes over the empty slots of a receive ring the first time it is used.
  func place(_ placement: RingPlacement) {
    let (ring, ownership) = unsafe (placement.ring, placement.ownership)
    let isReceive = unsafe placement.direction == .receive
    let buffers = unsafe (0..<ring.slotCount).map { unsafe ring.place($0).loadBufferIndex() }
    state.withLock { state in
      state.ownership = ownership
      guard isReceive, state.lent.isEmpty else { return }
      state.lent = buffers.map { ownership.lend($0) ? $0 : 0 }
    }
  }

  /// Takes back all lent buffers.
  func giveBack() {
    state.withLock { state in
      for buffer in state.lent where buffer != 0 { _ = state.ownership?.takeBack(buffer) }
      state = State(isRemoved: state.isRemoved)
    }
    incoming.clear()
  }

  /// Makes every further sync fail, and wakes the thread that waits for packets.
  func remove() {
    state.withLock { $0.isRemoved = true }
    incoming.wakeReceiver()
  }

  var isRemoved: Bool { state.withLock { $0.isRemoved } }

  /// - Returns: False when the interface was removed.
  func transmit(_ port: MappedRing, upTo head: UInt32) -> Bool {
    let (isRemoved, ownership) = state.withLock { ($0.isRemoved, $0.ownership) }
    guard !isRemoved, let ownership else { return !isRemoved }
    let (ring, kring) = unsafe (port.ring, port.kring)
    var frames: [LoopbackQueue.Frame] = []
    var index = unsafe kring.cursors.hwcur
    while index != head {
      // Validates index, length and offset of the slot.
      let slot = unsafe port.readSlot(index, ownership)
      let bytes = unsafe UnsafeRawBufferPointer(
        start: ring.buffer(slot.buffer) + slot.offset, count: slot.length)
      frames.append(
        LoopbackQueue.Frame(
          bytes: unsafe [UInt8](bytes), flags: slot.flags.intersection(.moreFragments)))
      unsafe ring.place(index).store(flags: slot.flags.subtracting([.bufferChanged, .report]))
      unsafe kring.count(.packets)
      index = unsafe ring.next(index)
    }
    if !frames.isEmpty {
      let dropped = outgoing.append(frames)
      unsafe kring.countDrop(.ringFull, UInt64(dropped))
    }
    unsafe kring.store(hwcur: head)
    unsafe kring.store(hwtail: head == 0 ? ring.slotCount - 1 : head - 1)
    return true
  }

  /// - Returns: False when the interface was removed.
  func receive(_ port: MappedRing, upTo head: UInt32) -> Bool {
    let (ring, kring) = unsafe (port.ring, port.kring)
    return state.withLock { state in
      guard !state.isRemoved, let ownership = state.ownership else { return !state.isRemoved }
      // The slots that the application has given back.
      var index = unsafe kring.cursors.hwcur
      while index != head {
        let buffer = unsafe ring.place(index).loadBufferIndex()
        let isLent = ownership.lend(buffer)
        if !isLent { unsafe kring.countDrop(.badBufferIndex) }
        state.lent[Int(index)] = isLent ? buffer : 0
        index = unsafe ring.next(index)
      }
      unsafe kring.store(hwcur: head)
      let limit = unsafe head == 0 ? ring.slotCount - 1 : head - 1
      index = unsafe kring.cursors.hwtail
      let room = unsafe Int(ring.distance(from: index, to: limit))
      for frame in unsafe incoming.take(upTo: room, for: port) {
        let buffer = state.lent[Int(index)]
        state.lent[Int(index)] = 0
        if buffer != 0 { _ = ownership.takeBack(buffer) }
        var length = unsafe min(frame.bytes.count, Int(ring.bufferSize))
        if unsafe length > kring.receiveRoom(ring.rule) {
          unsafe kring.countDrop(.badLength)
          length = 0
        }
        let target = unsafe UnsafeMutableRawBufferPointer(
          start: ring.buffer(buffer) + port.settleOffset(index), count: length)
        unsafe target.copyBytes(from: frame.bytes.prefix(length))
        unsafe ring.store(
          SlotWord(
            bufferIndex: buffer, length: UInt16(truncatingIfNeeded: length), flags: frame.flags),
          at: index)
        unsafe kring.count(.packets)
        index = unsafe ring.next(index)
      }
      unsafe kring.store(hwtail: index)
      return true
    }
  }
}
