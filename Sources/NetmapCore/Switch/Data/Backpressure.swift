internal import Synchronization

// A port with back-pressure loses no packet for lack of room: the packet stays in the sender's
// transmit ring, together with all packets behind it. The sender therefore delivers a batch with
// packets for such ports in ring order, run by run. A run is a sequence of consecutive packets with
// the same destination.

/// The list that a packet is on.
enum ListID {
  /// The broadcast list. All other lists are indexes of ``ForwardScratch/queues``.
  static let broadcast: UInt16 = 0xffff
  /// No list: the packet was dropped.
  static let nowhere: UInt16 = 0xfffe
}

extension Forwarder {
  /// Whether the batch must be delivered in ring order.
  ///
  /// This is the case if the batch has packets for a port with back-pressure, or if it begins with
  /// a broadcast that only some ports have received.
  var needsOrder: Bool {
    if unsafe kring.deliveredSlot != 0 { return true }
    if unsafe broadcast.packets > 0 {
      for part in 0..<SwitchLayout.activeWords where unsafe holders(part) != 0 { return true }
    }
    return unsafe (0..<touchedCount).contains { unsafe vale.isHolding(Int(touched[$0]) >> 4) }
  }

  /// The other ports with back-pressure that receive broadcasts, 64 ports at a time.
  private func holders(_ part: Int) -> UInt64 {
    unsafe others(part) & vale.holding(part)
  }

  private func others(_ part: Int) -> UInt64 {
    let all = unsafe vale.active(part)
    return unsafe Int(port) >> 6 == part ? all & ~(1 << UInt64(port & 63)) : all
  }

  /// Delivers a batch in ring order, up to the first packet that has to wait.
  ///
  /// - Returns: The number of frames that leave the ring.
  @inline(never)
  mutating func flushWithBackpressure(_ count: Int) -> Int {
    unsafe notePlaces(count)
    var packet = 0
    if unsafe kring.deliveredSlot != 0 {
      guard unsafe resume(count) else {
        unsafe uncountDrops(from: 0, upTo: count)
        return 0
      }
      unsafe packet = Int(frames[0].fragments)
    }
    while packet < count {
      let place = unsafe frames[packet].place
      guard place != ListID.nowhere else {
        unsafe packet &+= Int(frames[packet].fragments)
        continue
      }
      let (run, end) = unsafe run(from: packet, upTo: count)
      let taken =
        unsafe place == ListID.broadcast
        ? floodWaiting(run)
        : deliverWaiting(to: Int(place) >> 4, ring: Int(place) & 15, run)
      if taken < Int(run.packets) {
        let first = unsafe Int(rest(of: run, after: taken).head)
        unsafe uncountDrops(from: first, upTo: count)
        return first
      }
      packet = end
    }
    return count
  }

  /// Notes for each packet which list it is on, and empties the lists.
  private mutating func notePlaces(_ count: Int) {
    var packet = 0
    while packet < count {
      unsafe frames[packet].place = ListID.nowhere
      unsafe packet &+= Int(frames[packet].fragments)
    }
    unsafe note(broadcast, ListID.broadcast)
    unsafe broadcast = FrameQueue()
    for index in unsafe 0..<touchedCount {
      let queue = unsafe touched[index]
      unsafe note(queues[Int(queue)], queue)
      unsafe queues[Int(queue)] = FrameQueue()
    }
    unsafe touchedCount = 0
  }

  private func note(_ queue: FrameQueue, _ place: UInt16) {
    var packet = Int(queue.head)
    for _ in 0..<Int(queue.packets) {
      unsafe frames[packet].place = place
      unsafe packet = Int(frames[packet].next)
    }
  }

  /// The packets from `first` on that have the same destination. Their frames are already linked.
  private func run(from first: Int, upTo count: Int) -> (queue: FrameQueue, end: Int) {
    let place = unsafe frames[first].place
    var queue = FrameQueue()
    queue.head = UInt16(truncatingIfNeeded: first)
    var packet = first
    while packet < count, unsafe frames[packet].place == place {
      queue.last = UInt16(truncatingIfNeeded: packet)
      queue.packets &+= 1
      unsafe queue.slots &+= UInt16(frames[packet].fragments)
      unsafe packet &+= Int(frames[packet].fragments)
    }
    return (queue, packet)
  }

  /// A list without its first `taken` packets.
  private func rest(of queue: FrameQueue, after taken: Int) -> FrameQueue {
    var queue = queue
    for _ in 0..<taken {
      let packet = Int(queue.head)
      queue.packets &-= 1
      unsafe queue.slots &-= UInt16(frames[packet].fragments)
      unsafe queue.head = frames[packet].next
    }
    return queue
  }

  /// The first `taken` packets of a list.
  private func first(_ taken: Int, of queue: FrameQueue) -> FrameQueue {
    var result = queue
    unsafe result.slots = queue.slots &- rest(of: queue, after: taken).slots
    result.packets = UInt16(truncatingIfNeeded: taken)
    return result
  }

  /// Takes back the drop counts of the packets that stay in the ring: the next sync examines them
  /// again.
  private func uncountDrops(from first: Int, upTo count: Int) {
    var packet = first
    while packet < count {
      let fault = unsafe frames[packet].fault
      if unsafe frames[packet].place == ListID.nowhere,
        let reason = DropReason(rawValue: Int(fault) - 1)
      {
        unsafe kring.countDrop(reason, .max)
      }
      unsafe packet &+= Int(frames[packet].fragments)
    }
  }
}

extension Forwarder {
  /// Delivers a run to one port, which may apply back-pressure.
  ///
  /// - Returns: The number of packets delivered or dropped.
  private mutating func deliverWaiting(to receiver: Int, ring: Int, _ run: FrameQueue) -> Int {
    let holds = unsafe vale.isHolding(receiver)
    let count = Int(run.packets)
    var taken = 0
    var isAnnounced = false
    while taken < count {
      let part = unsafe rest(of: run, after: taken)
      let more = unsafe deliver(to: receiver, ring: ring, part, FrameQueue(), holds: holds)
      taken += more
      if more > 0 { continue }
      // If no thread sleeps, the next sync tries again.
      guard unsafe !isAnnounced && kring.outboxWaitWordIsSet else { break }
      // The receiver may get room before it can see that a thread waits for it, so try once more.
      unsafe announceSleeper(at: receiver, ring)
      isAnnounced = true
    }
    return taken
  }

  /// Asks a receiver to wake the threads that sleep on this port's transmit rings when it has room.
  private func announceSleeper(at receiver: Int, _ ring: Int) {
    let generation = unsafe vale.generation(of: receiver)
    guard generation != 0, let target = unsafe destination(receiver, generation) else { return }
    let kring = unsafe target.pointee.kring(ring % Int(target.pointee.receiveRings))
    // The receiver gives slots back, issues a full fence, and then reads this bit.
    unsafe kring.addHeldSender(Int(port))
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }

  /// Broadcasts a run. Each port receives each packet once.
  ///
  /// - Returns: The number of packets that all ports have received.
  private mutating func floodWaiting(_ run: FrameQueue) -> Int {
    var holder: Int?
    var isOnly = true
    for part in 0..<SwitchLayout.activeWords {
      let bits = unsafe holders(part)
      guard bits != 0 else { continue }
      isOnly = isOnly && holder == nil && bits & (bits - 1) == 0
      holder = part * 64 + bits.trailingZeroBitCount
    }
    if isOnly { return unsafe floodBatch(run, holder) }
    var packet = Int(run.head)
    for number in 0..<Int(run.packets) {
      guard unsafe floodOne(packet, resumes: false) else { return number }
      unsafe packet = Int(frames[packet].next)
    }
    return Int(run.packets)
  }

  /// Broadcasts a run if at most one port applies back-pressure; that port limits the number of
  /// packets.
  private mutating func floodBatch(_ run: FrameQueue, _ holder: Int?) -> Int {
    var taken = Int(run.packets)
    if let holder { taken = unsafe deliverWaiting(to: holder, ring: 0, run) }
    guard taken > 0 else { return 0 }
    let part = unsafe first(taken, of: run)
    var receivers = holder == nil ? 0 : 1
    var ports = unsafe otherPorts
    while let receiver = ports.popFirst() {
      if receiver == holder { continue }
      _ = unsafe deliver(to: receiver, ring: 0, part, FrameQueue())
      receivers += 1
    }
    unsafe countBroadcasts(UInt64(taken), copies: UInt64(taken * receivers))
    return taken
  }

  /// Broadcasts one packet.
  ///
  /// As long as some ports still lack the packet, the kring records the ports that have received
  /// it.
  ///
  /// - Parameters:
  ///   - packet: The index of its first frame.
  ///   - resumes: Whether some ports have received it already.
  /// - Returns: Whether all ports have received it now.
  private mutating func floodOne(_ packet: Int, resumes: Bool) -> Bool {
    let queue = unsafe single(packet)
    if !resumes { unsafe kring.forgetDeliveries() }
    var isComplete = true
    var copies: UInt64 = 0
    var ports = unsafe waitingPorts
    while let receiver = ports.popFirst() {
      if unsafe kring.hasDelivered(to: receiver) { continue }
      if unsafe deliverWaiting(to: receiver, ring: 0, queue) == 1 {
        unsafe kring.noteDelivery(to: receiver)
        copies += 1
      } else {
        isComplete = false
      }
    }
    if isComplete {
      ports = unsafe otherPorts
      while let receiver = ports.popFirst() {
        if unsafe kring.hasDelivered(to: receiver) { continue }
        _ = unsafe deliver(to: receiver, ring: 0, queue, FrameQueue())
        copies += 1
      }
    }
    unsafe kring.deliveredSlot = isComplete ? 0 : 1
    unsafe countBroadcasts(isComplete ? 1 : 0, copies: copies)
    return isComplete
  }

  /// Resumes a broadcast that only some ports have received.
  ///
  /// Meanwhile the switch may have learned the destination address: then the packet is for one port
  /// only, or for none.
  ///
  /// - Returns: Whether the packet needs no further delivery.
  private mutating func resume(_ count: Int) -> Bool {
    let place = unsafe frames[0].place
    if place == ListID.broadcast { return unsafe floodOne(0, resumes: true) }
    if place != ListID.nowhere {
      let receiver = Int(place) >> 4
      var copies: UInt64 = 0
      if unsafe !kring.hasDelivered(to: receiver) {
        let queue = unsafe single(0)
        guard unsafe deliverWaiting(to: receiver, ring: Int(place) & 15, queue) == 1 else {
          return false
        }
        copies = 1
      }
      unsafe countBroadcasts(1, copies: copies)
    }
    unsafe kring.deliveredSlot = 0
    return true
  }

  private func single(_ packet: Int) -> FrameQueue {
    var queue = FrameQueue()
    queue.head = UInt16(truncatingIfNeeded: packet)
    queue.last = queue.head
    queue.packets = 1
    unsafe queue.slots = UInt16(frames[packet].fragments)
    return queue
  }

  private var waitingPorts: PortSet {
    unsafe PortSet(words: [holders(0), holders(1), holders(2), holders(3)])
  }

  private var otherPorts: PortSet {
    unsafe PortSet(words: [others(0), others(1), others(2), others(3)])
  }
}

/// A set of switch ports, one bit per port, taken out one after the other.
///
/// A value with a loop, because the compiler could not prove that a closure per port allocates
/// nothing.
private struct PortSet {
  var words: [4 of UInt64]
  private var part = 0

  init(words: [4 of UInt64]) {
    self.words = words
  }

  mutating func popFirst() -> Int? {
    while part < SwitchLayout.activeWords {
      let bits = words[part]
      if bits != 0 {
        words[part] = bits & (bits - 1)
        return part * 64 + bits.trailingZeroBitCount
      }
      part += 1
    }
    return nil
  }
}

// The ports that have already received the first packet of a transmit ring, a broadcast that other
// ports still lack.
extension KRing {
  fileprivate func forgetDeliveries() {
    for part in 0..<SwitchLayout.activeWords {
      unsafe setDelivered(part, 0)
    }
  }

  fileprivate func hasDelivered(to receiver: Int) -> Bool {
    unsafe delivered(receiver >> 6) >> UInt64(receiver & 63) & 1 != 0
  }

  fileprivate func noteDelivery(to receiver: Int) {
    let part = receiver >> 6
    unsafe setDelivered(part, delivered(part) | 1 << UInt64(receiver & 63))
  }
}
