internal import NetmapCore

extension ReceiveRing {
  /// Takes the next packet without looking at it, and has the port's next receive sync pass it on: a packet from the
  /// wire to the host, a packet from the host to the wire (netmap's transparent mode, `NS_FORWARD`).
  ///
  /// The port must hold host rings (`netmap:eth0*`). Packets from the wire need its first host transmit ring; packets
  /// from the first host ring need all transmit rings of the interface. Elsewhere the packet is discarded. A packet that
  /// finds no room in the transmit ring is dropped, and counted in this ring as ``DropReason/ringFull``.
  ///
  /// - Returns: False when the ring holds no complete packet.
  @discardableResult
  public mutating func passNextOn() -> Bool {
    guard position != end else { return false }
    let first = position
    var index = first
    while unsafe ring.loadWord(index).flags.contains(.moreFragments) {
      index = unsafe ring.next(index)
      guard index != end else { return false }
    }
    unsafe ring.forwardsReleased = true
    let flags = unsafe ring.loadWord(first).flags
    unsafe ring.place(first).store(flags: flags.union(.forward))
    unsafe move(to: ring.next(index))
    return true
  }

  /// Takes the packets in the ring, and has the port's next receive sync pass on those that `accepts` chooses, as
  /// ``passNextOn()`` does. The others are discarded.
  ///
  /// ```swift
  /// ring.passOn { packet in packet.length < 1000 }
  /// try port.sync(.receive)
  /// ```
  ///
  /// A packet of several slots whose last fragment has not arrived stays in the ring.
  ///
  /// - Parameter accepts: Called once with each packet, in order. A packet at which it throws stays in the ring.
  /// - Returns: The number of packets to pass on.
  /// - Throws: What `accepts` throws.
  @discardableResult
  public mutating func passOn<E>(
    where accepts: (borrowing Packet) throws(E) -> Bool
  ) throws(E) -> Int {
    var count = 0
    while true {
      var isAccepted = false
      let discarded = try take(upTo: 1) { (packet) throws(E) in
        isAccepted = try accepts(packet)
        return !isAccepted
      }
      if isAccepted, passNextOn() {
        count += 1
      } else if isAccepted {
        // A packet as long as the ring, whose end will never arrive.
        take(upTo: 1) { _ in true }
      } else if discarded == 0 {
        return count
      }
    }
  }
}
