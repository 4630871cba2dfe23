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
  /// The number of the region with the binding's rings.
  package var memoryID: UInt16
}

/// Offsets in a binding's record, in bytes. The engine writes the first line; the processes that have the port mapped
/// write the words of the second one (``BindingControl``), and the bell.
///
/// Any change of a number here requires a new ``SyncSegmentLayout/layoutVersion``.
enum BindingLayout {
  static let isUsed = 0
  static let end = 4
  static let interfaceOffset = 8
  /// The first transmit ring and the one after the last; then the same for receive rings.
  static let ranges = 16
  static let flags = 32
  static let extensions = 40
  static let memoryID = 44
  /// The ``Bell``. It outlives the binding, because another process may still ring it.
  static let bell = 48

  static let mode = 64
  static let stop = 68
  static let loopOwner = 72
}

extension BindingRecord {
  /// A copy that keeps one ring pair; a direction without a ring of that pair becomes empty.
  ///
  /// - Parameters:
  ///   - pair: The pair. Host pairs follow the hardware pairs (``PortGeometry/pair(_:_:)``).
  ///   - geometry: The rings of the port.
  /// - Returns: The copy.
  func only(_ pair: Int, of geometry: PortGeometry) -> BindingRecord {
    func range(_ direction: Direction) -> Range<Int> {
      let hardware = direction == .transmit ? geometry.transmitRings : geometry.receiveRings
      let isHost = pair >= geometry.hardwarePairs
      let ring = isHost ? hardware + pair - geometry.hardwarePairs : pair
      guard isHost || ring < hardware, ranges[direction].contains(ring) else { return 0..<0 }
      return ring..<ring + 1
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
    store(base + BindingLayout.end, UInt32(record.end))
    store(base + BindingLayout.interfaceOffset, UInt64(record.interfaceOffset))
    store(base + BindingLayout.ranges, UInt32(record.ranges.transmit.lowerBound))
    store(base + BindingLayout.ranges + 4, UInt32(record.ranges.transmit.upperBound))
    store(base + BindingLayout.ranges + 8, UInt32(record.ranges.receive.lowerBound))
    store(base + BindingLayout.ranges + 12, UInt32(record.ranges.receive.upperBound))
    store(base + BindingLayout.flags, record.flags.rawValue)
    store(base + BindingLayout.extensions, record.extensions.rawValue)
    store(base + BindingLayout.memoryID, UInt32(record.memoryID))
    unsafe control(ofBinding: index)?.clear()
    store(base + BindingLayout.isUsed, UInt32(1))
  }

  /// Marks binding `index` as free.
  package func clearBinding(at index: Int) {
    store(Self.offset(ofBinding: index), UInt32(0))
  }

  /// The state of binding `index`; nil when the record is free or does not fit the segment.
  package func binding(at index: Int) -> BindingRecord? {
    guard (0..<EngineLimits.bindingsPerPort).contains(index) else { return nil }
    let base = Self.offset(ofBinding: index)
    guard load(base + BindingLayout.isUsed, as: UInt32.self) == 1 else { return nil }
    func number(_ offset: Int) -> Int { Int(load(base + offset, as: UInt32.self)) }
    let end = number(BindingLayout.end)
    guard end < endCount else { return nil }
    let first = BindingLayout.ranges
    let (firstTransmit, endTransmit) = (number(first), number(first + 4))
    let (firstReceive, endReceive) = (number(first + 8), number(first + 12))
    guard firstTransmit <= endTransmit, endTransmit <= ringCount(end: end, .transmit),
      firstReceive <= endReceive, endReceive <= ringCount(end: end, .receive)
    else { return nil }
    var ranges = RingRanges.none
    ranges.transmit = firstTransmit..<endTransmit
    ranges.receive = firstReceive..<endReceive
    return BindingRecord(
      end: end,
      interfaceOffset: Int(
        truncatingIfNeeded: load(base + BindingLayout.interfaceOffset, as: UInt64.self)),
      ranges: ranges,
      flags: BindingFlags(rawValue: load(base + BindingLayout.flags, as: UInt64.self)),
      extensions: PortExtensions(rawValue: load(base + BindingLayout.extensions, as: UInt32.self)),
      memoryID: UInt16(truncatingIfNeeded: number(BindingLayout.memoryID)))
  }

  static func offset(ofBinding index: Int) -> Int {
    SyncSegmentLayout.bindings + index * SyncSegmentLayout.bindingByteCount
  }

  /// Offset of the binding's ``Bell`` in its record.
  static var bellOffset: Int { BindingLayout.bell }
}

extension RingRanges {
  /// No rings at all.
  package static let none = RingRanges(transmit: 0..<0, receive: 0..<0)

  private init(transmit: Range<Int>, receive: Range<Int>) {
    self.transmit = transmit
    self.receive = receive
  }
}
