/// A stateless filter with ordered rules, of which the first one that matches a packet decides.
///
/// The filter forwards allowed packets as a learning bridge does. The bridge learns nothing from
/// denied packets.
@unsafe
struct PacketFilter {
  private let area: ModuleConfiguration

  init(_ area: ModuleConfiguration) {
    unsafe self.area = unsafe area
  }

  /// Writes the configuration, while the area is not in use.
  func store(_ list: FilterRules) {
    unsafe area.store(FilterLayout.count, UInt32(list.rules.count))
    unsafe area.store(FilterLayout.denies, list.denies ? 1 : 0)
    for (place, rule) in list.rules.enumerated() { unsafe area.store(rule, at: place) }
  }

  @inline(__always)
  func lookup(_ batch: borrowing SwitchBatch) {
    let area = unsafe area
    let count = unsafe min(Int(area.load(FilterLayout.count)), FilterLayout.ruleCountMax)
    let denies = unsafe area.load(FilterLayout.denies) != 0
    batch.route { packet in
      guard packet.hasAddresses,
        unsafe Self.allows(packet.flow, area, count, denies: denies)
      else { return .drop }
      packet.learn()
      return packet.learned
    }
  }

  private static func allows(
    _ flow: FlowHeaders, _ area: ModuleConfiguration, _ count: Int, denies: Bool
  ) -> Bool {
    for place in 0..<count {
      let rule = unsafe area.rule(place)
      if rule.matches(flow) { return !rule.denies }
    }
    return !denies
  }
}

/// The area's layout: the number of rules and the default as words, and the rules from byte
/// ``rules`` on.
enum FilterLayout {
  static let count = 0
  static let denies = 1
  static let rules = 64
  static let ruleCountMax =
    (SwitchLayout.configurationByteCount - rules) / MemoryLayout<FilterRule>.stride
}

/// A rule as stored in a switch's segment; any bits are a valid rule.
struct FilterRule: Hashable, Sendable {
  /// What a packet must match besides the addresses.
  struct Conditions: OptionSet, Hashable, Sendable {
    let rawValue: UInt8
    /// A bit and not a Boolean field, for which shared memory could hold an invalid value.
    static let denies = Conditions(rawValue: 1)
    static let family = Conditions(rawValue: 2)
    static let transport = Conditions(rawValue: 4)
    static let etherType = Conditions(rawValue: 8)
    static let sourcePorts = Conditions(rawValue: 16)
    static let destinationPorts = Conditions(rawValue: 32)
  }

  var conditions: Conditions = []
  /// The version of IP, 4 or 6.
  var family: UInt8 = 0
  var transport: UInt8 = 0
  private var spare: UInt8 = 0
  var etherType: UInt16 = 0
  private var spare2: UInt16 = 0
  var sourcePorts: PortRange = PortRange()
  var destinationPorts: PortRange = PortRange()
  var source = Prefix()
  var destination = Prefix()

  struct PortRange: Hashable, Sendable {
    var first: UInt16 = 0
    var last: UInt16 = .max

    @inline(__always)
    func contains(_ port: UInt16) -> Bool { first <= port && port <= last }
  }

  struct Prefix: Hashable, Sendable {
    var address = FlowAddress()
    var mask = FlowAddress()

    @inline(__always)
    func contains(_ other: FlowAddress) -> Bool {
      (other.high ^ address.high) & mask.high == 0 && (other.low ^ address.low) & mask.low == 0
    }
  }

  init() {}

  var denies: Bool { conditions.contains(.denies) }

  @inline(__always)
  func matches(_ flow: FlowHeaders) -> Bool {
    if conditions.contains(.etherType), flow.etherType != etherType { return false }
    if conditions.contains(.family) {
      guard flow.family.rawValue == family, source.contains(flow.source),
        destination.contains(flow.destination)
      else { return false }
    }
    if conditions.contains(.transport) {
      guard flow.family != .other, flow.protocolNumber == transport else { return false }
    }
    if conditions.contains(.sourcePorts) {
      guard flow.hasPorts, sourcePorts.contains(flow.sourcePort) else { return false }
    }
    if conditions.contains(.destinationPorts) {
      guard flow.hasPorts, destinationPorts.contains(flow.destinationPort) else { return false }
    }
    return true
  }
}
