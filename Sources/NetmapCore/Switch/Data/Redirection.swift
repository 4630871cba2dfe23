/// The origin of a packet in a module host's ring, which the sender stores in `ptr` of each slot.
struct PacketOrigin: Hashable {
  var port: UInt32
  var ring: Int
  /// Bytes of virtio-net header before each frame.
  var headerLength: UInt8

  private static let mark: UInt64 = 0x6d6f_6475 << 32

  init(port: UInt32, ring: Int, headerLength: UInt8) {
    self.port = port
    self.ring = ring
    self.headerLength = headerLength
  }

  /// Nil when no sender wrote the slot, or when another process has overwritten it.
  @inline(__always)
  init?(_ pointer: UInt64) {
    guard pointer & (0xffff_ffff << 32) == Self.mark, pointer & 0xff < SwitchLimits.ports else {
      return nil
    }
    port = UInt32(truncatingIfNeeded: pointer & 0xff)
    ring = Int(pointer >> 8 & 15)
    headerLength = UInt8(pointer >> 12 & 15)
    guard headerLength == 0 || headerLength == 10 || headerLength == 12 else { return nil }
  }

  var pointer: UInt64 {
    Self.mark | UInt64(port & 0xff) | UInt64(ring & 15) << 8 | UInt64(headerLength & 15) << 12
  }
}

extension Forwarder {
  /// Puts every packet of a batch on the list of the module host.
  @inline(never)
  mutating func redirect(_ count: Int, to host: Int) {
    unsafe isRedirecting = true
    var index = 0
    while index < count {
      let packet = index
      let fragments = unsafe frames[packet].fragments
      index &+= Int(max(fragments, 1))
      guard unsafe !frames[packet].isTooShort else {
        unsafe dropShort(packet)
        continue
      }
      unsafe append(packet, fragments, port: UInt32(host), ring: 0)
    }
  }

  /// Stores the origin of the packets in the slots of a lease, before the host sees them.
  @inline(never)
  func stampOrigin(_ lease: Lease, in place: ReceiveTarget) {
    let ring = unsafe place.view
    let origin = unsafe PacketOrigin(
      port: port, ring: ringIndex, headerLength: headerLength
    ).pointer
    var slot = lease.start
    for _ in 0..<lease.slots {
      unsafe ring.place(slot).store(pointer: origin)
      slot = unsafe ring.next(slot)
    }
  }
}
