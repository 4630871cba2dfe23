internal import ToolSupport

/// One measurement.
struct Measurement: Hashable {
  /// The cases, in the order in which they run.
  enum Case: String, CaseIterable {
    case pipeOneThread = "pipe-1t"
    case pipeTwoThreads = "pipe-2t"
    case pipeTwoProcesses = "pipe-2p"
    case isolatedPipe = "isolated-2p"
    case vethTwoProcesses = "veth-2p"
    case isolatedVeth = "veth-isolated-2p"
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
    case xdpZeroCopyTransmit = "xdp-zerocopy-tx"
    case xdpZeroCopyReceive = "xdp-zerocopy-rx"

    var summary: String {
      switch self {
      case .pipeOneThread: "a pipe, both ends driven by one thread"
      case .pipeTwoThreads: "a pipe between two threads on two CPUs"
      case .pipeTwoProcesses: "a pipe between two processes on two CPUs, through netmapd"
      case .isolatedPipe: "pipe-2p with an isolated sender, whose packets netmapd's worker copies"
      case .vethTwoProcesses: "a veth between two processes on two CPUs, joined by netmapd"
      case .isolatedVeth: "veth-2p with an isolated sender, whose packets netmapd's worker copies"
      case .null: "syncs of a null port: the cost of a sync itself"
      case .wakeup: "a pipe between sleeping threads, compared with eventfd + poll"
      case .memoryCopy: "copies between buffers of 2 KiB, which a switch cannot avoid"
      case .valeOneThread: "a switch, sender and receiver on one thread"
      case .valeTwoThreads: "a switch between two threads on two CPUs"
      case .valeTwoProcesses: "a switch between two processes on two CPUs, through netmapd"
      case .valeFull: "vale-2t with 252 ports on the switch"
      case .valeBroadcast: "one sender to eight ports that one thread reads; counts copies"
      case .valeManyToOne: "three senders to one receiver, on two CPUs"
      case .valeUnread: "one thread sends to a port without a reader; counts sent packets"
      case .valeJumbo: "packets of 64 KiB in 32 slots, between two threads"
      case .valeModule:
        "vale-1t with a learning module, in turns with the built-in learning bridge"
      case .valeModuleEach: "vale-module with a module that sees every packet"
      case .valeInterface:
        "xdp-copy-tx through a switch that the veth is attached to; counts arriving packets"
      case .valeLatencySpin: "round trips through a switch between two processes that spin"
      case .valeLatencySleep:
        "round trips through a switch between two processes that sleep until a packet arrives"
      case .pingPongSpin: "round trips through a pipe between two processes that spin"
      case .pingPongSleep:
        "round trips through a pipe between two processes that sleep until a packet arrives"
      case .xdpCopyTransmit, .xdpGenericTransmit, .packetTransmit:
        "send to a veth whose other end counts and drops packets"
      case .xdpCopyReceive, .xdpGenericReceive, .packetReceive:
        "receive packets that the kernel generates and delivers on another CPU"
      case .xdpCopyForward, .xdpGenericForward, .packetForward:
        "forward from one veth pair to another"
      case .xdpZeroCopyTransmit: "send in zero-copy mode; needs --interface"
      case .xdpZeroCopyReceive: "receive in zero-copy mode; needs --interface"
      }
    }

    /// The traffic of a case on network interfaces; nil for the other cases.
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
      case .xdpZeroCopyTransmit: Traffic(.xdpZeroCopy, .transmit)
      case .xdpZeroCopyReceive: Traffic(.xdpZeroCopy, .receive)
      default: nil
      }
    }

    /// Whether the case can measure another program in place of this package.
    var takesProgram: Bool { traffic?.isSwitched == false }

    /// Whether the case can measure an interface of the machine.
    var takesInterface: Bool { takesProgram && traffic?.direction != .forward }

    /// Whether the case can measure only an interface of the machine: veth has no zero-copy mode.
    var needsInterface: Bool { traffic?.backend == .xdpZeroCopy }

    /// All cases, one per line, for help texts.
    static var overview: String {
      allCases.map { "  \($0.rawValue.left(nameWidth)) \($0.summary)" }.joined(separator: "\n")
    }

    static var nameWidth: Int { allCases.reduce(0) { max($0, $1.rawValue.count) } }

    /// Whether the case measures a pipe, whose packets can have several payloads and can be numbered.
    var isPipe: Bool {
      self == .pipeOneThread || self == .pipeTwoThreads || self == .pipeTwoProcesses
        || self == .isolatedPipe || isVeth
    }

    /// Whether the case measures a veth that netmapd joins in shared memory.
    var isVeth: Bool { self == .vethTwoProcesses || self == .isolatedVeth }

    /// Whether the case uses two processes, on netmapd's engine.
    var isBetweenProcesses: Bool {
      self == .pipeTwoProcesses || self == .isolatedPipe || self == .valeTwoProcesses
        || roundTrip != nil || isVeth
    }

    /// The setup of a case that measures round trips of single packets; nil for the other cases.
    var roundTrip: (isOnSwitch: Bool, sleeps: Bool)? {
      switch self {
      case .pingPongSpin: (false, false)
      case .pingPongSleep: (false, true)
      case .valeLatencySpin: (true, false)
      case .valeLatencySleep: (true, true)
      default: nil
      }
    }

    /// Whether one thread does all of the work.
    var isOnOneCPU: Bool {
      switch self {
      case .pipeOneThread, .null, .memoryCopy: true
      default: vale?.isOneThread == true
      }
    }

    /// Whether the batch size applies to the case.
    var hasBatches: Bool { isPipe || traffic != nil || vale != nil }

    /// Whether --frame-bytes applies to the case.
    var hasLengths: Bool {
      traffic != nil || self == .memoryCopy || isPipe || vale != nil && vale?.packetBytes == nil
    }

    /// Whether --payload applies to the case.
    var hasPayloads: Bool {
      switch self {
      case .valeUnread, .valeJumbo, .valeModule, .valeModuleEach: false
      default: isPipe || vale != nil
      }
    }

    /// Whether --flows applies to the case.
    var hasFlows: Bool { hasPayloads && !isPipe && vale?.isBroadcast == false }

    /// Whether only time, and not a number of packets, can end the measurement.
    var isTimed: Bool { traffic != nil || self == .memoryCopy || vale != nil }

    var backendName: String {
      if vale != nil || traffic?.isSwitched == true || roundTrip?.isOnSwitch == true {
        return "vale"
      }
      switch self {
      case .null: return "null"
      case .memoryCopy: return "memory"
      case .vethTwoProcesses, .isolatedVeth: return "veth"
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
  /// Packets per sync.
  let batch: Int
  let payload: PayloadKind
  /// Bytes of a frame; 0 when a sender outside of the measurement decides.
  var frameBytes = testFrameBytes
  /// Pairs of Ethernet addresses that consecutive packets take in turns, 1 to ``mostFlows``.
  var flows = 1
  /// The interface of the machine to measure; nil for veth pairs, and for the cases without interfaces.
  var interface: String?
}

/// The result of a measurement.
struct BenchResult {
  let measurement: Measurement
  /// Packets received, or packets sent where the case counts those; syncs for `null`; round trips for `wakeup`,
  /// `vale-latency-...` and `pingpong-...`.
  var packets: UInt64
  var seconds: Double
  /// Nil when the measured program does not count its system calls.
  var systemCalls: UInt64?
  /// Set by `wakeup`.
  var wakeup: WakeupTimes?
  /// Set by `vale-module` and `vale-module-each`.
  var vale: ModuleComparison?
  /// Set by `vale-latency-...` and `pingpong-...`.
  var roundTrips: RoundTripTimes?
  /// Set by the cases on interfaces that are offered packets (receive and forward).
  var delivery: Delivery?
  /// Set by the cases on an interface of the machine.
  var machineInterface: MachineInterfaceCounts?

  var nanosecondsPerPacket: Double { seconds * 1e9 / Double(packets) }
  var millionsPerSecond: Double { Double(packets) / seconds / 1e6 }
  var systemCallsPerPacket: Double { systemCalls.map { Double($0) / Double(packets) } ?? .nan }
}

extension Measurement {
  /// A multiple of it is the number of slots in a ring, so that each transmit buffer stays with one flow.
  static var mostFlows: Int { 16 }

  /// The mode of the backend, or the engine of the ports.
  var mode: String {
    name.traffic?.backend.mode ?? (name.isBetweenProcesses ? "host" : "embedded")
  }

  /// Bytes of a frame; 0 when the case moves none, or does not know their length.
  var reportedFrameBytes: Int { name == .null ? 0 : frameBytes }

  /// Adds the description of the measurement to a JSON object.
  func describe(in line: inout JSONLine) {
    line.add("schema", 1)
    line.add("case", name.rawValue)
    line.add("backend", name.backendName)
    line.add("mode", mode)
    line.add("frameBytes", reportedFrameBytes)
    line.add("batch", batch)
    line.add("direction", name.direction)
    if name.hasPayloads { line.add("payload", payload.rawValue) }
    if name.hasFlows { line.add("flows", flows) }
    if let interface { line.add("interface", interface) }
  }
}

/// Wake-up times: half of a round trip, in nanoseconds.
struct WakeupTimes {
  struct Percentiles {
    let p50: Double
    let p99: Double
  }

  let pipe: Percentiles
  let eventfd: Percentiles
  /// The ratio of the pipe's median to the median of eventfd and poll(2): the median over several rounds.
  let ratio: Double
}

/// The built-in learning bridge, measured in the same run.
struct ModuleComparison {
  let nanosecondsPerPacket: Double
  /// The ratio of the time per packet with the module to that with the bridge: the median of pairs.
  let ratio: Double
}
