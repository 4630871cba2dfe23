/// The pairs of `netmap bench` and of testpmd over memif, in the fastest configuration of each.
struct MemifComparison {
  enum Shape: String {
    case pipe, forward
  }

  private let options: Options
  private let shape: Shape
  private let frameBytes: Int
  private let pairs: Int
  /// The arguments of `testpmd-peer memif` for the fastest configuration.
  private let configuration: [String]

  private static let batches = [32, 256]

  /// Finds testpmd's fastest configuration.
  ///
  /// - Throws: ``CompareError`` when no testpmd can be measured.
  init(_ options: Options, _ shape: Shape, frameBytes: Int, isQuick: Bool) throws {
    self.options = options
    self.shape = shape
    self.frameBytes = frameBytes
    pairs = isQuick ? 3 : options.targetPairs
    let roles = shape == .pipe ? ["client", "server"] : ["client"]
    var best: (rate: Double, configuration: [String])?
    for role in roles {
      for burst in Self.batches {
        let arguments = [
          shape.rawValue, "--sender", role, "--burst", String(burst), "--frame-bytes",
          String(frameBytes),
        ]
        let peer = try MemifPeer(options.memifPeer, arguments)
        defer { peer.end() }
        let rates = try (0..<3).map { _ in try peer.measure(seconds: options.targetSeconds) }
        if median(rates) > best?.rate ?? 0 { best = (median(rates), arguments) }
      }
    }
    guard let best else { throw CompareError("testpmd moved no packet") }
    configuration = best.configuration
  }

  /// Measures the pairs, and describes them as a row of the report.
  ///
  /// - Parameters:
  ///   - name: The first cell.
  ///   - flows: Flows on a switch; nil for a pipe.
  /// - Returns: The cells of the row.
  /// - Throws: ``CompareError`` when a run fails.
  func row(_ name: String, flows: Int?) throws -> [ComparisonTable.Cell] {
    let batch = try fastestBatch(flows)
    let peer = try MemifPeer(options.memifPeer, configuration)
    defer { peer.end() }
    var (touched, untouched, theirs): ([Double], [Double], [Double]) = ([], [], [])
    var cacheLine: [Double] = []
    for _ in 0..<pairs {
      let sample = try measure(batch, flows, "touched")
      touched.append(try sample.rate())
      if let time = sample.cacheLineNs { cacheLine.append(time) }
      theirs.append(try peer.measure(seconds: options.targetSeconds))
      untouched.append(try measure(batch, flows, "untouched").rate())
    }
    return [
      .text(name), .text(String(frameBytes)), flows.map { .text(String($0)) } ?? .missing,
      .number(median(touched)), .number(median(untouched)), .text(String(batch)),
      .number(median(theirs)), .text(peer.description),
      .ratio(median(zip(touched, theirs).map { $0 / $1 })),
      cacheLine.isEmpty ? .missing : .nanoseconds(median(cacheLine)),
    ]
  }

  private func fastestBatch(_ flows: Int?) throws -> Int {
    let rates = try Self.batches.map { batch in
      try median((0..<3).map { _ in try measure(batch, flows, "touched").rate() })
    }
    return rates[0] > rates[1] ? Self.batches[0] : Self.batches[1]
  }

  private func measure(_ batch: Int, _ flows: Int?, _ payload: String) throws -> Sample {
    try Sample.take(
      from: options.netmap,
      [
        "bench", "--case", shape == .pipe ? "pipe-2p" : "vale-2p", "--batch", String(batch),
        "--frame-bytes", String(frameBytes), "--payload", payload, "--seconds",
        String(options.targetSeconds), "--json",
      ] + (flows.map { ["--flows", String($0)] } ?? []))
  }
}
