internal import Netmap

/// Measures a switch, on a new engine unless the case uses two processes.
func measureVale(
  _ measurement: Measurement, _ shape: ValeShape, seconds: Double, cpus: (Int, Int)
) throws(BenchError) -> BenchResult {
  if shape.isTwoProcesses {
    return try measureValeTwoProcesses(measurement, shape, seconds: seconds, cpus: cpus)
  }
  if measurement.name == .valeModule || measurement.name == .valeModuleEach {
    return try measureValeModule(measurement, shape, seconds: seconds, cpu: cpus.0)
  }
  let engine = try measuring { () throws(NetmapError) in try EmbeddedEngine() }
  let testbed = try measuring { () throws(NetmapError) in
    try ValeTestbed(shape, measurement, on: engine)
  }
  let control = Control()
  var threads: [PinnedThread<ValeReport>] = []
  if shape.isOneThread {
    threads.append(
      try worker(on: cpus.0, control) { () throws(NetmapError) in
        try testbed.sendAndReceive(control)
      })
  } else {
    threads.append(
      try worker(on: cpus.1, control) { () throws(NetmapError) in
        try testbed.receive(control)
      })
    for number in 0..<shape.senders {
      threads.append(
        try worker(on: number % 2 == 0 ? cpus.0 : cpus.1, control) { () throws(NetmapError) in
          try testbed.send(from: number, control)
        })
    }
  }
  control.start(threads.count, in: .warming)
  sleepThread(seconds: PipeTimes.warmUp)
  control.advance(from: .warming, to: .measuring)
  sleepThread(seconds: seconds)
  control.enter(.stopped)
  var reports: [ValeReport] = []
  for thread in threads { reports.append(try thread.join()) }
  return try valeResult(measurement, reports)
}

/// Combines the threads' reports: the packets of the first report, the system calls of all.
func valeResult(
  _ measurement: Measurement, _ reports: [ValeReport]
) throws(BenchError) -> BenchResult {
  let calls = reports.reduce(0) { $0 + $1.systemCalls }
  guard let counted = reports.first, counted.packets > 0 else {
    throw BenchError.nothingArrived
  }
  return BenchResult(
    measurement: measurement, packets: counted.packets,
    seconds: Double(counted.nanoseconds) / 1e9, systemCalls: calls)
}

/// Starts a thread that drives ports of a measured switch.
func worker(
  on cpu: Int, _ control: Control,
  _ body: @escaping @Sendable () throws(NetmapError) -> ValeReport
) throws(BenchError) -> PinnedThread<ValeReport> {
  try PinnedThread(on: cpu) { () throws(BenchError) in
    try control.stoppingOnError { () throws(BenchError) in try measuring(body) }
  }
}

/// Copies frames between two blocks of 1024 buffers of 2 KiB: the upper limit for a switch.
func measureMemoryCopy(
  _ measurement: Measurement, seconds: Double, cpu: Int
) throws(BenchError) -> BenchResult {
  let control = Control()
  let length = measurement.frameBytes
  let thread = try PinnedThread(on: cpu) { () throws(BenchError) -> ValeReport in
    let (slots, stride) = (1024, 2048)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 2 * slots * stride, alignment: 4096)
    defer { unsafe memory.deallocate() }
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 1, count: 2 * slots * stride)
    control.waitForStart()
    var copied: UInt64 = 0
    let start = monotonicNanoseconds()
    while control.isIn(.measuring) {
      for slot in 0..<slots {
        unsafe (memory + (slots + slot) * stride).copyMemory(
          from: memory + slot * stride, byteCount: length)
      }
      copied &+= UInt64(slots)
    }
    return ValeReport(packets: copied, nanoseconds: monotonicNanoseconds() - start)
  }
  control.start(1, in: .measuring)
  sleepThread(seconds: seconds)
  control.enter(.stopped)
  let report = try thread.join()
  return BenchResult(
    measurement: measurement, packets: report.packets, seconds: Double(report.nanoseconds) / 1e9,
    systemCalls: 0)
}
