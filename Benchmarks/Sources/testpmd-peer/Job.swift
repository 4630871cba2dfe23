internal import Foundation

/// The job that `netmap bench --program` requests, and the testpmd options for it.
struct Job {
  private(set) var backend = ""
  private(set) var mode = ""
  private(set) var direction = ""
  private var batch = 0
  private var frameBytes = ""
  private var cpu = 0
  private var interfaces: [String] = []

  init(_ arguments: some Sequence<String>) throws {
    var rest = Array(arguments)[...]
    while let name = rest.popFirst() {
      guard let value = rest.popFirst() else { throw PeerError("\(name) lacks its value") }
      switch name {
      case "--backend": backend = value
      case "--mode": mode = value
      case "--direction": direction = value
      case "--batch": batch = try Self.number(name, value)
      case "--frame-bytes": frameBytes = value
      case "--cpu": cpu = try Self.number(name, value)
      case "--interface": interfaces.append(value)
      default: throw PeerError("\(name) is not known; see 'netmap bench --program'")
      }
    }
    guard interfaces.count == (direction == "forward" ? 2 : 1) else {
      throw PeerError("--direction \(direction) with \(interfaces.count) interfaces")
    }
  }

  private static func number(_ name: String, _ value: String) throws -> Int {
    guard let number = Int(value) else { throw PeerError("\(name) \(value) is not a number") }
    return number
  }

  /// The reason why testpmd cannot do the job; nil when it can.
  var whyNot: String? {
    if mode == "generic" { return "net_af_xdp has no generic mode" }
    return nil
  }

  /// The port whose counters show the work.
  var countedPort: Int { direction == "forward" ? 1 : 0 }

  /// testpmd's options: one core moves packets, another one waits for commands.
  var arguments: [String] {
    let main = cpu == 0 ? 1 : 0
    // net_af_xdp does not raise the kernel's budget of 32 frames per call. So a smaller burst than netmap's batch can
    // be testpmd's best one.
    let chosen = ProcessInfo.processInfo.environment["TESTPMD_BURST"].flatMap { Int($0) }
    let burst = min(batch, chosen ?? 32)
    let devices = interfaces.enumerated().flatMap { number, interface in
      let device =
        backend == "xdp"
        // Without the driver's own busy polling, which is slower on a veth.
        ? "net_af_xdp\(number),iface=\(interface),busy_budget=0"
        : "net_af_packet\(number),iface=\(interface),qdisc_bypass=1"
      return ["--vdev", device]
    }
    let forwarding = ["tx": "txonly", "rx": "rxonly"][direction] ?? "io"
    return HugePages.options(megabytes: 512) + [
      "--no-shconf", "--no-pci", "--no-telemetry", "-l", "\(main),\(cpu)", "--main-lcore",
      "\(main)",
    ] + devices + [
      "--", "-i", "--nb-cores=1", "--total-num-mbufs=16384", "--forward-mode=\(forwarding)",
      "--txpkts=\(frameBytes)", "--burst=\(burst)",
    ]
  }
}
