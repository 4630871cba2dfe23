internal import CLinux
internal import Glibc
internal import NetmapCore
internal import NetmapLinux
internal import Synchronization

/// The shared memory between the two ends of a veth, and the decision which of its lanes are joined.
///
/// A lane is joined while a ring at each of its ends is bound and nothing stands between the two interfaces
/// (``obstacle()``). ``reconsider()`` runs after every change that the kernel reports, and withdraws or joins.
///
/// The calls about rings come under the engine's lock, the others from any thread.
final class ShortCut: Sendable {
  let layout: ShortCutLayout
  let memory: SharedMemory

  /// A bound transmit ring.
  @unsafe
  private struct Sender {
    let kring: KRing
    let ring: XDPTransmit
    let region: Region
  }

  /// A bound receive ring.
  @unsafe
  private struct Receiver {
    let kring: KRing
    let ring: XDPReceive
    let region: Region
  }

  @safe
  private struct End {
    let veth: VethEnd
    var senders: [Int: Sender] = unsafe [:]
    var receivers: [Int: Receiver] = unsafe [:]
  }

  private struct LaneKey: Hashable {
    let pair: Int
    /// The end that sends.
    let side: Int
  }

  private let lock = Mutex<Void>(())
  /// Guarded by `lock`, like what follows.
  private nonisolated(unsafe) var ends: [End?] = [nil, nil]
  /// The lanes whose cells have buffers, and the region that the buffers are of.
  private nonisolated(unsafe) var filled: [LaneKey: Region] = [:]
  /// Those of them whose receive ring is gone, and whose sender may still be writing to a buffer.
  private nonisolated(unsafe) var abandoned: Set<LaneKey> = []

  /// How long a join waits for the sender, and for the kernel to deliver what it has, microseconds. The sender keeps its
  /// packets meanwhile.
  private static let joinTime = 50_000
  /// How long a close waits for the sync of the sender that is under way, microseconds.
  private static let closeTime = 2_000

  init(_ layout: ShortCutLayout, named name: String) throws(NetmapError) {
    self.layout = layout
    memory = try SharedMemory(creating: "netmap-veth-\(name)", byteCount: layout.byteCount)
  }

  private func lane(_ key: LaneKey) -> ShortCutLane {
    unsafe layout.lane(key.pair, from: key.side, memory.base)
  }

  private var keys: [LaneKey] {
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

  /// A ring of an end is about to be unbound.
  func stop(_ direction: Direction, _ pair: Int, side: Int) {
    lock.withLock { _ in
      let key = LaneKey(pair: pair, side: direction == .transmit ? side : 1 - side)
      withdraw(key)
      if direction == .transmit {
        freeAbandoned()
        unsafe ends[side]?.senders[pair] = nil
      } else {
        unsafe ends[side]?.receivers[pair] = nil
      }
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

  // MARK: - Joining and withdrawing

  /// Withdraws or joins what the present state of the two interfaces asks for.
  func reconsider() { lock.withLock { _ in decide() } }

  /// The lanes that are joined now.
  var joinedCount: Int {
    lock.withLock { _ in keys.count { unsafe lane($0).mode == .joined } }
  }

  private func decide() {
    guard unsafe ends[0] != nil && ends[1] != nil else { return }
    let frameLimit: UInt32
    do throws(NetmapError) {
      guard let mtu = try mtuWithoutObstacle() else { return withdrawAll() }
      // Ethernet header and one VLAN tag, as in the kernel's own check (`is_skb_forwardable`).
      frameLimit = mtu &+ 18
    } catch {
      // An interface has disappeared, or nobody can tell any more what stands between the two.
      return withdrawAll()
    }
    for key in keys { join(key, frameLimit) }
  }

  /// The MTU of both ends; nil when the kernel would do something else with a packet than hand it to the other end as it
  /// is.
  private func mtuWithoutObstacle() throws(NetmapError) -> UInt32? {
    guard let one = unsafe ends[0], let other = unsafe ends[1],
      try one.veth.isPeer(of: other.veth)
    else { return nil }
    let states = (try one.veth.state(), try other.veth.state())
    guard states.0.isRunning, states.1.isRunning, states.0.mtu == states.1.mtu else { return nil }
    for (end, state) in [(one, states.0), (other, states.1)] {
      // A receive ring of ours means that the program is ours.
      if state.hasProgram, unsafe end.receivers.isEmpty { return nil }
      if try end.veth.foreignDiscipline() != nil { return nil }
    }
    return states.0.mtu
  }

  private func join(_ key: LaneKey, _ frameLimit: UInt32) {
    let lane = unsafe lane(key)
    guard unsafe lane.mode == .kernel, unsafe filled[key] != nil && !abandoned.contains(key),
      let sender = unsafe ends[key.side]?.senders[key.pair],
      let receiver = unsafe ends[1 - key.side]?.receivers[key.pair],
      unsafe receiver.kring.offsetMask == 0
    else { return }
    // What the sender has given to the kernel must arrive first.
    unsafe lane.mode = .held
    let isDelivered =
      unsafe Self.waits(Self.joinTime, until: Self.isQuiet(sender.kring))
      && Self.waits(Self.joinTime, until: { unsafe sender.ring.drain() }) && lane.taken == lane.sent
      && Self.passGracePeriod()
    guard isDelivered else {
      unsafe lane.mode = .kernel
      return
    }
    unsafe lane.barrier = receiver.ring.writtenFrames
    unsafe lane.frameLimit = frameLimit
    unsafe lane.mode = .joined
  }

  private func withdraw(_ key: LaneKey) {
    let lane = unsafe lane(key)
    if unsafe lane.mode == .joined || lane.mode == .held { unsafe lane.mode = .kernel }
  }

  private func withdrawAll() { keys.forEach { withdraw($0) } }

  /// A condition that holds once no sync of a ring is under way that was under way at the time of this call.
  private static func isQuiet(_ kring: KRing) -> () -> Bool {
    let syncs = unsafe kring.syncCount
    return { unsafe kring.lockHolder == 0 || kring.syncCount != syncs }
  }

  private static func waits(_ microseconds: Int, until condition: () -> Bool) -> Bool {
    let end = monotonicNanoseconds() &+ UInt64(microseconds) * 1000
    while !condition() {
      guard monotonicNanoseconds() < end else { return false }
      usleep(50)
    }
    return true
  }

  /// Waits until every processor that was receiving packets has handed them to their sockets.
  ///
  /// The kernel completes a sent packet when it takes it from the veth's queue, and shows it to the receiver at the end of
  /// the same run of NAPI. Such a run is a read-side critical section of RCU, and membarrier(2) waits for those.
  ///
  /// - Returns: False where the kernel has no such call.
  private static func passGracePeriod() -> Bool { clinux_membarrier(CLINUX_MEMBARRIER_GLOBAL) == 0 }
}
