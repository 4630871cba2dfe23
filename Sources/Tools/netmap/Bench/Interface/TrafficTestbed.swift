internal import Netmap
internal import NetworkTestbed
internal import Synchronization

/// The testbed of one measurement: its interfaces, the source of its packets, and the sink that counts them.
///
/// Either the testbed makes veth pairs in the calling thread's network namespace, and the measured application uses
/// the interfaces `bench0` and `bench1`. Or the application uses an interface of the machine, without a source and
/// without a sink.
final class TrafficTestbed: Sendable {
  /// The application's interfaces: one, and a second one to forward to.
  let interfaces: [String]
  private let traffic: Traffic
  /// The pair of the first interface; nil for an interface of the machine.
  private let near: VethPair?
  /// The interface of the machine; nil for veth pairs.
  private let given: Link?
  private let sink: FrameSink?
  private let generator: FrameGenerator?
  /// Packets that the sender has sent, in the forwarding cases.
  private let sent = Atomic<UInt64>(0)

  /// Makes veth pairs.
  init(_ traffic: Traffic, frameBytes: Int) throws(NetmapError) {
    self.traffic = traffic
    given = nil
    switch traffic.direction {
    case .transmit:
      let pair = try VethPair("bench0", "sink0")
      near = pair
      interfaces = ["bench0"]
      sink = try FrameSink(on: pair.second)
      generator = nil
    case .receive:
      let pair = try VethPair("bench0", "source0")
      near = pair
      interfaces = ["bench0"]
      sink = nil
      generator = try FrameGenerator(
        to: pair, entry: traffic.backend == .xdpCopy ? .driver : .stack,
        frame: MeasurementFrame.udp(length: frameBytes))
    case .forward:
      near = try VethPair("bench0", "source0")
      let far = try VethPair("bench1", "sink0")
      interfaces = ["bench0", "bench1"]
      sink = try FrameSink(on: far.second)
      generator = nil
    }
  }

  /// Uses an interface of the machine.
  ///
  /// - Throws: ``NetmapError`` `ENXIO` when there is no such interface.
  init(_ traffic: Traffic, interface: String) throws(NetmapError) {
    self.traffic = traffic
    given = try Link(named: interface)
    interfaces = [interface]
    near = nil
    sink = nil
    generator = nil
  }

  /// Whether the application uses an interface of the machine.
  var isOnMachine: Bool { given != nil }

  /// The specification of a port on one of the interfaces.
  ///
  /// On an interface of the machine the port has ring pair 0 only, because the measured loops use one ring.
  ///
  /// - Parameters:
  ///   - index: The number of the interface.
  ///   - flag: `R` for the receive ring, `T` for the transmit ring.
  /// - Returns: The specification.
  func portName(_ index: Int, _ flag: String) -> String {
    var place = interfaces[index]
    if isOnMachine {
      // Between quotes, two quotes stand for one.
      place = "'" + place.map { $0 == "'" ? "''" : String($0) }.joined() + "'-0"
    }
    return "netmap:\(place)/\(flag)\(traffic.backend.option)"
  }

  /// Waits until an interface of the machine passes frames.
  ///
  /// A driver may reset the link when a port opens.
  func waitForLink() throws(NetmapError) {
    try given?.waitUntilRunning()
  }

  /// The error of a measurement in which no packet moved.
  var nothingMoved: BenchError {
    guard isOnMachine else { return .nothingArrived }
    let interface = interfaces[0]
    return traffic.direction == .transmit
      ? BenchError("the kernel accepted no packet on \(interface)", isTooShort: true)
      : BenchError(
        "no packet arrived on \(interface), ring 0: start a sender on the other end of its link",
        isTooShort: true)
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
    get throws(NetmapError) { try near?.second.transmitDrops() ?? 0 }
  }

  /// Starts the thread that offers packets until the measurement is over.
  ///
  /// - Returns: Nil when the application itself sends, or packets come from outside.
  func startSource(
    on cpu: Int, _ measurement: Measurement, _ control: Control
  ) throws(BenchError) -> PinnedThread<Void>? {
    switch traffic.direction {
    case .transmit: return nil
    case .receive:
      // On an interface of the machine, packets come from outside.
      guard let generator else { return nil }
      return try PinnedThread(on: cpu) { () throws(BenchError) in
        try control.stoppingOnError { () throws(BenchError) in
          control.waitForStart()
          try measuring { () throws(NetmapError) in
            // About a millisecond of work per call, so that the thread notices the end in time.
            while control.isOn { try generator.run(2048) }
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
