internal import NetmapCore

extension NetmapPort {
  /// Queues a copy of one packet on any transmit ring that has room.
  ///
  /// A packet that is longer than a buffer takes several slots. The packet leaves at the next sync or
  /// wait. This method is for occasional packets; a program that sends many fills ``transmitRing(_:)``.
  ///
  /// - Parameter packet: At least 1 byte, and at most the bytes that the free slots of one ring
  ///   hold.
  /// - Returns: False when no ring has room for the whole packet; then nothing is queued.
  @discardableResult
  public func inject(_ packet: RawSpan) -> Bool {
    for attempt in 0..<transmitRingCount {
      let index = (nextInjectRing + attempt) % transmitRingCount
      var ring = transmitRing(index)
      // How many bytes of the packet go into each slot.
      var parts: [Int] = []
      var left = packet.byteCount
      repeat {
        guard parts.count < ring.space else { break }
        parts.append(min(left, ring.room(parts.count)))
        left -= parts[parts.count - 1]
      } while left > 0
      guard left == 0, !parts.isEmpty else { continue }
      var start = 0
      for (number, part) in parts.enumerated() {
        let isQueued = ring.append(
          packet.extracting(start..<start + part),
          flags: number + 1 < parts.count ? .moreFragments : [])
        // Only a peer that rewrites offsets in the meantime can cause this.
        guard isQueued else { return false }
        start += part
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
