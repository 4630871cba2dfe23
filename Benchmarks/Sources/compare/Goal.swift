/// A goal for interfaces: the minimum ratio to the best peer's figure in a case of `netmap bench`.
struct Goal {
  enum Metric: String {
    /// Millions of packets per second.
    case rate = "mpps"
    /// Packets delivered per packet offered.
    case deliveredRatio
  }

  let name: String
  let metric: Metric
  let limit: Double

  static let all = [
    Goal(name: "xdp-copy-tx", metric: .rate, limit: 0.95),
    Goal(name: "xdp-copy-rx", metric: .rate, limit: 0.9),
    Goal(name: "xdp-copy-forward", metric: .deliveredRatio, limit: 0.95),
    Goal(name: "packet-tx", metric: .rate, limit: 0.95),
    Goal(name: "packet-rx", metric: .rate, limit: 0.9),
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
    func run(_ name: String, _ more: [String]) throws {
      if reasons[name] != nil { return }
      let sample = try Sample.take(from: options.netmap, arguments + more)
      if let figure = goal.figure(of: sample) {
        figures[name, default: []].append(figure)
      } else {
        reasons[name] = sample.reason ?? "no reason given"
      }
    }
    try run("netmap", [])
    guard reasons["netmap"] == nil else { return false }
    for peer in peers { try run(peer.name, ["--program", peer.path]) }
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
