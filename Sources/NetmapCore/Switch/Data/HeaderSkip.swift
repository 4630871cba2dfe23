// The lookup expects Ethernet frames. During the lookup, the first frame of a packet with a
// virtio-net header therefore begins behind that header.

/// How the first frame of a packet was changed for the lookup.
enum HeaderSkip: UInt8 {
  case none
  /// The frame begins behind the header.
  case shortened
  /// The header fills the frame, which was exchanged with the next frame.
  case swapped
  /// Nothing in the frame follows the header; the frame's length is in `next`.
  case emptied
}

extension Forwarder {
  /// Makes the first frame of each packet begin behind the header (`nm_vale_flush`).
  @inline(never)
  func skipHeaders(_ count: Int) {
    let header = unsafe UInt16(headerLength)
    var packet = 0
    while packet < count {
      let fragments = unsafe frames[packet].fragments
      let length = unsafe frames[packet].length
      if length > header {
        unsafe shift(packet, by: Int(header))
        unsafe frames[packet].skip = .shortened
      } else if length == header, fragments > 1 {
        unsafe swap(packet)
        unsafe frames[packet].skip = .swapped
      } else if length > 0 {
        unsafe frames[packet].next = length
        unsafe frames[packet].length = 0
        unsafe frames[packet].skip = .emptied
      }
      packet &+= Int(fragments)
    }
  }

  /// Undoes ``skipHeaders(_:)``.
  @inline(never)
  func restoreHeaders(_ count: Int) {
    let header = unsafe Int(headerLength)
    var packet = 0
    while packet < count {
      switch unsafe frames[packet].skip {
      case .none: break
      case .shortened: unsafe shift(packet, by: -header)
      case .swapped: unsafe swap(packet)
      case .emptied: unsafe frames[packet].length = frames[packet].next
      }
      unsafe packet &+= Int(frames[packet].fragments)
    }
  }

  private func shift(_ packet: Int, by bytes: Int) {
    unsafe frames[packet].bytes += bytes
    unsafe frames[packet].room = UInt32(truncatingIfNeeded: Int(frames[packet].room) &- bytes)
    unsafe frames[packet].length = UInt16(truncatingIfNeeded: Int(frames[packet].length) &- bytes)
  }

  /// Exchanges the memory of a packet's first two frames. The packet's other properties stay in its
  /// first frame.
  private func swap(_ packet: Int) {
    let (first, second) = unsafe (frames[packet], frames[packet &+ 1])
    unsafe frames[packet].bytes = second.bytes
    unsafe frames[packet].room = second.room
    unsafe frames[packet].length = second.length
    unsafe frames[packet &+ 1].bytes = first.bytes
    unsafe frames[packet &+ 1].room = first.room
    unsafe frames[packet &+ 1].length = first.length
  }
}

extension Forwarder {
  /// Counts a dropped packet, and notes the reason in its first frame.
  @inline(__always)
  func drop(_ packet: Int, _ reason: DropReason) {
    unsafe kring.countDrop(reason)
    unsafe frames[packet].fault = UInt8(truncatingIfNeeded: reason.rawValue &+ 1)
  }

  /// Drops a packet without Ethernet addresses: it is too short, or one of its slots is invalid.
  @inline(never)
  func dropShort(_ packet: Int) {
    let fault = unsafe frames[packet].fault
    unsafe drop(packet, DropReason(rawValue: Int(fault) - 1) ?? .tooShort)
  }
}
