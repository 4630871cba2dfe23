internal import NetmapCore

extension Port {
  /// Queues a copy of one packet on any transmit ring that has room, as several slots if it is longer
  /// than a buffer. It leaves at the next sync or wait.
  ///
  /// For the occasional packet; a program that sends many fills ``transmitRing(_:)`` itself.
  ///
  /// - Parameter packet: 1 byte to as many as the free slots of one ring can hold.
  /// - Returns: False, and nothing is queued, when no ring has room for the whole packet.
  @discardableResult
  public func inject(_ packet: RawSpan) -> Bool {
    let size = bufferSize
    let slots = max(1, (packet.byteCount + size - 1) / size)
    for attempt in 0..<transmitRingCount {
      let index = (nextInjectRing + attempt) % transmitRingCount
      var ring = transmitRing(index)
      guard ring.space >= slots else { continue }
      for slot in 0..<slots {
        let start = slot * size
        let end = min(start + size, packet.byteCount)
        ring.append(
          packet.extracting(start..<end), flags: slot + 1 < slots ? .moreFragments : [])
      }
      nextInjectRing = index
      return true
    }
    return false
  }

  /// Queues a copy of one packet; see ``inject(_:)-(RawSpan)``.
  @discardableResult
  public func inject(_ packet: [UInt8]) -> Bool {
    unsafe inject(packet.span.bytes)
  }
}
