/// A goal for interfaces: the minimum ratio to the best peer's figure in a case of `netmap bench`.
struct Goal {
  enum Metric: String {
    /// Millions of packets per second.
    case rate = "mpps"
    /// Packets delivered per packet offered.
    case deliveredRatio
  }

  let name: String
  /// The name in tables for people.
  let description: String
  let metric: Metric
  let limit: Double

  static let all = [
    Goal(name: "xdp-copy-tx", description: "AF_XDP native, send", metric: .rate, limit: 0.95),
    Goal(name: "xdp-copy-rx", description: "AF_XDP native, receive", metric: .rate, limit: 0.9),
    Goal(
      name: "xdp-copy-forward", description: "AF_XDP native, forward", metric: .deliveredRatio,
      limit: 0.95),
    Goal(name: "packet-tx", description: "TPACKET_V3, send", metric: .rate, limit: 0.95),
    Goal(name: "packet-rx", description: "TPACKET_V3, receive", metric: .rate, limit: 0.9),
  ]

  func figure(of sample: Sample) -> Double? {
    metric == .rate ? sample.mpps : sample.deliveredRatio
  }
}

/// A peer program for interfaces, run by `netmap bench --program`.
struct Peer {
  /// `c` or `testpmd`.
  let name: String
  let path: String
}

/// Runs of netmap and its peers, in turns.
struct Rounds {
  let peers: [Peer]
  /// Figures by name, including `netmap`; peers that could not be measured are missing.
  private(set) var figures: [String: [Double]] = [:]
  /// The bursts with which testpmd is measured; one burst after it has been found the faster one.
  private var bursts = [32, 256]
  /// Round trips of a cache line before netmap's runs, nanoseconds.
  private(set) var cacheLine: [Double] = []
  /// Reasons why a program could not be measured, by its name.
  private(set) var reasons: [String: String] = [:]

  init(peers: [Peer]) {
    self.peers = peers
  }

  /// Runs netmap and every peer once.
  ///
  /// - Returns: False when netmap itself could not be measured.
  mutating func add(_ goal: Goal, batch: Int, _ options: Options) throws -> Bool {
    let arguments = [
      "bench", "--case", goal.name, "--batch", String(batch), "--frame-bytes",
      String(options.frameBytes), "--seconds", String(options.seconds), "--json",
    ]
    func run(_ name: String, _ more: [String], burst: Int? = nil) throws -> Double? {
      let environment = burst.map { ["TESTPMD_BURST": String($0)] } ?? [:]
      let sample = try Sample.take(from: options.netmap, arguments + more, environment)
      if name == "netmap", let time = sample.cacheLineNs { cacheLine.append(time) }
      if let figure = goal.figure(of: sample) { return figure }
      reasons[name] = sample.reason ?? "no reason given"
      return nil
    }
    guard let ours = try run("netmap", []) else { return false }
    figures["netmap", default: []].append(ours)
    for peer in peers where reasons[peer.name] == nil {
      var best: (figure: Double, burst: Int)?
      for burst in peer.name == "testpmd" ? bursts : [0] {
        guard let figure = try run(peer.name, ["--program", peer.path], burst: burst) else { break }
        if figure > best?.figure ?? 0 { best = (figure, burst) }
      }
      guard let best else { continue }
      if peer.name == "testpmd" { bursts = [best.burst] }
      figures[peer.name, default: []].append(best.figure)
    }
    return true
  }

  /// The ratio of netmap's figure to a peer's figure, for each pair.
  func ratios(to peer: Peer) -> [Double] {
    zip(figures["netmap"] ?? [], figures[peer.name] ?? []).map { $0 / $1 }
  }

  /// The peer with the highest median; nil when no peer could be measured.
  var best: String? {
    peers.filter { figures[$0.name] != nil }
      .max { median(figures[$0.name] ?? []) < median(figures[$1.name] ?? []) }?.name
  }
}
