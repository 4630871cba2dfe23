internal import Foundation
internal import NetmapTestSupport
internal import Testing

/// What `netmap bench` prints about several runs.
@Suite("netmap bench: --repeat and --csv", .serialized)
struct BenchOutputTests {
  private let short = [
    "bench", "--case", "pipe-1t", "--case", "null", "--batch", "32", "--payload", "untouched",
    "--packets", "1000",
  ]

  @Test("--repeat prints one object per measurement, with statistics of every number")
  func repeated() throws {
    let outcome = try Command.netmap.run(short + ["--repeat", "3", "--json"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    let results = try outcome.output.split(separator: "\n").map { line in
      let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
      return try #require(object as? [String: Any])
    }
    #expect(results.compactMap { $0["case"] as? String } == ["pipe-1t", "null"])
    for result in results {
      for key in BenchTests.commonKeys { #expect(result[key] != nil, "\(key) is missing") }
      #expect(result["runs"] as? Int == 3)
      #expect(result["packets"] as? Int == 1000)
      let disturbed = try #require(result["disturbedRuns"] as? Int)
      #expect((0...3).contains(disturbed))
      #expect(result["disturbed"] as? Bool == (disturbed > 0))
      #expect((result["disturbance"] != nil) == (disturbed > 0))
      let statistics = try #require(result["statistics"] as? [String: [String: Any]])
      for key in ["mpps", "nsPerPacket", "seconds", "packets"] {
        let values = try ["min", "median", "max", "spreadPercent"].map { name in
          try #require(statistics[key]?[name] as? Double, "\(key) \(name)")
        }
        #expect(values[0] <= values[1] && values[1] <= values[2] && values[3] >= 0, "\(key)")
      }
    }
  }

  @Test("--repeat prints rows of medians, minima, maxima and spreads")
  func repeatedTable() throws {
    let outcome = try Command.netmap.run(short + ["--repeat", "2"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    let lines = outcome.output.split(separator: "\n")
    for name in ["pipe-1t", "null"] {
      let row = try #require(lines.firstIndex { $0.hasPrefix("\(name) ") })
      try #require(lines.count > row + 3)
      #expect(lines[row + 1].hasPrefix("  minimum "))
      #expect(lines[row + 2].hasPrefix("  maximum "))
      #expect(lines[row + 3].hasPrefix("  spread, % "))
    }
    #expect(lines.count(where: { $0.contains(" runs, ") }) == 2)
  }

  @Test("--csv writes a header, and a line per run and number, in the order of the runs")
  func standardOutput() throws {
    let outcome = try Command.netmap.run(short + ["--repeat", "2", "--csv", "-"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    let lines = outcome.output.split(separator: "\n").map {
      $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }
    #expect(
      lines.first == [
        "case", "backend", "mode", "direction", "frameBytes", "batch", "payload", "flows",
        "interface",
        "metric", "unit", "value", "run", "time", "disturbed",
      ])
    let rates = lines.filter { $0.count == 15 && $0[9] == "mpps" }
    #expect(rates.map { $0[0] } == ["pipe-1t", "null", "pipe-1t", "null"])
    #expect(rates.map { $0[12] } == ["1", "1", "2", "2"])
    #expect(rates.allSatisfy { (Double($0[11]) ?? 0) > 0 })
    #expect(rates.allSatisfy { $0[14] == "true" || $0[14] == "false" })
    #expect(lines.allSatisfy { $0.count == 15 })
    #expect(Set(lines.dropFirst().map { $0[9] }).contains("cacheLineNs"))
  }

  @Test("--csv writes a file next to the table")
  func file() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/runs.csv"
    try "old contents\n".write(toFile: path, atomically: true, encoding: .utf8)
    let outcome = try Command.netmap.run(short + ["--csv", path])
    try #require(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.output.contains("\npipe-1t "))
    let text = try String(contentsOfFile: path, encoding: .utf8)
    #expect(text.hasPrefix("case,backend,"))
    #expect(text.contains("\nnull,null,embedded,tx,0,"))
  }

  @Test("a CSV file that cannot be written is a failure that names it")
  func unwritable() throws {
    let outcome = try Command.netmap.run(short + ["--csv", "/nonexistent/runs.csv"])
    #expect(outcome.status == 1)
    #expect(outcome.output == "")
    #expect(outcome.errors.contains("/nonexistent/runs.csv: No such file or directory"))
  }

  @Test("--plan multiplies its times by the number of runs")
  func plan() throws {
    func total(_ more: [String]) throws -> Double {
      let outcome = try Command.netmap.run(["bench", "--case", "null", "--plan"] + more)
      let words = try #require(outcome.output.split(separator: "\n").last?.split(separator: " "))
      #expect(words.first == "1")
      return try #require(Double(words[words.count - 2]))
    }
    let one = try total([])
    let ten = try total(["--repeat", "10"])
    #expect(abs(ten - 10 * one) < 1)
  }
}
