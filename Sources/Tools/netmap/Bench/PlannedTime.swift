/// How long measurements take: what is measured, and what comes before and after.
extension Measurement {
  /// Seconds of measuring under --quick: enough for figures that can be told apart, and short enough for all
  /// of them in half a minute.
  var quickSeconds: Double {
    if name.traffic != nil { return 0.15 }
    switch name {
    // Two things in turns, ten times.
    case .wakeup: return 0.4
    case .pingPongSpin, .pingPongSleep: return 0.2
    default: return 0.1
    }
  }

  /// Seconds that are not measured, about: opening ports, starting processes, warming up, draining.
  var overheadSeconds: Double {
    if let traffic = name.traffic { return traffic.direction == .forward ? 0.35 : 0.25 }
    if let vale = name.vale, vale.ports > 100 { return 0.2 }
    return name.isBetweenProcesses ? 0.15 : PipeTimes.warmUp + 0.03
  }
}

extension Bench {
  /// Seconds that a measurement lasts.
  func duration(of measurement: Measurement) -> Double {
    seconds ?? (quick ? measurement.quickSeconds : 1)
  }

  /// Prints what would be measured, and about how long it takes.
  func printPlan(_ plan: [Measurement]) {
    var total = 0.0
    for measurement in plan {
      let time = duration(of: measurement) + measurement.overheadSeconds
      total += time
      let name = measurement.name
      print(
        name.rawValue.left(Measurement.Case.nameWidth),
        (name == .null ? "-" : String(measurement.frameBytes)).right(5),
        (name.hasBatches ? String(measurement.batch) : "-").right(5),
        (name.isPipe ? measurement.payload.rawValue : "-").left(9), "\(time.fixed(2)) s")
    }
    print("\(plan.count) measurements, about \(total.fixed(1)) s")
  }
}
