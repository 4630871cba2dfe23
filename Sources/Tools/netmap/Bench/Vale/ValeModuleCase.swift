internal import Netmap

/// Measures the cost of the module protocol: a learning bridge that is a module, and the built-in one, in turns
/// on one switch.
func measureValeModule(
  _ measurement: Measurement, _ shape: ValeShape, seconds: Double, cpu: Int
) throws(BenchError) -> BenchResult {
  // Enough pairs that other load on the machine affects only a few of them.
  let pairs = 15
  let slice = seconds / Double(2 * pairs)
  let engine = try measuring { () throws(NetmapError) in try EmbeddedEngine() }
  let thread = try PinnedThread(on: cpu) { () throws(BenchError) -> BenchResult in
    let testbed = try measuring { () throws(NetmapError) in
      try ValeTestbed(shape, measurement, on: engine)
    }
    var result = BenchResult(measurement: measurement, packets: 0, seconds: 0, systemCalls: 0)
    var vale = ValeReport(packets: 0, nanoseconds: 0)
    var ratios: [Double] = []
    for pair in 0...pairs {
      let plain = try measuring { () throws(NetmapError) in
        try engine.switches.setModule(.learning, of: "valebench")
        return try testbed.sendAndReceive(seconds: slice)
      }
      let programmed = try measuring { () throws(NetmapError) in
        if measurement.name == .valeModuleEach {
          try engine.setModule(try LearningByPacket(), of: "valebench")
        } else {
          try engine.setModule(try LearningModule(), of: "valebench")
        }
        return try testbed.sendAndReceive(seconds: slice)
      }
      guard plain.packets > 0, programmed.packets > 0 else {
        throw BenchError.nothingArrived
      }
      // The first pair is a warm-up.
      if pair == 0 { continue }
      result.packets += programmed.packets
      result.seconds += Double(programmed.nanoseconds) / 1e9
      vale.packets += plain.packets
      vale.nanoseconds += plain.nanoseconds
      ratios.append(programmed.nanosecondsPerPacket / plain.nanosecondsPerPacket)
    }
    result.vale = ModuleComparison(
      nanosecondsPerPacket: vale.nanosecondsPerPacket, ratio: ratios.sorted()[pairs / 2])
    return result
  }
  return try thread.join()
}

/// A learning bridge that does not declare that its decisions depend on addresses only.
private struct LearningByPacket: SwitchModule {
  static var name: String { "learning-by-packet" }
  private let learning: LearningModule

  init(configuration: String = "") throws(NetmapError) {
    learning = try LearningModule(configuration: configuration)
  }

  func lookup(_ batch: borrowing SwitchBatch) { learning.lookup(batch) }
}

extension ValeReport {
  fileprivate var nanosecondsPerPacket: Double { Double(nanoseconds) / Double(packets) }
}
