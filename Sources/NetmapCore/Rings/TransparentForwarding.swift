internal import CNetmap

extension Ring {
  /// Whether the ring honours `NS_FORWARD`: its bit `NR_FORWARD`, which is the application's.
  package var forwardsReleased: Bool {
    get { unsafe flags & UInt32(NR_FORWARD) != 0 }
    nonmutating set {
      let rest = unsafe flags & ~UInt32(NR_FORWARD)
      unsafe flags = newValue ? rest | UInt32(NR_FORWARD) : rest
    }
  }
}

/// Where a receive ring passes on the packets that its application releases with `NS_FORWARD`.
///
/// Plain data, like ``RingParts``.
@unsafe
struct ForwardingTargets {
  /// Transmit rings of the same binding: the first one with room gets the packet.
  let rings: UnsafePointer<RingParts>
  let count: Int
  /// Whether all released packets are passed on, without `NR_FORWARD` and `NS_FORWARD` (tunable `fwd`).
  let forwardsAlways: Bool
}

private let ethernetHeaderLength = 14

// Transparent mode (netmap(4), `NR_FORWARD` and `NS_FORWARD`): an application that only inspects packets leaves most of
// them in the ring, with a flag, and the next receive sync passes them on. Packets from the wire go to the host, packets
// from the host to the wire.
//
// The sync copies the packets into slots that the application has free in a transmit ring, and sends them. Upstream
// exchanges the buffers on the way to the wire instead, and marks both slots with NS_BUF_CHANGED. A copy needs no such
// mark, and leaves nothing to repair when the process is killed.
extension MappedRing {
  /// Passes on the packets with `NS_FORWARD` among those that the application releases with this sync.
  ///
  /// A packet of several slots is passed on as a whole if its first slot has the flag. One that finds no room, or is
  /// shorter than an Ethernet header, is dropped and counted in this ring.
  ///
  /// The caller holds this ring's lock.
  ///
  /// - Parameter head: The checked head of this ring.
  @inline(never)
  func forwardReleased(upTo head: UInt32) {
    guard let forwarding = unsafe parts.pointee.forwarding,
      unsafe forwarding.pointee.forwardsAlways || ring.forwardsReleased,
      var index = unsafe kring.hwcur(below: ring.slotCount)
    else { return }
    let targets = unsafe forwarding.pointee
    var isQueued = false
    while index != head {
      let first = index
      var flags = unsafe ring.loadWord(index).flags
      let isForwarded = unsafe targets.forwardsAlways || flags.contains(.forward)
      var count: UInt32 = 1
      index = unsafe ring.next(index)
      while flags.contains(.moreFragments), index != head {
        flags = unsafe ring.loadWord(index).flags
        index = unsafe ring.next(index)
        count &+= 1
      }
      guard isForwarded else { continue }
      unsafe queue(first, count, on: targets)
      isQueued = true
    }
    guard isQueued else { return }
    for target in unsafe 0..<targets.count {
      _ = unsafe MappedRing(targets.rings + target).synchronizeOtherTransmit(SyncFlags(rawValue: 0))
    }
  }

  /// Copies a packet to the first target with room.
  private func queue(_ first: UInt32, _ count: UInt32, on targets: ForwardingTargets) {
    // Twice: the sync after the first round returns the slots of packets that have been sent.
    for round in 0..<2 {
      for index in unsafe 0..<targets.count {
        let target = unsafe MappedRing(targets.rings + index)
        if round == 1 { _ = unsafe target.synchronizeOtherTransmit(.forceReclaim) }
        // Another thread may sync the target, or queue packets of another ring on it.
        // Its monitors get the packet when it is sent.
        guard let free = unsafe target.kring.tryLockEither(target.tag) else { continue }
        let isDone = unsafe copy(first, count, to: target)
        unsafe target.kring.unlock(leaving: free)
        if isDone { return }
      }
    }
    unsafe kring.countDrop(.ringFull)
  }

  /// Copies a packet into the free slots of a target, whose lock the caller holds.
  ///
  /// - Returns: False when the target has no room. True also for a packet that was dropped.
  private func copy(_ first: UInt32, _ count: UInt32, to target: MappedRing) -> Bool {
    // The application can write both cursors at any time. They are loaded once, and checked.
    guard let own = unsafe target.ring.ownSlots, own.count >= count else { return false }
    let rule = unsafe ring.rule
    let targetRule = unsafe target.ring.rule
    var (source, place) = (first, own.first)
    for number in 0..<count {
      let slot = unsafe ring.load(source)
      let start = unsafe kring.offset(of: slot.pointer, rule)
      let length = rule.truncated(UInt32(slot.length), at: start)
      let free = unsafe target.ring.load(place)
      let offset = unsafe target.kring.offset(of: free.pointer, targetRule)
      if count == 1, length < ethernetHeaderLength {
        unsafe kring.countDrop(.tooShort)
        return true
      }
      guard targetRule.fits(UInt32(length), at: offset) else {
        unsafe kring.countDrop(.badLength)
        return true
      }
      unsafe (target.ring.buffer(free.bufferIndex) + offset).copyMemory(
        from: ring.buffer(slot.bufferIndex) + start, byteCount: length)
      unsafe target.ring.place(place).store(
        length: UInt16(truncatingIfNeeded: length),
        flags: number &+ 1 == count ? SlotFlags(rawValue: 0) : .moreFragments)
      unsafe ring.place(source).store(
        flags: SlotFlags(rawValue: slot.flags.rawValue & ~SlotFlags.forward.rawValue))
      source = unsafe ring.next(source)
      place = unsafe target.ring.next(place)
    }
    unsafe target.ring.giveAway(upTo: place)
    return true
  }
}

extension BindingRecord {
  /// Which transmit rings get the packets that a receive ring passes on, counted from the binding's first one; nil when
  /// the ring passes none on.
  ///
  /// Those from the wire go to the first host ring of the binding. Those from the first host ring go to the wire, if the
  /// binding holds all transmit rings of the interface.
  ///
  /// - Parameters:
  ///   - index: The receive ring.
  ///   - geometry: The rings of the port.
  /// - Returns: The transmit rings, or nil.
  func forwardingTargets(ofReceiveRing index: Int, _ geometry: PortGeometry) -> Range<Int>? {
    let (transmit, hardware) = (ranges.transmit, geometry.transmitRings)
    if index < geometry.receiveRings {
      guard transmit.contains(hardware) else { return nil }
      let first = hardware - transmit.lowerBound
      return first..<first + 1
    }
    guard index == geometry.receiveRings, hardware > 0, transmit.lowerBound == 0,
      transmit.upperBound >= hardware
    else { return nil }
    return 0..<hardware
  }
}
