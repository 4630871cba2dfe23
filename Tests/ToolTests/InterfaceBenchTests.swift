internal import Foundation
internal import NetmapTestSupport
internal import Testing

/// The cases of `netmap bench` on interfaces, which the command creates itself.
@Suite("netmap bench on interfaces", .serialized)
struct InterfaceBenchTests {
  static let cases = ["xdp-copy", "xdp-generic", "packet"].flatMap { backend in
    ["tx", "rx", "forward"].map { "\(backend)-\($0)" }
  }

  /// Runs `netmap bench --json` on a case.
  ///
  /// - Returns: The objects, one for each line; nil, with a message, without the rights to measure.
  private func measure(_ arguments: [String]) throws -> [[String: Any]]? {
    let outcome = try longEnough { seconds in
      try Command.netmap.run(["bench", "--json", "--seconds", seconds] + arguments)
    }
    let results = try outcome.output.split(separator: "\n").map { line in
      let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
      return try #require(object as? [String: Any])
    }
    if results.first?["measured"] as? Bool == false {
      try Requirement.skip("\(results[0]["reason"] ?? "")")
      return nil
    }
    try #require(outcome.status == 0, "\(outcome.errors)")
    return results
  }

  /// Repeats a measurement with more time if nothing was measured: on a busy machine a thread may not run.
  private func longEnough(
    _ measure: (String) throws -> TestProgram.Outcome
  ) throws -> TestProgram.Outcome {
    var outcome = try measure("0.1")
    for seconds in ["1", "5"] where outcome.status != 0 && outcome.errors.contains("see --seconds")
    {
      outcome = try measure(seconds)
    }
    return outcome
  }

  @Test("measures each backend in each direction", arguments: cases)
  func traffic(name: String) throws {
    guard let results = try measure(["--case", name]) else { return }
    #expect(results.compactMap { $0["frameBytes"] as? Int } == [60, 1514])
    for result in results {
      for key in BenchTests.commonKeys { #expect(result[key] != nil, "\(key) is missing") }
      #expect(result["case"] as? String == name)
      #expect(result["batch"] as? Int == 256)
      #expect(name.hasPrefix(try #require(result["backend"] as? String)))
      #expect(name.hasSuffix(try #require(result["direction"] as? String)))
      #expect(try #require(result["mpps"] as? Double) > 0)
      guard !name.hasSuffix("tx") else { continue }
      #expect(try #require(result["offeredMpps"] as? Double) > 0)
      // The two rates are measured at slightly different times.
      #expect((0...1.5).contains(try #require(result["deliveredRatio"] as? Double)))
    }
  }

  @Test("measures an interface on a switch")
  func switched() throws {
    guard let results = try measure(["--case", "vale-nic"]) else { return }
    #expect(results.compactMap { $0["frameBytes"] as? Int } == [60, 1514])
    for result in results {
      for key in BenchTests.commonKeys { #expect(result[key] != nil, "\(key) is missing") }
      #expect(result["backend"] as? String == "vale" && result["mode"] as? String == "copy")
      #expect(try #require(result["mpps"] as? Double) > 0)
    }
  }

  @Test(
    "every offered packet is received or counted as lost",
    arguments: ["xdp-copy-rx", "xdp-generic-rx", "packet-rx"])
  func losses(name: String) throws {
    guard let results = try measure(["--case", name, "--batch", "1", "--frame-bytes", "60"]) else {
      return
    }
    let result = try #require(results.first)
    let offered = try #require(result["offered"] as? Int)
    let places = try ["received", "lostInLink", "lostInPort"].map {
      try #require(result[$0] as? Int)
    }
    #expect(offered > 0)
    #expect(places.reduce(0, +) == offered)
    #expect(result["lostElsewhere"] as? Int == 0)
  }

  @Test("reports cases that it cannot measure, and fails only if they were requested")
  func withoutRights() throws {
    // Runs without the right to make namespaces, even if the tests run as root.
    let setpriv = Command(path: "/usr/bin/setpriv")
    let bench = ["--bounding-set=-sys_admin", Command.netmap.path, "bench", "--seconds", "0.2"]
    guard try setpriv.run(["--bounding-set=-sys_admin", "true"]).status == 0 else {
      // Without capabilities setpriv fails, but then netmap cannot make namespaces either.
      return try checkRefusal(Command.netmap.run(Array(bench.dropFirst(2)) + asked))
    }
    try checkRefusal(setpriv.run(bench + asked))
    let all = try longEnough { seconds in
      try setpriv.run(
        bench.dropLast() + [seconds, "--batch", "32", "--payload", "untouched"])
    }
    #expect(all.status == 0, "\(all.errors)")
    let rows = all.output.split(separator: "\n").filter { $0.contains("not measured: ") }
    // Two frame sizes for each case, and for the interface on a switch; one for each of the two cases of a joined veth.
    #expect(rows.count == 2 * (Self.cases.count + 1) + 2)
    #expect(all.output.contains("\npipe-2t "))
  }

  private let asked = ["--case", "packet-tx"]

  private func checkRefusal(_ outcome: TestProgram.Outcome) {
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("packet-tx"))
    #expect(outcome.output.contains("not measured: "))
    #expect(outcome.output.contains("CAP_SYS_ADMIN"))
  }

  @Test(
    "an invalid --program is a failure, and the message names it",
    arguments: ["exit", "echo nonsense", "echo ready", "echo ready; read line; echo 1 2"])
  func badProgram(script: String) throws {
    let folder = try TemporaryFolder()
    let program = folder.path + "/program"
    try "#!/bin/sh\n\(script)\n".write(toFile: program, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
    let outcome = try Command.netmap.run(
      "bench", "--case", "xdp-copy-rx", "--seconds", "0.05", "--program", program)
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains(program) || outcome.output.contains("not measured: "))
  }

  @Test("measures a --program by the testbed's counters, and by the program's reports")
  func program() throws {
    // Each answer reports 1000 more packets and 10 more system calls.
    let folder = try TemporaryFolder()
    let program = folder.path + "/program"
    let script = """
      #!/bin/sh
      echo ready
      while read line; do n=$((n + 1)); echo ${n}000 ${n}0 0; done
      """
    try script.write(toFile: program, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
    let arguments = ["--case", "xdp-copy-rx", "--frame-bytes", "60", "--program", program]
    guard let result = try measure(arguments)?.first else { return }
    #expect(result["packets"] as? Int == 1000)
    #expect(result["syscallsPerPacket"] as? Double == 0.01)
    #expect(result["received"] as? Int == 3000)
    #expect(try #require(result["offered"] as? Int) > 3000)
  }
}
