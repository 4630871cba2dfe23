internal import NetmapCore

extension NetmapPort {
  /// Queues a copy of one packet on any transmit ring that has room.
  ///
  /// A packet that is longer than a buffer takes several slots. The packet leaves at the next sync or wait. This
  /// method is for occasional packets; a program that sends many fills ``transmitRing(_:)``.
  ///
  /// - Parameter packet: At least 1 byte.
  /// - Throws: ``NetmapError`` `EAGAIN` when no ring has room for the packet now, `EMSGSIZE` when the packet is
  ///   longer than an empty ring, `EINVAL` when the packet is empty or the port has no transmit ring. Then nothing is
  ///   queued.
  public func inject(_ packet: RawSpan) throws(NetmapError) {
    for attempt in 0..<transmitRingCount where packet.byteCount > 0 {
      let index = (nextInjectRing + attempt) % transmitRingCount
      var ring = transmitRing(index)
      guard ring.append(packet) else { continue }
      nextInjectRing = index
      return
    }
    throw refusal(of: packet.byteCount)
  }

  /// Queues a copy of one packet; see ``inject(_:)-(RawSpan)``.
  public func inject(_ packet: [UInt8]) throws(NetmapError) {
    try inject(unsafe packet.span.bytes)
  }

  @inline(never)
  private func refusal(of length: Int) -> NetmapError {
    guard length > 0, transmitRingCount > 0 else {
      return NetmapError(
        .invalidArgument, "inject", name,
        reason: length == 0 ? "the packet is empty" : "the port has no transmit ring",
        remedy: length == 0 ? "" : "open it without '/R'")
    }
    let most =
      (0..<transmitRingCount).map { (transmitRing($0).slotCount - 1) * bufferSize }.max() ?? 0
    guard length <= most else {
      return NetmapError(
        .messageTooLong, "inject", name,
        reason: "the packet has \(length) bytes, and a ring holds \(most)",
        remedy: "send smaller packets, or open the port with more slots")
    }
    return NetmapError(
      .tryAgain, "inject", name, reason: "no transmit ring has room for \(length) bytes",
      remedy: "call sync(.transmit), or wait(for: .transmit), and try again")
  }
}
