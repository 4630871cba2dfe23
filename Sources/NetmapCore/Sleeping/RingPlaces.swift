/// The rings of a binding in terms of ``RingName``: one segment, and a range of positions for each direction.
package struct RingPlaces: Hashable, Sendable {
  package let segment: UInt32
  package let transmit: Range<UInt32>
  package let receive: Range<UInt32>
}

// For sets of ports of which a wait looks only at those that can be ready.
extension MappedPort {
  /// Where doorbells say that the port's rings have made progress.
  ///
  /// A caller keeps the result. If another process on the port has changed the numbers in shared memory, the names do not
  /// match, and a sleeper looks at the port when its sleep has lasted for ``Sleeper/longestSleep``.
  package var ringPlaces: RingPlaces {
    let transmit = (0..<transmitCount).map { unsafe self.transmit($0).waitWord.name }
    let receive = (0..<receiveCount).map { unsafe self.receive($0).waitWord.name }
    return RingPlaces(
      segment: transmit.first?.segment ?? receive.first?.segment ?? 0,
      transmit: Self.span(transmit), receive: Self.span(receive))
  }

  private static func span(_ names: [RingName]) -> Range<UInt32> {
    let positions = names.map(\.position)
    guard let first = positions.min(), let last = positions.max() else { return 0..<0 }
    return first..<(last == .max ? last : last + 1)
  }

  /// Whether a transmit ring holds slots that a wait would send.
  package var hasUnsent: Bool {
    guard !record.flags.contains(.noTransmitPoll) else { return false }
    for index in 0..<transmitCount {
      let ring = unsafe transmit(index)
      if unsafe !ring.kring.hasTaken(upTo: ring.ring.head) { return true }
    }
    return false
  }

  /// Sums up the state of the rings that a wait asks for.
  ///
  /// - Parameter wanted: The conditions of the wait.
  /// - Returns: A number that changes when a ring makes progress.
  package func progress(_ wanted: Readiness) -> UInt64 {
    var result: UInt64 = 1
    if wanted.contains(.transmit) {
      for index in 0..<transmitCount {
        result = result &* 65_599 &+ UInt64(unsafe transmit(index).kring.shownTail)
      }
    }
    if wanted.contains(.receive) {
      for index in 0..<receiveCount {
        result = result &* 65_599 &+ UInt64(unsafe receive(index).kring.shownTail)
      }
    }
    return result
  }
}
