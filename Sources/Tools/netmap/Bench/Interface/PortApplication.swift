internal import Netmap
internal import NetworkTestbed

/// This package, which drives its ports on a thread of this process.
struct PortApplication: MeasuredApplication {
  private let thread: PinnedThread<ApplicationReport>

  init(
    _ measurement: Measurement, _ traffic: Traffic, _ testbed: TrafficTestbed, on cpu: Int,
    _ control: Control
  ) throws(BenchError) {
    thread = try PinnedThread(on: cpu) { () throws(BenchError) -> ApplicationReport in
      try control.stoppingOnError { () throws(BenchError) in
        switch traffic.direction {
        case .transmit: try Self.transmit(measurement, traffic, testbed, control)
        case .receive: try Self.receive(measurement, testbed, control)
        case .forward: try Self.forward(measurement, testbed, control)
        }
      }
    }
  }

  // The thread itself waits for the start and measures the time.
  func waitUntilReady() {}
  func begin() {}
  func end() {}

  func finish() throws(BenchError) -> ApplicationReport { try thread.join() }

  private static func transmit(
    _ measurement: Measurement, _ traffic: Traffic, _ testbed: TrafficTestbed, _ control: Control
  ) throws(BenchError) -> ApplicationReport {
    try measuring { () throws(NetmapError) in
      let engine = try EmbeddedEngine()
      let onSwitch = try traffic.isSwitched ? PortName("vale0:\(testbed.interfaces[0])") : nil
      if let onSwitch { try engine.switches.attach(onSwitch) }
      defer { if let onSwitch { _ = try? engine.switches.detach(onSwitch) } }
      let port =
        try onSwitch == nil
        ? NetmapPort(testbed.portName(0, "T"), engine: engine)
        : NetmapPort("vale0:sender", engine: engine)
      let frame = MeasurementFrame.udp(length: measurement.frameBytes)
      var packets: UInt64 = 0
      control.waitForStart()
      func send(during phase: Control.Phase) throws(NetmapError) {
        while control.isIn(phase) {
          try TrafficLoops.transmit(
            port, batch: measurement.batch, frame, control, &packets, rounds: 64)
        }
      }
      try send(during: .warming)
      let start = Mark(packets, [port])
      try send(during: .measuring)
      var report = Mark(packets, [port]).report(since: start)
      while control.isIn(.draining) {
        try port.sync(.transmit)
        sleepThread(seconds: 0.001)
      }
      report.total = packets
      report.lost = port.statistics.transmit.drops.total
      return report
    }
  }

  private static func receive(
    _ measurement: Measurement, _ testbed: TrafficTestbed, _ control: Control
  ) throws(BenchError) -> ApplicationReport {
    var (packets, bytes) = (UInt64(0), UInt64(0))
    let report = try measuring { () throws(NetmapError) in
      let port = try NetmapPort(testbed.portName(0, "R"), engine: EmbeddedEngine())
      control.waitForStart()
      func receive(during phase: Control.Phase) throws(NetmapError) {
        try TrafficLoops.receive(
          port, batch: measurement.batch, control, during: phase, &packets, &bytes)
      }
      try receive(during: .warming)
      let start = Mark(packets, [port])
      try receive(during: .measuring)
      var report = Mark(packets, [port]).report(since: start)
      try receive(during: .draining)
      // On an interface of the machine, packets may never end.
      if !testbed.isOnMachine { try TrafficLoops.receiveRest(port, &packets, &bytes) }
      report.total = packets
      report.bytes = bytes
      report.lost = port.statistics.receive.drops.total
      return report
    }
    guard testbed.isOnMachine || bytes == packets * UInt64(measurement.frameBytes) else {
      throw BenchError(
        "\(packets) packets of \(measurement.frameBytes) bytes arrived with \(bytes) bytes")
    }
    return report
  }

  private static func forward(
    _ measurement: Measurement, _ testbed: TrafficTestbed, _ control: Control
  ) throws(BenchError) -> ApplicationReport {
    try measuring { () throws(NetmapError) in
      let engine = try EmbeddedEngine()
      let source = try NetmapPort(testbed.portName(0, "R"), engine: engine)
      let target = try NetmapPort(testbed.portName(1, "T"), engine: engine)
      var packets: UInt64 = 0
      control.waitForStart()
      func forward(during phase: Control.Phase) throws(NetmapError) {
        try TrafficLoops.forward(
          source, target, batch: measurement.batch, control, during: phase, &packets)
      }
      try forward(during: .warming)
      let start = Mark(packets, [source, target])
      try forward(during: .measuring)
      var report = Mark(packets, [source, target]).report(since: start)
      try forward(during: .draining)
      report.total = packets
      report.lost =
        source.statistics.receive.drops.total &+ target.statistics.transmit.drops.total
      return report
    }
  }

  /// The application's progress at an instant.
  private struct Mark {
    let packets: UInt64
    let systemCalls: UInt64
    let time: UInt64

    init(_ packets: UInt64, _ ports: [NetmapPort]) {
      self.packets = packets
      systemCalls = ports.reduce(0) { $0 &+ $1.statistics.systemCalls }
      time = monotonicNanoseconds()
    }

    func report(since start: Mark) -> ApplicationReport {
      ApplicationReport(
        packets: packets &- start.packets, systemCalls: systemCalls &- start.systemCalls,
        seconds: Double(time - start.time) / 1e9)
    }
  }
}
