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
}
