/// A tunable as an engine has it now.
package struct TunableState: Hashable, Sendable {
  package let tunable: Tunable
  package let value: Int
  /// Where the value comes from, for users.
  package let origin: String

  package init(_ tunable: Tunable, _ value: Int, origin: String) {
    self.tunable = tunable
    self.value = value
    self.origin = origin
  }
}

extension Engine {
  /// All tunables, in the order of ``Tunable``.
  package var tunables: [TunableState] {
    let found = try? exclusively { (state) throws(NetmapError) in state.tunableStates }
    return found ?? []
  }

  /// Sets a tunable of a running engine. ``Tunable/rule`` says when the value begins to count.
  ///
  /// - Parameters:
  ///   - tunable: The tunable.
  ///   - value: The new value.
  ///   - origin: Who sets it, for users.
  /// - Returns: The tunable, with the value that counts now.
  /// - Throws: ``NetmapError`` as ``Tunables/set(_:to:by:)``, and `EACCES` for a tunable that an engine takes only when
  ///   it starts.
  @discardableResult
  package func set(
    _ tunable: Tunable, to value: Int, by origin: String
  ) throws(NetmapError) -> TunableState {
    guard tunable.rule.effect != .start else {
      throw NetmapError(
        .readOnly, "set", tunable.name, reason: "netmapd takes it only when it starts",
        remedy:
          "start it with --set \(tunable.name)=\(value), or write it into its configuration file")
    }
    return try exclusively { (state) throws(NetmapError) in
      try state.tunables.set(tunable, to: value, by: origin)
      if case .switchBatch = tunable {
        for vale in state.switches.values {
          unsafe vale.segment.view.setBatch(state.tunables.switchBatch)
        }
      }
      return state.state(of: tunable)
    }
  }
}

extension EngineState {
  fileprivate var tunableStates: [TunableState] { Tunable.allCases.map { state(of: $0) } }

  fileprivate func state(of tunable: Tunable) -> TunableState {
    guard tunable.rule.effect == .readOnly else {
      return TunableState(tunable, tunables[tunable], origin: tunables.origin(of: tunable))
    }
    return TunableState(tunable, current(tunable), origin: "in use")
  }

  /// What the shared region has; 0 while there is none.
  private func current(_ tunable: Tunable) -> Int {
    guard let layout = regions[1]?.layout else { return 0 }
    return switch tunable {
    case .interfaceCurrentSize: layout.interfaces.size
    case .interfaceCurrentCount: layout.interfaces.count
    case .ringCurrentSize: layout.rings.size
    case .ringCurrentCount: layout.rings.count
    case .bufferCurrentSize: layout.buffers.size
    case .bufferCurrentCount: layout.buffers.count
    default: 0
    }
  }
}
