/// The per-open state of a binding, stored in the sync segment of its port.
///
/// It lies in shared memory because the process that syncs the binding is often not the process that registered
/// it.
package struct BindingRecord: Hashable, Sendable {
  /// The end of the port: 0, or 1 for the slave end of a pipe.
  package var end: Int
  /// Offset of the binding's `netmap_if` in the region.
  package var interfaceOffset: Int
  package var ranges: RingRanges
  package var flags: BindingFlags
  package var extensions: PortExtensions
}

extension BindingRecord {
  /// A copy that keeps ring `ring` of each direction; a direction without that ring becomes empty.
  func only(_ ring: Int) -> BindingRecord {
    func range(_ direction: Direction) -> Range<Int> {
      ranges[direction].contains(ring) ? ring..<ring + 1 : 0..<0
    }
    var result = self
    result.ranges.transmit = range(.transmit)
    result.ranges.receive = range(.receive)
    return result
  }

  /// The position of a ring among the binding's rings, transmit rings first.
  func place(_ direction: Direction, _ ring: Int) -> Int {
    let before = direction == .transmit ? 0 : ranges.transmit.count
    return before + ring - ranges[direction].lowerBound
  }
}

extension SyncSegment {
  /// Writes the state of binding `index`.
  package func store(_ record: BindingRecord, at index: Int) {
    let base = Self.offset(ofBinding: index)
    store(base + 4, UInt32(record.end))
    store(base + 8, UInt64(record.interfaceOffset))
    store(base + 16, UInt32(record.ranges.transmit.lowerBound))
    store(base + 20, UInt32(record.ranges.transmit.upperBound))
    store(base + 24, UInt32(record.ranges.receive.lowerBound))
    store(base + 28, UInt32(record.ranges.receive.upperBound))
    store(base + 32, record.flags.rawValue)
    store(base + 40, record.extensions.rawValue)
    store(base, UInt32(1))
  }

  /// Marks binding `index` as free.
  package func clearBinding(at index: Int) {
    store(Self.offset(ofBinding: index), UInt32(0))
  }

  /// The state of binding `index`; nil when the record is free or does not fit the segment.
  package func binding(at index: Int) -> BindingRecord? {
    guard (0..<EngineLimits.bindingsPerPort).contains(index) else { return nil }
    let base = Self.offset(ofBinding: index)
    guard load(base, as: UInt32.self) == 1 else { return nil }
    func number(_ offset: Int) -> Int { Int(load(base + offset, as: UInt32.self)) }
    let end = number(4)
    guard end < endCount else { return nil }
    let (firstTransmit, endTransmit) = (number(16), number(20))
    let (firstReceive, endReceive) = (number(24), number(28))
    guard firstTransmit <= endTransmit, endTransmit <= ringCount(end: end, .transmit),
      firstReceive <= endReceive, endReceive <= ringCount(end: end, .receive)
    else { return nil }
    var ranges = RingRanges.none
    ranges.transmit = firstTransmit..<endTransmit
    ranges.receive = firstReceive..<endReceive
    return BindingRecord(
      end: end, interfaceOffset: Int(truncatingIfNeeded: load(base + 8, as: UInt64.self)),
      ranges: ranges, flags: BindingFlags(rawValue: load(base + 32, as: UInt64.self)),
      extensions: PortExtensions(rawValue: load(base + 40, as: UInt32.self)))
  }

  static func offset(ofBinding index: Int) -> Int {
    SyncSegmentLayout.bindings + index * SyncSegmentLayout.bindingByteCount
  }

  /// Offset of the binding's ``Bell`` in its record.
  ///
  /// The bell outlives the binding, because another process may still ring it.
  static var bellOffset: Int { 48 }
}

extension RingRanges {
  /// No rings at all.
  package static let none = RingRanges(transmit: 0..<0, receive: 0..<0)

  private init(transmit: Range<Int>, receive: Range<Int>) {
    self.transmit = transmit
    self.receive = receive
  }
}
