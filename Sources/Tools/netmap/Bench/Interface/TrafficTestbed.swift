internal import Netmap
internal import NetworkTestbed
internal import Synchronization

/// The testbed of one measurement: its interfaces, the source of its packets, and the sink that counts them.
///
/// Created in the calling thread's network namespace. The measured application uses the interfaces `bench0` and
/// `bench1`.
final class TrafficTestbed: Sendable {
  /// The application's interfaces: one, and a second one to forward to.
  let interfaces: [String]
  private let traffic: Traffic
  private let near: VethPair
  private let sink: FrameSink?
  private let generator: FrameGenerator?
  /// Packets that the sender has sent, in the forwarding cases.
  private let sent = Atomic<UInt64>(0)

  init(_ traffic: Traffic, frameBytes: Int) throws(NetmapError) {
    self.traffic = traffic
    switch traffic.direction {
    case .transmit:
      near = try VethPair("bench0", "sink0")
      interfaces = ["bench0"]
      sink = try FrameSink(on: near.second)
      generator = nil
    case .receive:
      near = try VethPair("bench0", "source0")
      interfaces = ["bench0"]
      sink = nil
      generator = try FrameGenerator(
        to: near, entry: traffic.backend == .xdpCopy ? .driver : .stack,
        frame: MeasurementFrame.udp(length: frameBytes))
    case .forward:
      near = try VethPair("bench0", "source0")
      let far = try VethPair("bench1", "sink0")
      interfaces = ["bench0", "bench1"]
      sink = try FrameSink(on: far.second)
      generator = nil
    }
  }

  /// Packets made or sent for the application so far; nil when the application itself sends.
  var offered: UInt64? {
    switch traffic.direction {
    case .transmit: nil
    case .receive: generator?.count
    case .forward: sent.load(ordering: .relaxed)
    }
  }

  /// Packets that have arrived at the sink so far; nil when the application receives them.
  var delivered: UInt64? { sink?.count }

  /// Packets dropped because the queue of the application's interface was full.
  var lostInLink: UInt64 {
    get throws(NetmapError) { try near.second.transmitDrops() }
  }

  /// Starts the thread that offers packets until the measurement is over.
  ///
  /// - Returns: Nil when the application itself sends.
  func startSource(
    on cpu: Int, _ measurement: Measurement, _ control: Control
  ) throws(BenchError) -> PinnedThread<Void>? {
    switch traffic.direction {
    case .transmit: return nil
    case .receive:
      return try PinnedThread(on: cpu) { [generator] () throws(BenchError) in
        try control.stoppingOnError { () throws(BenchError) in
          control.waitForStart()
          try measuring { () throws(NetmapError) in
            // About a millisecond of work per call, so that the thread notices the end in time.
            while control.isOn { try generator?.run(2048) }
          }
        }
      }
    case .forward:
      return try PinnedThread(on: cpu) { [self] () throws(BenchError) in
        try control.stoppingOnError { () throws(BenchError) in
          try measuring { () throws(NetmapError) in
            // The same sender for every backend, so that results are comparable.
            let port = try NetmapPort(
              "netmap:source0/T\(Traffic.Backend.xdpCopy.option)", engine: EmbeddedEngine())
            let frame = MeasurementFrame.udp(length: measurement.frameBytes)
            control.waitForStart()
            var packets: UInt64 = 0
            while control.isOn {
              try TrafficLoops.transmit(
                port, batch: measurement.batch, frame, control, &packets, rounds: 4)
              sent.store(packets, ordering: .relaxed)
            }
          }
        }
      }
    }
  }
}

extension Control {
  /// Whether senders should send.
  var isOn: Bool { isIn(.warming) || isIn(.measuring) }
}
