internal import ToolSupport

/// What is measured on interfaces: a backend, and which way the packets go.
struct Traffic: Hashable {
  enum Backend: Hashable {
    case xdpCopy, xdpGeneric, packet

    var name: String { self == .packet ? "packet" : "xdp" }

    var mode: String {
      switch self {
      case .xdpCopy: "copy"
      case .xdpGeneric: "generic"
      case .packet: "tpacket-v3"
      }
    }

    /// What a port's name says to insist on this backend.
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
  /// Whether the interface is on a switch, and packets are sent to a port of that.
  let isSwitched: Bool

  init(_ backend: Backend, _ direction: Direction, isSwitched: Bool = false) {
    self.backend = backend
    self.direction = direction
    self.isSwitched = isSwitched
  }
}

/// What became of the packets that were offered.
struct Delivery {
  /// Millions of packets a second.
  var offeredMpps: Double
  /// Packets a second that were received, or passed on, for each one offered.
  var ratio: Double
  /// Where the others were lost, when packets were received; of the whole run, warming up included.
  var losses: Losses?

  struct Losses {
    var offered: UInt64
    var received: UInt64
    /// Not taken by the receiving interface: its queue was full.
    var link: UInt64
    /// Counted as lost by the port; nil when the program that was measured does not count.
    var port: UInt64?

    /// Lost, and nobody has counted them.
    var elsewhere: Int64 {
      Int64(offered) - Int64(received) - Int64(link) - Int64(port ?? 0)
    }
  }

  func describe(in line: inout JSONLine) {
    line.add("offeredMpps", offeredMpps)
    line.add("deliveredRatio", ratio)
    guard let losses else { return }
    line.add("offered", losses.offered)
    line.add("received", losses.received)
    line.add("lostInLink", losses.link)
    if let port = losses.port { line.add("lostInPort", port) }
    line.add("lostElsewhere", Int(losses.elsewhere))
  }
}
