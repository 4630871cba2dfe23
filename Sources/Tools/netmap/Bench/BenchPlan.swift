internal import ArgumentParser

/// What the options select.
extension Bench {
  /// The measurements that the options select, each once, in the order of the cases.
  var measurements: [Measurement] {
    let kinds: [Measurement.PayloadKind] =
      verify ? [.verified] : payloads.isEmpty ? [.untouched, .touched] : payloads
    var plan: [Measurement] = []
    for name in Measurement.Case.allCases where cases.isEmpty || cases.contains(name) {
      if verify && !name.isPipe || packets != nil && name.isTimed { continue }
      if program != nil && !name.takesProgram { continue }
      if interface == nil && name.needsInterface { continue }
      let usual = Self.usualBatches(name)
      let sizes = batches.isEmpty || !name.hasBatches ? usual : batches
      // Under --quick, each case on a switch has one payload.
      let isShort = quick && cases.isEmpty && payloads.isEmpty && !name.isPipe
      for length in lengths(of: name) {
        for kind in name.hasPayloads ? (isShort ? [.touched] : kinds) : [.untouched] {
          // Long frames show little about syncs of few packets.
          let isAbridged = quick && cases.isEmpty && length > testFrameBytes
          for size in isAbridged ? sizes.suffix(1) : sizes {
            for count in flows.isEmpty || !name.hasFlows ? [1] : flows {
              let measurement = Measurement(
                name: name, batch: size, payload: kind, frameBytes: length, flows: count,
                interface: interface)
              if !plan.contains(measurement) { plan.append(measurement) }
            }
          }
        }
      }
    }
    return plan
  }

  private func lengths(of name: Measurement.Case) -> [Int] {
    if name == .valeJumbo { return [65_536] }
    // The sender is outside of the measurement.
    if interface != nil && name.traffic?.direction == .receive { return [0] }
    guard name.hasLengths else { return [testFrameBytes] }
    guard frameSizes.isEmpty else { return frameSizes }
    // A pipe moves buffers, so the length matters only for the payload.
    let isShort = name.isPipe || quick && name == .valeInterface
    return isShort ? [testFrameBytes] : [testFrameBytes, 1514]
  }

  private static func usualBatches(_ name: Measurement.Case) -> [Int] {
    if name.isPipe { return [1, 32, 256] }
    if name == .valeJumbo { return [8] }
    if name.vale != nil { return [1, 256] }
    return [name.traffic == nil ? 1 : 256]
  }

  /// The CPUs that the options select for the two threads.
  ///
  /// - Throws: `ValidationError` when this process may not use them.
  func pinnedCPUs(_ machine: Machine) throws -> (Int, Int) {
    guard let cpus else {
      let first = machine.cpus.first ?? 0
      return (first, machine.cpus.dropFirst().first ?? first)
    }
    let parts = cpus.split(separator: ",", omittingEmptySubsequences: false)
    guard parts.count == 2, let first = Int(parts[0]), let second = Int(parts[1]) else {
      throw ValidationError("--cpus \(cpus) is not two numbers such as 0,1")
    }
    for cpu in [first, second] where !machine.cpus.contains(cpu) {
      throw ValidationError("--cpus: this process may not use CPU \(cpu)")
    }
    return (first, second)
  }
}
