internal import Synchronization

/// A receive ring that a sender is about to fill.
@unsafe
struct ReceiveTarget {
  let target: UnsafePointer<Destination>
  let kring: KRing
  let index: Int
  let leases: LeaseTable
  /// The ring object in the port's region.
  let ring: UnsafeMutableRawPointer

  /// The limit on the attempts to reserve slots.
  ///
  /// An attempt fails when another sender has reserved slots meanwhile, or when a process
  /// overwrites the ring's words. The limit keeps such a process from holding a sender here for
  /// long. After the last attempt, the sender handles the packets as if the ring had no room.
  static var triesMax: Int { 64 }

  /// Nil when no process has the ring open, or when the stored place of the ring is out of range.
  ///
  /// - Parameters:
  ///   - target: The port.
  ///   - ring: The number of the sender's ring; the receiver may have fewer rings.
  @inline(__always)
  init?(_ target: UnsafePointer<Destination>, ring: Int) {
    let rings = unsafe Int(target.pointee.receiveRings)
    let index = ring < rings ? ring : ring % rings
    let kring = unsafe target.pointee.kring(index)
    guard unsafe kring.isOpen,
      let offset = unsafe kring.openRingOffset(upTo: target.pointee.lastRingPlace)
    else { return nil }
    unsafe self.target = target
    unsafe self.kring = kring
    unsafe self.index = index
    unsafe leases = target.pointee.leases(index)
    unsafe self.ring = target.pointee.region + offset
  }

  /// The header and the longest frame that the receiver wants.
  @inline(__always)
  var shape: FrameShape { unsafe kring.frameShape }

  /// The ring as mapped in this process.
  @inline(__always)
  var view: Ring {
    unsafe Ring(
      base: ring, buffers: target.pointee.buffers, slotCount: target.pointee.slotCount,
      bufferCount: target.pointee.bufferCount, bufferSize: target.pointee.bufferSize)
  }

  /// Counts the slots that senders may fill.
  ///
  /// - Parameter known: The reservation at which the next lease begins.
  /// - Returns: The number of free slots; -1 when the ring's words are out of range.
  @inline(__always)
  func free(after known: Reservation) -> Int {
    let count = unsafe target.pointee.slotCount
    let released = unsafe kring.acquirePosition()
    guard known.next < count, released < count else { return -1 }
    let held = known.next >= released ? known.next - released : known.next + count - released
    return Int(count - 1 - held)
  }

  /// Counts packets that found no room.
  @inline(never)
  func refuse(_ packets: UInt64) {
    unsafe kring.countRefused(isHeldUp ? .busy : .full, packets)
  }

  /// Whether the ring's words are in range. If they are not, senders do not wait for room.
  var isSound: Bool {
    let (next, released) = unsafe (kring.reservation.next, kring.acquirePosition())
    return unsafe next < target.pointee.slotCount && released < target.pointee.slotCount
  }

  /// Whether a sender has reserved, but not yet finished, the slot that the receiver waits for.
  private var isHeldUp: Bool {
    let next = unsafe kring.reservation.next
    let awaited = unsafe kring.arriving
    guard unsafe awaited.next < target.pointee.slotCount, awaited.next != next else { return false }
    return unsafe leases.lastSequence(at: awaited.next) != awaited.sequence
  }

  /// Hands a filled lease to the receiver.
  ///
  /// Issues a full fence: the sender must not read the wait word before the lease is visible.
  @inline(__always)
  func finish(_ lease: Lease, packets: UInt64, bytes: UInt64) {
    unsafe leases.finish(lease, packets: packets, bytes: bytes)
  }
}
