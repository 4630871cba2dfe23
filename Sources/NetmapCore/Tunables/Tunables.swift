/// The values of netmap's tunables, each with where it comes from.
///
/// A value of type ``Tunables`` holds only values that netmap accepts. ``assignments`` is its serial form: with it,
/// another process makes the same value.
package struct Tunables: Hashable, Sendable {
  /// A value that was set.
  private struct Setting: Hashable {
    let value: Int
    let origin: String
  }

  private var settings: [Tunable: Setting] = [:]

  /// The defaults.
  package init() {}

  /// The value of a tunable.
  package subscript(_ tunable: Tunable) -> Int { given(tunable) ?? tunable.rule.standard }

  /// The value that somebody has set; nil where the default counts.
  package func given(_ tunable: Tunable) -> Int? { settings[tunable]?.value }

  /// Where the value of a tunable comes from: `default`, a file and line, an option, a variable, or a user.
  package func origin(of tunable: Tunable) -> String {
    settings[tunable]?.origin ?? Self.defaultOrigin
  }

  package static let defaultOrigin = "default"

  /// Sets a tunable.
  ///
  /// As in netmap, `admode` outside 0...2 becomes 0, a `bridge_batch` above 1024 becomes 1024, and one below 0
  /// means the same as 0. Other values out of range are refused; the kernel module takes them, and then
  /// refuses all binds with the same code.
  ///
  /// - Parameters:
  ///   - tunable: The tunable.
  ///   - value: The new value.
  ///   - origin: Where it comes from, for users.
  /// - Throws: ``NetmapError`` `EINVAL` for a value out of range, `EACCES` for a tunable that is read-only.
  package mutating func set(
    _ tunable: Tunable, to value: Int, by origin: String
  ) throws(NetmapError) {
    let rule = tunable.rule
    guard rule.effect != .readOnly else {
      throw NetmapError(
        .readOnly, "set", tunable.name, reason: "it shows what is in use, and cannot be set",
        remedy: "set \(tunable.name.replacingCurrent)")
    }
    var value = value
    switch tunable {
    case .adapterMode: if !rule.range.contains(value) { value = 0 }
    case .switchBatch: value = min(value, rule.standard)
    default: break
    }
    guard rule.range.contains(value) else {
      throw NetmapError(
        .invalidArgument, "set", tunable.name,
        reason: "\(value) is outside \(rule.range.lowerBound)...\(rule.range.upperBound)",
        remedy: "the default is \(rule.standard)")
    }
    guard !rule.isPowerOfTwo || value & (value - 1) == 0 else {
      throw NetmapError(
        .invalidArgument, "set", tunable.name, reason: "\(value) is not a power of two",
        remedy: "the default is \(rule.standard)")
    }
    settings[tunable] = Setting(value: value, origin: origin)
  }

  /// Sets the tunables for which other options and variables exist.
  ///
  /// - Parameters:
  ///   - counts: The values.
  ///   - origins: Where those of ``SharedRegionCounts/buffers``, `rings` and `interfaces` come from.
  /// - Throws: ``NetmapError`` as ``set(_:to:by:)``.
  package mutating func set(
    _ counts: SharedRegionCounts, by origins: (String, String, String)
  ) throws(NetmapError) {
    let values = [
      (Tunable.bufferCount, counts.buffers, origins.0), (.ringCount, counts.rings, origins.1),
      (.interfaceCount, counts.interfaces, origins.2),
    ]
    for (tunable, value, origin) in values {
      if let value { try set(tunable, to: value, by: origin) }
    }
  }
}

extension String {
  /// The name of the tunable that asks for what a read-only one shows: `buf_num` for `buf_curr_num`.
  fileprivate var replacingCurrent: String {
    split(separator: "_").filter { $0 != "curr" }.joined(separator: "_")
  }
}

// What the tunables mean to the engine.
extension Tunables {
  /// The region that interfaces share.
  package var sharedRegion: RegionParameters {
    RegionParameters(
      interfaceSize: self[.interfaceSize], interfaceCount: self[.interfaceCount],
      ringSize: self[.ringSize], ringCount: self[.ringCount], bufferSize: self[.bufferSize],
      bufferCount: self[.bufferCount])
  }

  /// What a region of one port has at least.
  package var privateMinimums: RegionParameters.Minimums {
    RegionParameters.Minimums(
      interfaceSize: self[.privateInterfaceSize], interfaceCount: self[.privateInterfaceCount],
      ringSize: self[.privateRingSize], ringCount: self[.privateRingCount],
      bufferSize: self[.privateBufferSize], bufferCount: self[.privateBufferCount])
  }

  /// How the syncs of a port that is opened now work.
  var syncDefaults: SyncDefaults {
    var result: SyncDefaults = []
    if self[.noTimestamp] != 0 { result.insert(.stampsOnRequest) }
    if self[.forward] != 0 { result.insert(.forwardsReleased) }
    return result
  }

  /// The slots that a switch forwards together; 0 drops all packets.
  var switchBatch: UInt32 { UInt32(clamping: self[.switchBatch]) }

  /// Whether interfaces are refused for lack of a driver with netmap in it.
  var wantsNativeDrivers: Bool { self[.adapterMode] == 1 }
}
