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
    var receiver: WaitWord?
  }

  private let lock = Mutex(())
  private nonisolated(unsafe) var state = State()

  private func withState<R>(_ body: (inout State) -> R) -> R {
    lock.withLock { _ in unsafe body(&state) }
  }

  /// Appends frames up to the capacity, and wakes the receiver.
  ///
  /// - Returns: The number of frames that found no room.
  func append(_ frames: [Frame], waking doorbells: DoorbellTable.View) -> Int {
    let (dropped, receiver) = unsafe withState { state -> (Int, WaitWord?) in
      let room = Self.capacity - state.frames.count
      state.frames += frames.prefix(room)
      return unsafe (max(0, frames.count - room), state.receiver)
    }
    unsafe receiver?.wake(doorbells)
    return dropped
  }

  /// Takes the oldest frames, at most `count`, and notes where the receiver sleeps.
  func take(upTo count: Int, for receiver: WaitWord) -> [Frame] {
    withState { state in
      unsafe state.receiver = unsafe receiver
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
      state = State()
    }
    incoming.clear()
  }

  func transmit(_ port: MappedRing, upTo head: UInt32) {
    guard let ownership = state.withLock({ $0.ownership }) else { return }
    let (ring, kring) = unsafe (port.ring, port.kring)
    var frames: [LoopbackQueue.Frame] = []
    var index = unsafe kring.cursors.hwcur
    while index != head {
      // Validates index, length and offset of the slot.
      let slot = unsafe port.lendSlot(index, ownership)
      let bytes = unsafe UnsafeRawBufferPointer(
        start: ring.buffer(slot.buffer) + slot.offset, count: slot.length)
      frames.append(
        LoopbackQueue.Frame(
          bytes: unsafe [UInt8](bytes), flags: slot.flags.intersection(.moreFragments)))
      if slot.buffer != 0 { _ = ownership.takeBack(slot.buffer) }
      unsafe kring.count(.packets)
      index = unsafe ring.next(index)
    }
    if !frames.isEmpty {
      let dropped = unsafe outgoing.append(frames, waking: port.doorbells)
      unsafe kring.countDrop(.ringFull, UInt64(dropped))
    }
    unsafe kring.store(hwcur: head)
    unsafe kring.store(hwtail: head == 0 ? ring.slotCount - 1 : head - 1)
  }

  func receive(_ port: MappedRing, upTo head: UInt32) {
    let (ring, kring, waitWord) = unsafe (port.ring, port.kring, port.waitWord)
    state.withLock { state in
      guard let ownership = state.ownership else { return }
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
      for frame in unsafe incoming.take(upTo: room, for: waitWord) {
        let buffer = state.lent[Int(index)]
        state.lent[Int(index)] = 0
        if buffer != 0 { _ = ownership.takeBack(buffer) }
        let length = unsafe min(frame.bytes.count, Int(ring.bufferSize))
        let target = unsafe UnsafeMutableRawBufferPointer(start: ring.buffer(buffer), count: length)
        unsafe target.copyBytes(from: frame.bytes.prefix(length))
        unsafe ring.store(
          SlotWord(
            bufferIndex: buffer, length: UInt16(truncatingIfNeeded: length), flags: frame.flags),
          at: index)
        unsafe kring.count(.packets)
        index = unsafe ring.next(index)
      }
      unsafe kring.store(hwtail: index)
    }
  }
}
