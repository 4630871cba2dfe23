internal import Foundation

/// Compares everything with its peers, and prints what README shows: `netmap bench --compare`.
struct FullReport {
  private let options: Options
  /// Whether to measure for a short time, to see that everything works.
  private let isQuick: Bool

  init(_ options: Options, isQuick: Bool) {
    self.options = options
    self.isQuick = isQuick
  }

  func run() throws {
    try printMachine()
    try comparePipes()
    try compareSharedMemory()
    try compareInterfaces()
    try compareCosts()
  }

  private func table(
    _ name: String, _ introduction: String, _ columns: [ComparisonTable.Column]
  ) -> ComparisonTable {
    ComparisonTable(name, introduction, columns, isJSON: options.isJSON)
  }

  private func printMachine() throws {
    let sample = try Sample.take(
      from: options.netmap, ["bench", "--case", "null", "--seconds", "0.1", "--json"])
    let pages = HugePages.isEnough(megabytes: 512) ? "with huge pages" : "no huge pages"
    let text =
      "\(sample.cpu ?? "?"), \(sample.cpus ?? 0) CPUs, Linux \(sample.kernel ?? "?"), \(pages);"
      + " swift-netmap \(sample.version ?? "?"), DPDK \(Self.versionOfDPDK)."
    if options.isJSON {
      var machine = ComparisonTable(
        "machine", "", [.init("description", "")], isJSON: true)
      machine.add([.text(text)])
    } else {
      print(text)
    }
  }

  /// DPDK's version, from the package manager; testpmd prints none.
  private static var versionOfDPDK: String {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/dpkg-query")
    process.arguments = ["-W", "-f", "${Version}", "dpdk-dev"]
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return "of unknown version" }
    let text = String(
      decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return text.isEmpty ? "not installed" : text
  }

  /// Prints the current measurement, if standard error is a terminal.
  private func announce(_ text: String) {
    guard isatty(STDERR_FILENO) != 0 else { return }
    FileHandle.standardError.write(Data("\r\u{1b}[Kmeasuring: \(text)\r".utf8))
  }

  // MARK: A pipe between two threads

  private func comparePipes() throws {
    var table = table(
      "pipe",
      """
      **A pipe between two threads**, against two loops in C: one runs the same protocol on the same rings; the other uses \
      a plain ring for one producer and one consumer, which cannot sleep, swap buffers, serve other processes or survive a \
      bad index. Mpps; medians of \(isQuick ? 21 : 201) rounds in one process, in turns of 5 ms. Touched: all bytes are \
      written and read.
      """,
      [
        .init("frameBytes", "bytes"), .init("batch", "packets per sync"),
        .init("payload", "payload"), .init("mpps", "this package"),
        .init("sameMpps", "same protocol in C"), .init("sameRatio", "ratio"),
        .init("plainMpps", "plain ring in C"), .init("plainRatio", "ratio"),
        .init("cacheLineNs", "cache line, ns"),
      ])
    for frameBytes in [60, 1514] {
      announce("pipe between threads, \(frameBytes) bytes")
      let lines = try Self.lines(
        of: options.comparePipes,
        [
          "--frame-bytes", String(frameBytes), "--payload", "touched", "--payload", "untouched",
          "--pairs", isQuick ? "21" : "201", "--json",
        ])
      for line in lines {
        guard let row = try? JSONDecoder().decode(PipeRow.self, from: Data(line.utf8)) else {
          throw CompareError("compare-pipes says '\(line)'")
        }
        table.add([
          .text(String(row.frameBytes)), .text(String(row.batch)), .text(row.payload),
          .number(row.mpps), .number(row.peerMpps), .ratio(row.ratio), .number(row.plainMpps),
          .ratio(row.plainRatio), row.cacheLineNs.map { .nanoseconds($0) } ?? .missing,
        ])
      }
    }
  }

  private struct PipeRow: Decodable {
    let frameBytes: Int
    let batch: Int
    let payload: String
    let mpps: Double
    let peerMpps: Double
    let ratio: Double
    let plainMpps: Double
    let plainRatio: Double
    let cacheLineNs: Double?
  }

  /// Runs a program, and returns its lines of output.
  private static func lines(of program: String, _ arguments: [String]) throws -> [Substring] {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardOutput = output
    do { try process.run() } catch {
      throw CompareError("cannot run \(program): \(error.localizedDescription)")
    }
    let text = String(
      decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw CompareError("\(program) failed") }
    return text.split(separator: "\n")
  }

  // MARK: Two processes: pipes and switches against memif

  private func compareSharedMemory() throws {
    var table = table(
      "processes",
      """
      **Pipes and VALE switches between two processes**, against DPDK's testpmd over its shared-memory interface memif, in \
      the fastest of its configurations (each role, bursts of 32 and 256). Of this package too the faster of 32 and 256 \
      packets per sync counts. Touched: this package writes and reads all bytes; the ratio is that of touched frames. \
      testpmd writes 42 bytes when it sends, nothing when it forwards, and reads none. Mpps; medians of \
      \(isQuick ? 3 : 21) pairs of 0.3 s.
      """,
      [
        .init("case", ""), .init("frameBytes", "bytes"), .init("flows", "flows"),
        .init("touchedMpps", "touched"), .init("untouchedMpps", "untouched"),
        .init("batch", "packets per sync"), .init("peerMpps", "testpmd"),
        .init("peer", "its configuration"), .init("ratio", "ratio"),
        .init("cacheLineNs", "cache line, ns"),
      ])
    for frameBytes in [60, 1514] {
      announce("pipe and switch between processes, \(frameBytes) bytes")
      for (shape, flows) in [(MemifComparison.Shape.pipe, [nil]), (.forward, [1, 16])] {
        do {
          let comparison = try MemifComparison(
            options, shape, frameBytes: frameBytes, isQuick: isQuick)
          for count in flows {
            table.add(try comparison.row(shape == .pipe ? "pipe" : "switch", flows: count))
          }
        } catch let error as CompareError {
          table.note("Not measured, \(shape.rawValue) of \(frameBytes) bytes: \(error).")
        }
      }
    }
  }

  // MARK: Interfaces

  private func compareInterfaces() throws {
    var table = table(
      "interfaces",
      """
      **Interfaces**: veth pairs, 256 packets per sync, against bare system calls in C (`Benchmarks/Sources/\
      interface-reference`) and testpmd with `net_af_xdp` (`busy_budget=0`) and `net_af_packet`, with the faster of bursts \
      of 32 and 256. Mpps, or delivered packets per offered packet when forwarding; medians of \(isQuick ? 1 : 7) pairs of \
      0.5 s. The kernel uses nearly all of that time.
      """,
      [
        .init("case", ""), .init("frameBytes", "bytes"), .init("figure", "this package"),
        .init("cFigure", "C"), .init("cRatio", "ratio"), .init("testpmdFigure", "testpmd"),
        .init("testpmdRatio", "ratio"), .init("cacheLineNs", "cache line, ns"),
      ])
    var settings = options
    settings.seconds = 0.5
    if isQuick { (settings.pairs, settings.seconds) = (1, 0.2) }
    for goal in Goal.all {
      for frameBytes in [60, 1514] {
        announce("\(goal.description), \(frameBytes) bytes")
        settings.frameBytes = frameBytes
        var rounds = Rounds(peers: options.peers)
        for _ in 0..<settings.pairs {
          guard try rounds.add(goal, batch: 256, settings) else {
            return table.note("Not measured: \(rounds.reasons["netmap"] ?? "no reason given").")
          }
        }
        let peers: [ComparisonTable.Cell] = options.peers.flatMap { peer in
          rounds.figures[peer.name].map {
            [.number(median($0)), .ratio(median(rounds.ratios(to: peer)))]
          } ?? [.missing, .missing]
        }
        table.add(
          [
            .text(goal.description), .text(String(frameBytes)),
            .number(median(rounds.figures["netmap"] ?? [])),
          ] + peers + [
            rounds.cacheLine.isEmpty ? .missing : .nanoseconds(median(rounds.cacheLine))
          ])
      }
    }
  }

  // MARK: Costs that do not depend on the rate

  private func compareCosts() throws {
    var table = table(
      "costs",
      """
      **Other costs**: waking a sleeping thread, against eventfd(2) and poll(2); the time per 60-byte packet on a switch with a \
      learning bridge that is a module, against the built-in bridge. Nanoseconds; the ratios are medians of pairs.
      """,
      [
        .init("case", ""), .init("batch", "packets per sync"), .init("ns", "this package"),
        .init("baselineNs", "baseline"), .init("ratio", "ratio"),
        .init("cacheLineNs", "cache line, ns"),
      ])
    announce("wake-ups and modules")
    let seconds = isQuick ? "0.3" : "2"
    func cell(_ time: Double?) -> ComparisonTable.Cell { time.map { .nanoseconds($0) } ?? .missing }
    func add(_ name: String, _ batch: Int?, _ sample: Sample) {
      let isWakeup = batch == nil
      table.add([
        .text(name), batch.map { .text(String($0)) } ?? .missing,
        (isWakeup ? sample.p50 : sample.nsPerPacket).map { .number($0) } ?? .missing,
        (isWakeup ? sample.baselineP50 : sample.baselineNsPerPacket).map { .number($0) }
          ?? .missing,
        sample.ratio.map { .ratio($0) } ?? .missing, cell(sample.cacheLineNs),
      ])
    }
    let wakeup = ["bench", "--case", "wakeup", "--seconds", seconds, "--json"]
    add("wake-up", nil, try Sample.take(from: options.netmap, wakeup))
    for (name, description) in [
      ("vale-module", "module that decides by addresses"),
      ("vale-module-each", "module that sees every packet"),
    ] {
      for batch in [1, 256] {
        add(
          description, batch,
          try Sample.take(
            from: options.netmap,
            [
              "bench", "--case", name, "--batch", String(batch), "--frame-bytes", "60", "--seconds",
              seconds, "--json",
            ]))
      }
    }
  }
}
