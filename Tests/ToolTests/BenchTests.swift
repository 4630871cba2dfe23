internal import Foundation
internal import NetmapTestSupport
internal import Testing

// Few packets, because a debug build is slow; one measurement at a time, because two would compete for
// CPUs.
@Suite("netmap bench", .serialized)
struct BenchTests {
  static let commonKeys = [
    "schema", "case", "backend", "mode", "frameBytes", "batch", "direction", "mpps", "nsPerPacket",
    "measured", "syscallsPerPacket", "packets", "seconds",
    "loadAverage", "stealPercent", "otherCPUPercent", "involuntarySwitches", "cacheLineNs", "time",
    "runs", "disturbedRuns", "disturbed", "kernel", "cpu", "cpus", "build", "version",
  ]

  static let valeCases = [
    "vale-1t", "vale-2t", "vale-2p", "vale-2t-252", "vale-broadcast", "vale-many", "vale-unread",
    "vale-jumbo", "vale-module", "vale-module-each",
  ]

  @Test(
    "measures switches, and the memory copies that they need", arguments: ["memcpy"] + valeCases)
  func vale(name: String) throws {
    let results = try measure("--case \(name) --seconds 0.05 --frame-bytes 60 --batch 8")
    let hasPayloads =
      !["memcpy", "vale-unread", "vale-jumbo"].contains(name) && !name.contains("module")
    #expect(
      results.map { $0["payload"] as? String } == (hasPayloads ? ["untouched", "touched"] : [nil]))
    for result in results {
      for key in Self.commonKeys { #expect(result[key] != nil, "\(key) is missing") }
      #expect(result["backend"] as? String == (name == "memcpy" ? "memory" : "vale"))
      #expect(result["frameBytes"] as? Int == (name == "vale-jumbo" ? 65_536 : 60))
      #expect(try #require(result["packets"] as? Int) > 0)
    }
  }

  @Test("--flows and --frame-bytes apply to switches, --frame-bytes also to pipes")
  func flowsAndLengths() throws {
    let onSwitch = try measure(
      "--case vale-1t --seconds 0.05 --batch 8 --payload touched --frame-bytes 61 --flows 1 --flows 16"
    )
    #expect(onSwitch.map { $0["flows"] as? Int } == [1, 16])
    #expect(onSwitch.allSatisfy { $0["frameBytes"] as? Int == 61 && $0["packets"] as? Int != 0 })
    let pipe = try measure(
      "--case pipe-1t --packets 3000 --batch 8 --payload touched --frame-bytes 60 --frame-bytes 1514"
    )
    #expect(pipe.map { $0["frameBytes"] as? Int } == [60, 1514])
    #expect(pipe.allSatisfy { $0["flows"] == nil && $0["packets"] as? Int == 3000 })
  }

  @Test("--compare names the folder in which the peers are missing, and how to build them")
  func comparisonWithoutPeers() throws {
    let outcome = try Command.netmap.run("bench", "--compare", "--peers", "/nonexistent")
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("/nonexistent") && outcome.errors.contains("make bench-peers"))
  }

  /// Runs `netmap bench --json`.
  ///
  /// Repeats a measurement with more time if the command asks for it: on a busy machine a thread may not run.
  ///
  /// - Returns: The objects, one for each line.
  private func measure(_ arguments: String) throws -> [[String: Any]] {
    var words = ["bench", "--json"] + arguments.split(separator: " ").map(String.init)
    var outcome = try Command.netmap.run(words)
    if let option = words.firstIndex(of: "--seconds") {
      for seconds in ["1", "5"]
      where outcome.status != 0 && outcome.errors.contains("see --seconds") {
        words[option + 1] = seconds
        outcome = try Command.netmap.run(words)
      }
    }
    try #require(outcome.status == 0, "\(outcome.errors)")
    return try outcome.output.split(separator: "\n").map { line in
      let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
      return try #require(object as? [String: Any])
    }
  }

  @Test("--list names the cases")
  func list() throws {
    let outcome = try Command.netmap.run("bench", "--list")
    #expect(outcome.status == 0)
    let names = outcome.output.split(separator: "\n").map(String.init)
    var expected = ["pipe-1t", "pipe-2t", "pipe-2p", "isolated-2p"]
    expected += ["veth-2p", "veth-isolated-2p", "null", "wakeup", "memcpy"]
    expected += Self.valeCases
    expected += [
      "vale-nic", "vale-latency-spin", "vale-latency-sleep", "pingpong-spin", "pingpong-sleep",
    ]
    expected += InterfaceBenchTests.cases
    expected += MachineInterfaceTests.zeroCopyCases
    #expect(names == expected)
  }

  @Test(
    "measures round trips between two processes",
    arguments: ["pingpong-spin", "pingpong-sleep", "vale-latency-spin", "vale-latency-sleep"])
  func roundTrips(name: String) throws {
    let result = try #require(try measure("--case \(name) --packets 500").first)
    for key in Self.commonKeys { #expect(result[key] != nil, "\(key) is missing") }
    #expect(result["mode"] as? String == "host")
    #expect(result["packets"] as? Int == 500)
    let times = try ["p50", "p99", "p999", "max"].map { try #require(result[$0] as? Double) }
    #expect(times[0] > 0 && times == times.sorted(), "\(times)")
    // Spinning makes no system call; sleeping makes a few.
    let calls = try #require(result["syscallsPerPacket"] as? Double)
    #expect(name.hasSuffix("-spin") ? calls == 0 : calls < 4, "\(calls)")
  }

  @Test("measures pipes", arguments: ["pipe-1t", "pipe-2t", "pipe-2p", "isolated-2p"])
  func pipes(name: String) throws {
    let results = try measure("--case \(name) --batch 1 --batch 32 --packets 3000")
    #expect(results.count == 4)
    for result in results {
      for key in Self.commonKeys + ["payload"] { #expect(result[key] != nil, "\(key) is missing") }
      #expect(result["case"] as? String == name)
      #expect(result["backend"] as? String == "pipe")
      #expect(result["mode"] as? String == (name.hasSuffix("-2p") ? "host" : "embedded"))
      #expect(result["packets"] as? Int == 3000)
      #expect(result["frameBytes"] as? Int == 60)
      #expect(try #require(result["mpps"] as? Double) > 0)
    }
    #expect(results.compactMap { $0["batch"] as? Int } == [1, 32, 1, 32])
    #expect(
      results.compactMap { $0["payload"] as? String }
        == ["untouched", "untouched", "touched", "touched"])
  }

  @Test("--quick plans every case, for less than 30 s")
  func quickPlan() throws {
    let outcome = try Command.netmap.run("bench", "--quick", "--plan")
    #expect(outcome.status == 0)
    let lines = outcome.output.split(separator: "\n")
    let names = Set(lines.dropLast().compactMap { $0.split(separator: " ").first.map(String.init) })
    let cases = try Command.netmap.run("bench", "--list").output.split(separator: "\n")
    #expect(names.union(MachineInterfaceTests.zeroCopyCases) == Set(cases.map(String.init)))
    #expect(names.isDisjoint(with: MachineInterfaceTests.zeroCopyCases))
    let total = try #require(lines.last?.split(separator: " "))
    #expect(total.first.flatMap { Int($0) } == lines.count - 1)
    #expect(try #require(Double(total[total.count - 2])) < 30)
  }

  @Test("--seconds sets the duration")
  func seconds() throws {
    let results = try measure("--case pipe-1t --batch 256 --payload touched --seconds 0.05")
    let result = try #require(results.first)
    #expect(results.count == 1)
    #expect((0.04...5).contains(try #require(result["seconds"] as? Double)))
    #expect(result["syscallsPerPacket"] as? Double == 0)
  }

  @Test("measures syncs of a null port")
  func null() throws {
    let result = try #require(try measure("--case null --packets 5000").first)
    for key in Self.commonKeys { #expect(result[key] != nil, "\(key) is missing") }
    #expect(result["backend"] as? String == "null")
    #expect(result["packets"] as? Int == 5000)
    #expect(result["direction"] as? String == "tx")
  }

  @Test("measures wake-ups")
  func wakeup() throws {
    let result = try #require(try measure("--case wakeup --packets 57").first)
    for key in Self.commonKeys + ["p50", "p99", "baselineP50", "baselineP99", "ratio"] {
      #expect(result[key] != nil, "\(key) is missing")
    }
    #expect(result["packets"] as? Int == 57)
    #expect(try #require(result["p99"] as? Double) >= #require(result["p50"] as? Double))
    #expect(try #require(result["ratio"] as? Double) > 0)
  }

  @Test("--verify checks the number of every packet", arguments: [1, 7, 256, 1023])
  func verify(batch: Int) throws {
    // A veth takes rights, and a netmapd that joins its ends.
    let results = try measure("--batch \(batch) --packets 20000 --verify").filter {
      ($0["case"] as? String)?.hasPrefix("veth") == false
    }
    #expect(
      results.compactMap { $0["case"] as? String }
        == ["pipe-1t", "pipe-2t", "pipe-2p", "isolated-2p"])
    for result in results {
      #expect(result["packets"] as? Int == 20000)
      #expect(result["payload"] as? String == "verified")
    }
  }

  @Test("prints a table that states kernel, CPU and build")
  func table() throws {
    let outcome = try Command.netmap.run(
      "bench", "--case", "pipe-1t", "--batch", "32", "--packets", "1000")
    #expect(outcome.status == 0)
    let lines = outcome.output.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.first?.contains("Linux ") == true)
    #expect(lines.first?.contains(" build") == true)
    let rows = lines.filter { $0.hasPrefix("pipe-1t") || $0.hasPrefix("case") }
    #expect(rows.count == 3)
  }

  @Test(
    "refuses bad arguments with status 64 and the name of the option",
    arguments: [
      ["--case", "nonsense"], ["--batch", "0"], ["--batch", "1024"], ["--payload", "verified"],
      ["--seconds", "0"], ["--packets", "0"], ["--packets", "-1"], ["--cpus", "0"],
      ["--cpus", "0,99999"], ["--packets", "1", "--seconds", "1"], ["--quick", "--seconds", "1"],
      ["--verify", "--payload", "touched"], ["--verify", "--case", "null"], ["--nonsense"],
      ["--frame-bytes", "59"], ["--frame-bytes", "1515"],
      ["--packets", "1", "--case", "packet-tx"], ["--program", "/bin/true", "--case", "null"],
      ["--flows", "0"], ["--flows", "17"], ["--peers", "/tmp"], ["--compare", "--case", "null"],
      ["--verify", "--case", "xdp-copy-rx"], ["--repeat", "0"], ["--csv", "-", "--json"],
      ["--force"], ["--interface", "lo"], ["--interface", "lo", "--case", "vale-2t"],
      ["--interface", "no-such", "--case", "packet-rx"],
      ["--interface", "lo", "--case", "packet-forward"], ["--case", "xdp-zerocopy-rx"],
    ])
  func badArguments(arguments: [String]) throws {
    let outcome = try Command.netmap.run(["bench"] + arguments)
    #expect(outcome.status == 64)
    #expect(outcome.output == "")
    #expect(outcome.errors.contains(arguments[0]))
  }
}
