internal import ToolSupport

/// Estimates of the time that measurements take, including their setup and teardown.
extension Measurement {
  /// Seconds of measuring under --quick: long enough for distinguishable results, and short enough to run all
  /// cases within half a minute.
  var quickSeconds: Double {
    if name.traffic != nil { return 0.15 }
    switch name {
    // Measures two things in turns, ten times.
    case .wakeup: return 0.4
    case .pingPongSpin, .pingPongSleep: return 0.2
    default: return 0.1
    }
  }

  /// Estimated seconds outside of the measured time: the probe of the cache line, opening ports, starting
  /// processes, warm-up, draining.
  var overheadSeconds: Double { CacheLineProbe.seconds + setupSeconds }

  private var setupSeconds: Double {
    if let traffic = name.traffic { return traffic.direction == .forward ? 0.35 : 0.25 }
    if let vale = name.vale, vale.ports > 100 { return 0.2 }
    return name.isBetweenProcesses ? 0.15 : PipeTimes.warmUp + 0.03
  }
}

extension Bench {
  /// Seconds that a measurement measures.
  func duration(of measurement: Measurement) -> Double {
    seconds ?? (quick ? measurement.quickSeconds : 1)
  }

  /// Prints the planned measurements and an estimate of their duration.
  func printPlan(_ plan: [Measurement]) {
    var total = 0.0
    for measurement in plan {
      let time =
        (duration(of: measurement) + measurement.overheadSeconds) * Double(repetitions)
      total += time
      let name = measurement.name
      print(
        name.rawValue.left(Measurement.Case.nameWidth),
        (measurement.reportedFrameBytes == 0 ? "-" : String(measurement.frameBytes)).right(5),
        (name.hasBatches ? String(measurement.batch) : "-").right(5),
        (name.hasPayloads ? measurement.payload.rawValue : "-").left(9), "\(time.fixed(2)) s")
    }
    let runs = repetitions == 1 ? "" : ", \(repetitions) runs of each"
    print("\(plan.count) measurements\(runs), about \(total.fixed(1)) s")
  }
}
