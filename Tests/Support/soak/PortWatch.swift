import Glibc
import NetmapClient
import NetmapCore

/// The memory of a port that a process of the soak has open, as the soak itself has it mapped.
///
/// The soak opens the port too, and closes it at once, but keeps the memory. So the port ends with its process, and its
/// rings can be read afterwards.
@safe
final class PortWatch {
  private let connection: DaemonConnection
  private let registration: Registration

  /// - Throws: ``SoakError`` when the port cannot be opened.
  init(_ connection: DaemonConnection, _ name: String) throws {
    self.connection = connection
    do throws(NetmapError) {
      let opened = try connection.register(RegisterRequest(name: try PortName(name)))
      registration = opened.registration
      opened.token.close()
    } catch {
      throw SoakError("\(name): \(error)")
    }
  }

  /// Lets netmapd have the memory back.
  func forget() { connection.forget(registration) }

  var end: Int { registration.name.pipe?.role == .slave ? 1 : 0 }

  private func kring(_ direction: Direction, end: Int? = nil) -> KRing {
    guard let kring = unsafe registration.segment.kring(end: end ?? self.end, direction, 0) else {
      preconditionFailure("the port has no ring")
    }
    return unsafe kring
  }

  func counters(_ direction: Direction) -> RingCounters { unsafe kring(direction).counters }

  /// Packets for the port that did not reach a ring of it.
  var unreached: DropCounters { registration.place?.unreached ?? DropCounters() }

  /// Whether netmapd has closed the port, and has taken it off its switch: until then senders count packets for it.
  var isClosed: Bool {
    if let place = registration.place,
      unsafe place.segment.view.generation(of: place.index) == place.generation
    {
      return false
    }
    return unsafe !kring(.receive).state.contains(.on)
  }

  /// The holder of the lock of the transmit ring, and the number of its syncs.
  var sending: (holder: UInt64, syncs: UInt64) {
    let kring = unsafe kring(.transmit)
    return unsafe (kring.lockHolder, kring.counters.syncs)
  }

  /// Whether a receive ring of a switch port has no packets left, and no sender is filling it.
  var isEmpty: Bool {
    let kring = unsafe kring(.receive)
    let cursors = unsafe kring.cursors
    let slots = UInt32(registration.geometry.receiveSlots)
    return unsafe cursors.hwcur == cursors.hwtail
      && registration.segment.endOfFinishedLeases(ofRing: 0, slots: slots) == cursors.hwtail
      && kring.acquireReservation().next == cursors.hwtail
  }

  /// Whether the receiving end of a pipe has taken all packets.
  var isPipeEmpty: Bool {
    unsafe kring(.receive, end: 1).cursors.hwcur == kring(.transmit, end: 0).cursors.position
  }

  /// Calls `body` with the bytes of each packet in the receive ring that the application has not returned.
  func forEachUnread(_ body: (RawSpan) throws -> Void) throws {
    let slots = UInt32(registration.geometry.receiveSlots)
    let first = unsafe kring(.receive).cursors.hwcur
    let end = registration.segment.endOfFinishedLeases(ofRing: 0, slots: slots)
    try unsafe visit(kring(.receive), from: first, upTo: end ?? first, body)
  }

  /// Calls `body` with the bytes of each packet that the sending end of a pipe has handed over, and that the receiving end
  /// has not returned.
  func forEachInPipe(_ body: (RawSpan) throws -> Void) throws {
    let (sender, receiver) = unsafe (kring(.transmit, end: 0), kring(.receive, end: 1))
    try unsafe visit(
      receiver, from: receiver.cursors.hwcur, upTo: sender.cursors.position, body)
  }

  private func visit(
    _ kring: KRing, from first: UInt32, upTo end: UInt32, _ body: (RawSpan) throws -> Void
  ) throws {
    let description = unsafe kring.description
    let (count, region) = (description.slotCount, registration.region)
    guard count > 0, first < count, end < count,
      description.ringOffset <= UInt64(region.byteCount - 256 - 16 * Int(count))
    else { throw SoakFailure("the ring of a dead process is damaged") }
    let buffers = registration.segment.buffers
    let ring = unsafe Ring(
      base: region.base + Int(description.ringOffset), buffers: region.base + buffers.base,
      slotCount: count, bufferCount: buffers.count, bufferSize: buffers.size)
    var index = first
    while index != end {
      let slot = unsafe ring.load(index)
      index = index + 1 == count ? 0 : index + 1
      guard slot.length > 0 else { continue }
      guard slot.bufferIndex < buffers.count, UInt32(slot.length) <= buffers.size else {
        throw SoakFailure("a slot of a dead process is damaged")
      }
      let bytes = unsafe UnsafeRawBufferPointer(
        start: ring.buffer(slot.bufferIndex), count: Int(slot.length))
      try unsafe body(bytes.bytes)
    }
  }
}
