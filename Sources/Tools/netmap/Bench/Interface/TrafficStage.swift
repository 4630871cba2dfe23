internal import Netmap
internal import NetworkStage
internal import Synchronization

/// The interfaces of one measurement, what makes packets for it and what counts them at the end.
///
/// Made in the network namespace of the calling thread. The interfaces `bench0` and `bench1` belong to
/// whoever is measured.
final class TrafficStage: Sendable {
  /// For the application: one interface, and a second one to pass packets on to.
  let interfaces: [String]
  private let traffic: Traffic
  private let near: VethPair
  private let sink: FrameSink?
  private let generator: FrameGenerator?
  /// Packets that the sender has handed over, where a sender offers them.
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
        frame: EthernetFrame.udp(length: frameBytes))
    case .forward:
      near = try VethPair("bench0", "source0")
      let far = try VethPair("bench1", "sink0")
      interfaces = ["bench0", "bench1"]
      sink = try FrameSink(on: far.second)
      generator = nil
    }
  }

  /// Packets made or sent for the application so far; nil when it is the one that sends.
  var offered: UInt64? {
    switch traffic.direction {
    case .transmit: nil
    case .receive: generator?.count
    case .forward: sent.load(ordering: .relaxed)
    }
  }

  /// Packets that have arrived at the end so far; nil when the application is the end.
  var delivered: UInt64? { sink?.count }

  /// Packets that did not fit the queue of the application's interface.
  var lostInLink: UInt64 {
    get throws(NetmapError) { try near.second.transmitDrops() }
  }

  /// Starts the thread that offers packets until the measurement is over.
  ///
  /// - Returns: Nil when the application is the one that sends.
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
            // About a millisecond at a time, so that it stops in time.
            while control.isOn { try generator?.run(2048) }
          }
        }
      }
    case .forward:
      return try PinnedThread(on: cpu) { [self] () throws(BenchError) in
        try control.stoppingOnError { () throws(BenchError) in
          try measuring { () throws(NetmapError) in
            // Always the same sender, whichever way the packets are passed on.
            let port = try Port(
              "netmap:source0/T\(Traffic.Backend.xdpCopy.option)", engine: EmbeddedEngine())
            let frame = EthernetFrame.udp(length: measurement.frameBytes)
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
  /// Whether packets are to be sent.
  var isOn: Bool { isIn(.warming) || isIn(.measuring) }
}
