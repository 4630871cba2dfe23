internal import Netmap

/// Measures transmit syncs of a null port.
func measureNull(
  _ measurement: Measurement, _ extent: Extent, cpu: Int
) throws(BenchError) -> BenchResult {
  let control = Control()
  let limit = extent.limit
  let worker = try PinnedThread(on: cpu) { () throws(BenchError) -> BenchResult in
    try control.stoppingOnError { () throws(BenchError) in
      try measuring { () throws(NetmapError) in
        // A null port has no memory of its own. Region 1 always exists.
        let specification = PortSpecification(
          try PortName("bench"), selection: .null, memoryID: 1,
          conf: RingGeometryHints(
            transmitSlots: 64, receiveSlots: 64, transmitRings: 1, receiveRings: 1))
        let port = try NetmapPort(specification, engine: EmbeddedEngine())
        control.waitForStart()
        let start = monotonicNanoseconds()
        var syncs: UInt64 = 0
        while syncs < limit && control.isIn(.measuring) {
          try port.sync(.transmit)
          syncs &+= 1
        }
        let end = monotonicNanoseconds()
        return BenchResult(
          measurement: measurement, packets: syncs, seconds: Double(end - start) / 1e9,
          systemCalls: port.statistics.systemCalls)
      }
    }
  }
  control.start(1, in: .measuring)
  if case .seconds(let seconds) = extent {
    sleepThread(seconds: seconds)
    control.enter(.stopped)
  }
  return try worker.join()
}
