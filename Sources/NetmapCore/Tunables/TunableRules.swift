/// The values of a parameter of the kernel module that is an `int`, where netmap sets no limit.
private let anyNumber = Int(Int32.min)...Int(Int32.max)

private typealias Ranges = RegionParameters.Ranges
private let shared = RegionParameters.global
private let least = RegionParameters.Minimums.standard

// The defaults are netmap's, with two exceptions: buf_num, because AF_XDP locks all buffers, and max_bridges, because
// no memory is set aside for switches here.
extension Tunable {
  package var rule: Rule {
    switch self {
    case .verbose: Rule(.none, 0, anyNumber, "netmapd's log has levels: netmapd --log-level")
    case .debug: Rule(.none, 0, anyNumber, "bits of debug builds of the kernel module")
    case .noTimestamp:
      Rule(.nextOpen, 0, anyNumber, "1: rings are stamped only if they ask for it (NR_TIMESTAMP)")
    case .noPendingInterrupt:
      Rule(.none, 1, anyNumber, "every receive sync looks for new packets, as with 1")
    case .transmitRetries:
      Rule(.none, 2, anyNumber, "a thread sends for an interface on a switch until all is sent")
    case .forward:
      Rule(
        .nextOpen, 0, anyNumber,
        "1: released packets pass between wire and host without NR_FORWARD and NS_FORWARD")
    case .adapterMode:
      Rule(
        .nextOpen, 0, 0...2,
        "1: refuse interfaces (EOPNOTSUPP), as no driver has netmap in it; 0, 2: drive them")
    case .genericChecksum:
      Rule(.none, 0, anyNumber, "frames that their sender left unfinished are always completed")
    case .genericMitigation:
      Rule(.none, 100_000, anyNumber, "the kernel decides when packets wake a receiver: ethtool -C")
    case .genericRingSize:
      Rule(
        .nextOpen, 1024, 64...4096, isPowerOfTwo: true,
        "slots of an interface's rings; by default fewer where it has more than 4 queues")
    case .genericRings: Rule(.none, 1, anyNumber, "an interface has as many rings as queues")
    case .genericQueueing: Rule(.none, 1, anyNumber, "no interface gets another qdisc")
    case .guestHeader: Rule(.none, 1, anyNumber, "a parameter of the driver ptnet in guests")
    case .interfaceSize:
      Rule(.nextRegion, shared.interfaceSize, Ranges.interfaceSize, "bytes of a netmap_if, shared")
    case .interfaceCount:
      Rule(
        .nextRegion, shared.interfaceCount, Ranges.interfaceCount,
        "opens of interfaces, and of pipes on them, at a time")
    case .ringSize:
      Rule(
        .nextRegion, shared.ringSize, Ranges.ringSize,
        "bytes of a ring, shared: 256, and 16 for each slot")
    case .ringCount:
      Rule(
        .nextRegion, shared.ringCount, Ranges.ringCount,
        "rings, shared; by default more for a first interface with many")
    case .bufferSize:
      Rule(
        .nextRegion, shared.bufferSize, Ranges.bufferSize, isPowerOfTwo: true,
        "bytes of a packet buffer, shared; AF_XDP takes 2048 and 4096")
    case .bufferCount:
      Rule(
        .nextRegion, shared.bufferCount, Ranges.bufferCount,
        "packet buffers, shared; by default more for a first interface with many slots")
    case .interfaceCurrentSize, .interfaceCurrentCount, .ringCurrentSize, .ringCurrentCount,
      .bufferCurrentSize, .bufferCurrentCount:
      Rule(.readOnly, 0, anyNumber, "what the shared memory has now; 0 while there is none")
    case .privateInterfaceSize:
      Rule(
        .nextOpen, least.interfaceSize, Ranges.interfaceSize, "least bytes of a netmap_if, private")
    case .privateInterfaceCount:
      Rule(
        .nextOpen, least.interfaceCount, Ranges.privateInterfaceCount,
        "least number of opens, private")
    case .privateRingSize:
      Rule(.nextOpen, least.ringSize, Ranges.ringSize, "least bytes of a ring, private")
    case .privateRingCount:
      Rule(.nextOpen, least.ringCount, Ranges.ringCount, "least number of rings, private")
    case .privateBufferSize:
      Rule(
        .nextOpen, least.bufferSize, Ranges.bufferSize, isPowerOfTwo: true,
        "bytes of a packet buffer, private")
    case .privateBufferCount:
      Rule(
        .nextOpen, least.bufferCount, Ranges.bufferCount, "least number of packet buffers, private")
    case .switchBatch:
      Rule(
        .atOnce, Int(SwitchLimits.batch), anyNumber,
        "slots that a switch forwards together; 0 or less: drop all packets of switches")
    case .switchCount:
      Rule(.start, 0, 0...Int(Int32.max), "most switches at a time (then ENOMEM); 0: no limit")
    case .defaultPipes: Rule(.none, 0, anyNumber, "the kernel module ignores it as well")
    case .sinkCount, .sinkDelay:
      Rule(
        .none, self == .sinkCount ? 1 : 100, anyNumber, "there are no sink devices: use a null port"
      )
    }
  }
}
