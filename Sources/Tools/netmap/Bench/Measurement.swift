internal import ToolSupport

/// One thing to measure.
struct Measurement: Hashable {
  /// The cases, in the order they are run.
  enum Case: String, CaseIterable {
    case pipeOneThread = "pipe-1t"
    case pipeTwoThreads = "pipe-2t"
    case pipeTwoProcesses = "pipe-2p"
    case isolatedPipe = "isolated-2p"
    case null
    case wakeup
    case memoryCopy = "memcpy"
    case valeOneThread = "vale-1t"
    case valeTwoThreads = "vale-2t"
    case valeTwoProcesses = "vale-2p"
    case valeFull = "vale-2t-252"
    case valeBroadcast = "vale-broadcast"
    case valeManyToOne = "vale-many"
    case valeUnread = "vale-unread"
    case valeJumbo = "vale-jumbo"
    case valeModule = "vale-module"
    case valeModuleEach = "vale-module-each"
    case valeInterface = "vale-nic"
    case valeLatencySpin = "vale-latency-spin"
    case valeLatencySleep = "vale-latency-sleep"
    case pingPongSpin = "pingpong-spin"
    case pingPongSleep = "pingpong-sleep"
    case xdpCopyTransmit = "xdp-copy-tx"
    case xdpCopyReceive = "xdp-copy-rx"
    case xdpCopyForward = "xdp-copy-forward"
    case xdpGenericTransmit = "xdp-generic-tx"
    case xdpGenericReceive = "xdp-generic-rx"
    case xdpGenericForward = "xdp-generic-forward"
    case packetTransmit = "packet-tx"
    case packetReceive = "packet-rx"
    case packetForward = "packet-forward"

    var summary: String {
      switch self {
      case .pipeOneThread: "a pipe, both ends driven by one thread"
      case .pipeTwoThreads: "a pipe between two threads on two CPUs"
      case .pipeTwoProcesses: "a pipe between two processes on two CPUs, through netmapd"
      case .isolatedPipe: "the same with an isolated sender, whose packets netmapd's worker copies"
      case .null: "a sync of a null port: what a sync itself costs"
      case .wakeup: "a pipe between sleeping threads; next to it, eventfd + poll"
      case .memoryCopy: "copies between buffers of 2 KiB, which a switch cannot do without"
      case .valeOneThread: "a switch, sender and receiver on one thread"
      case .valeTwoThreads: "a switch between two threads on two CPUs"
      case .valeTwoProcesses: "a switch between two processes on two CPUs, through netmapd"
      case .valeFull: "vale-2t with 252 ports on the switch"
      case .valeBroadcast: "one sender to eight ports that one thread reads; copies are counted"
      case .valeManyToOne: "three senders to one receiver, on two CPUs"
      case .valeUnread: "one thread sends to a port that nobody reads; what it sends is counted"
      case .valeJumbo: "packets of 64 KiB in 32 slots, between two threads"
      case .valeModule:
        "vale-1t by a learning module; next to it, in turns, the built-in learning bridge"
      case .valeModuleEach: "the same, by one that wants to see every packet"
      case .valeInterface:
        "xdp-copy-tx, sent to a port of a switch that the veth is on; what arrives is counted"
      case .valeLatencySpin: "round trips through a switch, of two processes that look all the time"
      case .valeLatencySleep: "the same of two processes that sleep until a packet comes"
      case .pingPongSpin: "round trips between two processes that look all the time"
      case .pingPongSleep: "round trips between two processes that sleep until a packet comes"
      case .xdpCopyTransmit, .xdpGenericTransmit, .packetTransmit:
        "send to a veth whose other end counts and drops"
      case .xdpCopyReceive, .xdpGenericReceive, .packetReceive:
        "receive what the kernel makes and delivers on another CPU"
      case .xdpCopyForward, .xdpGenericForward, .packetForward:
        "pass on from one veth to another what a third one sends"
      }
    }

    /// What is measured on interfaces; nil for the other cases.
    var traffic: Traffic? {
      switch self {
      case .valeInterface: Traffic(.xdpCopy, .transmit, isSwitched: true)
      case .xdpCopyTransmit: Traffic(.xdpCopy, .transmit)
      case .xdpCopyReceive: Traffic(.xdpCopy, .receive)
      case .xdpCopyForward: Traffic(.xdpCopy, .forward)
      case .xdpGenericTransmit: Traffic(.xdpGeneric, .transmit)
      case .xdpGenericReceive: Traffic(.xdpGeneric, .receive)
      case .xdpGenericForward: Traffic(.xdpGeneric, .forward)
      case .packetTransmit: Traffic(.packet, .transmit)
      case .packetReceive: Traffic(.packet, .receive)
      case .packetForward: Traffic(.packet, .forward)
      default: nil
      }
    }

    /// Whether another program can be measured in the place of this package.
    var takesProgram: Bool { traffic?.isSwitched == false }

    /// All cases, one a line, for help texts.
    static var overview: String {
      allCases.map { "  \($0.rawValue.left(nameWidth)) \($0.summary)" }.joined(separator: "\n")
    }

    static var nameWidth: Int { allCases.reduce(0) { max($0, $1.rawValue.count) } }

    /// Whether it is a pipe, whose packets can have several payloads and can be numbered.
    var isPipe: Bool {
      self == .pipeOneThread || self == .pipeTwoThreads || self == .pipeTwoProcesses
        || self == .isolatedPipe
    }

    /// Whether two processes take part, whose engine is netmapd's.
    var isBetweenProcesses: Bool {
      self == .pipeTwoProcesses || self == .isolatedPipe || self == .valeTwoProcesses
        || roundTrip != nil
    }

    /// Whether round trips of single packets are measured, and through what; nil for the other cases.
    var roundTrip: (isOnSwitch: Bool, sleeps: Bool)? {
      switch self {
      case .pingPongSpin: (false, false)
      case .pingPongSleep: (false, true)
      case .valeLatencySpin: (true, false)
      case .valeLatencySleep: (true, true)
      default: nil
      }
    }

    /// Whether the size of a batch means anything.
    var hasBatches: Bool { isPipe || traffic != nil || vale != nil }

    /// Whether frames have the lengths that --frame-bytes says.
    var hasLengths: Bool {
      traffic != nil || self == .memoryCopy || vale != nil && vale?.packetBytes == nil
    }

    /// Whether the measurement ends by time only.
    var isTimed: Bool { hasLengths || self == .valeJumbo }

    var backendName: String {
      if vale != nil || traffic?.isSwitched == true || roundTrip?.isOnSwitch == true {
        return "vale"
      }
      switch self {
      case .null: return "null"
      case .memoryCopy: return "memory"
      default: return traffic?.backend.name ?? "pipe"
      }
    }

    var direction: String {
      switch self {
      case .null, .valeUnread: "tx"
      default: traffic?.direction.rawValue ?? "both"
      }
    }
  }

  enum PayloadKind: String, CaseIterable {
    case untouched, touched, verified
  }

  let name: Case
  /// Packets for each sync.
  let batch: Int
  let payload: PayloadKind
  /// Bytes of a frame.
  var frameBytes = testFrameBytes
}

/// What a measurement found.
struct BenchResult {
  let measurement: Measurement
  /// Packets received, or sent where that is measured; syncs for `null`, round trips for `wakeup`, `vale-latency-...` and `pingpong-...`.
  var packets: UInt64
  var seconds: Double
  /// Nil when the program that was measured does not count them.
  var systemCalls: UInt64?
  /// Set by `wakeup`.
  var wakeup: WakeupTimes?
  /// Set by `vale-module` and `vale-module-each`.
  var bridge: BridgeComparison?
  /// Set by `vale-latency-...` and `pingpong-...`.
  var roundTrips: RoundTripTimes?
  /// Set by the cases on interfaces that are offered packets.
  var delivery: Delivery?

  var nanosecondsPerPacket: Double { seconds * 1e9 / Double(packets) }
  var millionsPerSecond: Double { Double(packets) / seconds / 1e6 }
  var systemCallsPerPacket: Double { systemCalls.map { Double($0) / Double(packets) } ?? .nan }

  /// The result as one JSON object; the keys are described in `netmap bench --help`.
  func json(on machine: Machine) -> String {
    var line = JSONLine()
    measurement.describe(in: &line)
    line.add("measured", true)
    line.add("mpps", millionsPerSecond)
    line.add("nsPerPacket", nanosecondsPerPacket)
    line.add("syscallsPerPacket", systemCallsPerPacket)
    delivery?.describe(in: &line)
    line.add("packets", packets)
    line.add("seconds", seconds)
    if let wakeup {
      line.add("p50", wakeup.pipe.p50)
      line.add("p99", wakeup.pipe.p99)
      line.add("baselineP50", wakeup.eventfd.p50)
      line.add("baselineP99", wakeup.eventfd.p99)
      line.add("ratio", wakeup.ratio)
    }
    if let bridge {
      line.add("baselineNsPerPacket", bridge.nanosecondsPerPacket)
      line.add("ratio", bridge.ratio)
    }
    if let roundTrips {
      line.add("p50", roundTrips.p50)
      line.add("p99", roundTrips.p99)
      line.add("p999", roundTrips.p999)
      line.add("max", roundTrips.max)
    }
    machine.describe(in: &line)
    return line.text
  }
}

extension Measurement {
  /// Adds to a JSON object what was to be measured.
  func describe(in line: inout JSONLine) {
    line.add("schema", 1)
    line.add("case", name.rawValue)
    line.add("backend", name.backendName)
    line.add(
      "mode", name.traffic?.backend.mode ?? (name.isBetweenProcesses ? "host" : "embedded"))
    line.add("frameBytes", name == .null ? 0 : frameBytes)
    line.add("batch", batch)
    line.add("direction", name.direction)
    if name.isPipe { line.add("payload", payload.rawValue) }
  }
}

/// How long a wake-up takes: half a round trip, nanoseconds.
struct WakeupTimes {
  struct Percentiles {
    let p50: Double
    let p99: Double
  }

  let pipe: Percentiles
  let eventfd: Percentiles
  /// The pipe's median over that of eventfd and poll(2): the median of several rounds of both.
  let ratio: Double
}

/// What the built-in learning bridge took in the same run.
struct BridgeComparison {
  let nanosecondsPerPacket: Double
  /// What a packet takes with the module, over what it takes with the bridge: the median of pairs.
  let ratio: Double
}
