internal import CLinux
internal import Glibc
internal import NetmapCore
internal import NetmapLinux
internal import Synchronization

/// The shared memory between the two ends of a veth, and the decision which of its lanes are joined.
///
/// A lane is joined while a ring at each of its ends is bound and nothing stands between the two interfaces.
/// ``reconsider()`` runs after every change that the kernel reports, and withdraws or joins.
///
/// The calls about rings come under the engine's lock, the others from any thread.
final class ShortCut: Sendable {
  let layout: ShortCutLayout
  let memory: SharedMemory

  /// A bound transmit ring.
  @unsafe
  struct Sender {
    let kring: KRing
    let ring: XDPTransmit
    let region: Region
    /// Whether the ring has been unbound while its lane was held. The ring is there until ``endSender(_:side:)``.
    var isStopped = false
  }

  /// A bound receive ring.
  @unsafe
  struct Receiver {
    let kring: KRing
    let ring: XDPReceive
    let region: Region
  }

  @safe
  struct End {
    let veth: VethEnd
    var senders: [Int: Sender] = unsafe [:]
    var receivers: [Int: Receiver] = unsafe [:]
  }

  struct LaneKey: Hashable {
    let pair: Int
    /// The end that sends.
    let side: Int
  }

  let lock = Mutex<Void>(())
  /// Guarded by `lock`, like what follows.
  nonisolated(unsafe) var ends: [End?] = [nil, nil]
  /// The lanes whose cells have buffers, and the region that the buffers are of.
  nonisolated(unsafe) var filled: [LaneKey: Region] = [:]
  /// Those of them whose receive ring is gone, and whose sender may still be writing to a buffer.
  nonisolated(unsafe) var abandoned: Set<LaneKey> = []
  /// The lanes in mode ``ShortCutLane/Mode/held``.
  nonisolated(unsafe) var holds: [LaneKey: Hold] = [:]
  /// Whether a thread looks again and again at what could not be decided at once.
  nonisolated(unsafe) var isLookingAgain = false

  /// How long a close waits for the sync of the sender that is under way, microseconds.
  static let closeTime = 2_000

  init(_ layout: ShortCutLayout, named name: String) throws(NetmapError) {
    self.layout = layout
    memory = try SharedMemory(creating: "netmap-veth-\(name)", byteCount: layout.byteCount)
  }

  func lane(_ key: LaneKey) -> ShortCutLane {
    unsafe layout.lane(key.pair, from: key.side, memory.base)
  }

  var keys: [LaneKey] {
    (0..<layout.pairs).flatMap { pair in (0...1).map { LaneKey(pair: pair, side: $0) } }
  }

  // MARK: - Ends

  /// Takes the free end of this short cut for a veth: the first one for any, the second one for the first one's peer.
  ///
  /// - Returns: Nil when the veth is no end of this short cut, or changes of it cannot be watched.
  func claim(by veth: VethEnd, monitor: LinkMonitor) -> ShortCutEnd? {
    lock.withLock { _ in
      guard let side = unsafe ends.firstIndex(where: { $0 == nil }) else { return nil }
      if let other = unsafe ends[1 - side] {
        guard (try? veth.isPeer(of: other.veth)) == true else { return nil }
      }
      let watch = try? monitor.watchChanges(veth.interface) { [weak self] in self?.reconsider() }
      guard let watch else { return nil }
      unsafe ends[side] = End(veth: veth)
      return ShortCutEnd(self, side, monitor, watch)
    }
  }

  func leave(_ side: Int) {
    lock.withLock { _ in
      withdrawAll()
      unsafe ends[side] = nil
    }
  }

  // MARK: - Rings

  /// A ring of an end has been bound, and its backend moves packets.
  func start(_ placement: RingPlacement, _ ring: XDPRing, _ region: Region, side: Int) {
    lock.withLock { _ in
      let pair = unsafe placement.index
      switch unsafe placement.direction {
      case .transmit:
        unsafe ends[side]?.senders[pair] = Sender(
          kring: placement.kring, ring: ring.transmit, region: region)
      case .receive:
        unsafe ends[side]?.receivers[pair] = Receiver(
          kring: placement.kring, ring: ring.receive, region: region)
      }
      freeAbandoned()
      for key in keys where key.pair == pair { fill(key) }
      decide()
    }
  }

  /// A ring of an end is about to be unbound. The kernel gives a receive ring no frames any more.
  func stop(_ direction: Direction, _ pair: Int, side: Int) {
    lock.withLock { _ in
      let key = LaneKey(pair: pair, side: direction == .transmit ? side : 1 - side)
      if direction == .transmit {
        unsafe ends[side]?.senders[pair]?.isStopped = true
        endHolds(within: Self.holdTime)
        freeAbandoned()
        // Until ``endSender(_:side:)``, the hold goes on.
        guard unsafe holds[key] == nil else { return }
        withdraw(key)
        unsafe ends[side]?.senders[pair] = nil
      } else {
        // Whatever the sender has given to the kernel, the receiver has no more than this of it.
        if unsafe holds[key] != nil, Self.passGracePeriod() { end(key, .kernel) }
        withdraw(key)
        unsafe ends[side]?.receivers[pair] = nil
      }
    }
  }

  /// The socket of a transmit ring, which has been unbound, is about to be closed.
  func endSender(_ pair: Int, side: Int) {
    lock.withLock { _ in
      let key = LaneKey(pair: pair, side: side)
      if unsafe holds[key] != nil { endForLastTime(key) }
      unsafe ends[side]?.senders[pair] = nil
    }
  }

  /// Takes the buffers of the lane to a receive ring back, which no process will sync again. The socket of the ring has
  /// been closed, and its ledger is still as the last sync has left it.
  ///
  /// - Parameters:
  ///   - pair: The ring pair.
  ///   - ring: The ring; nil if it was never bound.
  ///   - side: The end of the ring.
  func release(_ pair: Int, _ ring: Ring?, side: Int) {
    lock.withLock { _ in
      let key = LaneKey(pair: pair, side: 1 - side)
      guard let region = unsafe filled[key] else { return }
      let lane = unsafe lane(key)
      let (returned, taken) = unsafe (lane.returned, lane.taken)
      let open = taken &- returned
      if let ring = unsafe ring, unsafe open <= lane.slotCount {
        for index in unsafe 0..<min(ring.slotCount, lane.slotCount) {
          guard let origin = unsafe lane.origin(of: index), origin &- returned < open else {
            continue
          }
          let buffer = unsafe ring.place(index).loadBufferIndex()
          // A killed process may have begun to give it back.
          if unsafe lane.cell(origin).buffer == buffer { _ = region.ownership.takeBack(buffer) }
          region.releaseBuffer(buffer)
        }
        for step in 0..<open { unsafe lane.store(SlotWord(rawValue: 0), at: returned &+ step) }
      }
      // A killed process may have begun to show packets.
      let left = unsafe lane.sent &- taken
      if unsafe left <= lane.slotCount {
        for step in 0..<left { _ = unsafe region.ownership.lend(lane.cell(taken &+ step).buffer) }
      }
      unsafe holds[key] = nil
      unsafe lane.close()
      unsafe abandoned.insert(key)
      freeAbandoned()
    }
  }

  /// Gives the cells of a lane buffers, if rings are bound at both of its ends.
  private func fill(_ key: LaneKey) {
    guard unsafe filled[key] == nil, let sender = unsafe ends[key.side]?.senders[key.pair],
      let receiver = unsafe ends[1 - key.side]?.receivers[key.pair]
    else { return }
    let region = unsafe receiver.region
    // Ports without a short cut come first.
    guard unsafe sender.region === region, region.freeBufferCount >= 2 * layout.slots,
      let buffers = try? region.allocateBuffers(layout.slots)
    else { return }
    let lane = unsafe lane(key)
    unsafe lane.empty()
    for buffer in buffers { _ = region.ownership.lend(buffer) }
    unsafe lane.fill(buffers)
    unsafe filled[key] = region
  }

  /// Frees the buffers of lanes without a receive ring, as far as no sender writes to them any more.
  ///
  /// Where a process has stopped in the middle of a sync, they stay until that sync is over, or until the region is not
  /// used at all.
  private func freeAbandoned() {
    for key in unsafe abandoned {
      guard let region = unsafe filled[key] else { continue }
      if let sender = unsafe ends[key.side]?.senders[key.pair],
        unsafe !Self.waits(Self.closeTime, until: Self.isQuiet(sender.kring))
      {
        continue
      }
      let lane = unsafe lane(key)
      for position in unsafe 0..<lane.slotCount {
        let buffer = unsafe lane.cell(position).buffer
        if region.ownership.takeBack(buffer) { region.releaseBuffer(buffer) }
      }
      unsafe lane.empty()
      unsafe lane.mode = .kernel
      unsafe filled[key] = nil
      unsafe abandoned.remove(key)
    }
  }
}
