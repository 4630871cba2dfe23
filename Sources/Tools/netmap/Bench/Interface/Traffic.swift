/// The traffic of a measurement on interfaces: the backend, and the direction of the packets.
struct Traffic: Hashable {
  enum Backend: Hashable {
    case xdpCopy, xdpGeneric, xdpZeroCopy, packet

    var name: String { self == .packet ? "packet" : "xdp" }

    var mode: String {
      switch self {
      case .xdpCopy: "copy"
      case .xdpGeneric: "generic"
      case .xdpZeroCopy: "zerocopy"
      case .packet: "tpacket-v3"
      }
    }

    /// The port option that selects this backend and no other.
    var option: String {
      self == .packet ? "@backend:name=packet" : "@backend:name=xdp,mode=\(mode)"
    }
  }

  enum Direction: String, Hashable {
    case transmit = "tx"
    case receive = "rx"
    case forward
  }

  let backend: Backend
  let direction: Direction
  /// Whether the interface is attached to a switch, and packets are sent through another port of
  /// the switch.
  let isSwitched: Bool

  init(_ backend: Backend, _ direction: Direction, isSwitched: Bool = false) {
    self.backend = backend
    self.direction = direction
    self.isSwitched = isSwitched
  }
}

/// Counters of a measurement on an interface of the machine.
struct MachineInterfaceCounts {
  /// Packets that the port lost by its own count, over the whole run; nil when the measured program does not count.
  var lost: UInt64?
  /// Mean length of the received packets, bytes; nil when the measurement sends, or the program does not count.
  var meanFrameBytes: Double?

  var numbers: [BenchNumber] {
    var numbers: [BenchNumber] = []
    if let lost { numbers.append(BenchNumber("lostInPort", whole: lost, "packets")) }
    if let meanFrameBytes {
      numbers.append(BenchNumber("meanFrameBytes", meanFrameBytes, "bytes"))
    }
    return numbers
  }
}

/// The fate of the packets that were offered.
struct Delivery {
  /// Millions of packets per second.
  var offeredMpps: Double
  /// The rate of packets received, or forwarded, divided by the rate offered.
  var ratio: Double
  /// Losses of a measurement that receives, over the whole run including warm-up.
  var losses: Losses?

  struct Losses {
    var offered: UInt64
    var received: UInt64
    /// Dropped before the receiving interface, because its queue was full.
    var link: UInt64
    /// Lost by the port's own count; nil when the measured program does not count.
    var port: UInt64?

    /// Lost without any counter.
    var elsewhere: Int64 {
      Int64(offered) - Int64(received) - Int64(link) - Int64(port ?? 0)
    }
  }

  var numbers: [BenchNumber] {
    var numbers = [
      BenchNumber("offeredMpps", offeredMpps, "Mpps"),
      BenchNumber("deliveredRatio", ratio, "ratio"),
    ]
    guard let losses else { return numbers }
    numbers += [
      BenchNumber("offered", whole: losses.offered, "packets"),
      BenchNumber("received", whole: losses.received, "packets"),
      BenchNumber("lostInLink", whole: losses.link, "packets"),
    ]
    if let port = losses.port { numbers.append(BenchNumber("lostInPort", whole: port, "packets")) }
    numbers.append(BenchNumber("lostElsewhere", whole: losses.elsewhere, "packets"))
    return numbers
  }
}
