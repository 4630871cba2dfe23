internal import Foundation

/// Measures everything that has a committed limit, prints each figure with its limit, and fails if
/// one is exceeded.
@main
struct CheckLimits {
  static let usage = """
    usage: check-limits --netmap PATH --limits FILE [--smoke] [--pairs N] [--seconds S]

    Checks instructions and allocations for each packet, the speed against the C programs
    pipe-reference and interface-reference and against DPDK, what switches and pipes between processes
    reach, and wake-ups against eventfd and poll.
    --smoke takes only the counts, which do not depend on how busy the machine is, and one quick run
    of 'netmap bench'.
    """

  static func main() {
    do {
      let options = try Options(CommandLine.arguments.dropFirst())
      let limits = try JSONDecoder().decode(
        Limits.self, from: try Data(contentsOf: URL(fileURLWithPath: options.limits)))
      var sheet = Sheet()
      try countMallocs(limits, &sheet)
      try countInstructions(limits, &sheet)
      if options.isSmoke {
        sheet.note("netmap bench --quick")
        try Program(options.netmap).runShowingOutput(["bench", "--quick"])
      } else {
        try measureWakeup(options, limits, &sheet)
        try compareWithC(options, limits, &sheet)
      }
      exit(sheet.finish() ? 0 : 1)
    } catch let error as UsageError {
      printError("check-limits: \(error)\n\(usage)")
      exit(64)
    } catch {
      printError("check-limits: \(error)")
      exit(1)
    }
  }

  static func countMallocs(_ limits: Limits, _ sheet: inout Sheet) throws {
    let packets = 256_000
    struct Count: Decodable { let mallocCalls: Int? }
    for payload in ["touched", "vale", "module"] {
      let output = try Program.beside("fixed-work").run(
        [String(packets), "256", payload],
        environment: ["LD_PRELOAD": Program.folder + "/libmalloc-counter.so"])
      guard let calls = try JSONDecoder().decode(Count.self, from: output).mallocCalls else {
        throw CheckError("the malloc counter was not loaded")
      }
      sheet.add(
        "mallocs per packet, \(payload)", Double(calls) / Double(packets),
        atMost: limits.mallocsPerPacket)
    }
  }

  /// Counts instructions with callgrind. What the machine does besides changes the counts by some in a thousand.
  static func countInstructions(_ limits: Limits, _ sheet: inout Sheet) throws {
    guard let valgrind = Program.find("valgrind"), let strip = Program.find("strip") else {
      return sheet.notMeasured("instructions per packet", "valgrind or strip is not installed")
    }
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "netmap-check-\(getpid())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    // Without debug sections: valgrind 3.19 cannot read those of Swift 6.3.
    let copy = folder.appendingPathComponent("fixed-work").path
    _ = try strip.run(["--strip-debug", "-o", copy, Program.beside("fixed-work").path])

    func instructions(_ packets: Int, _ batch: Int, _ payload: String) throws -> Double {
      let profile = folder.appendingPathComponent("profile").path
      _ = try valgrind.run([
        "--tool=callgrind", "--callgrind-out-file=\(profile)", copy, String(packets),
        String(batch), payload,
      ])
      let text = try String(contentsOfFile: profile, encoding: .utf8)
      return try InstructionProfile(text).count
    }
    for limit in limits.instructionsPerPacket {
      // The same number of syncs each time, so that all counts are equally exact.
      let packets = 10_000 * limit.batch
      let whole = try instructions(packets, limit.batch, limit.payload)
      let empty = try instructions(0, limit.batch, limit.payload)
      sheet.add(
        "instructions per packet, batch \(limit.batch), \(limit.payload)",
        (whole - empty) / Double(packets), atMost: limit.limit)
    }
  }

  static func measureWakeup(_ options: Options, _ limits: Limits, _ sheet: inout Sheet) throws {
    struct Wakeup: Decodable { let ratio: Double }
    var ratios: [Double] = []
    for _ in 0..<5 {
      let output = try Program(options.netmap).run(["bench", "--case", "wakeup", "--json"])
      ratios.append(try JSONDecoder().decode(Wakeup.self, from: output).ratio)
    }
    sheet.add(
      "wake-up by pipe / by eventfd and poll, median of 5", ratios.sorted()[2],
      atMost: limits.wakeupRatio)
  }

  static func compareWithC(_ options: Options, _ limits: Limits, _ sheet: inout Sheet) throws {
    sheet.note("pipes between two threads against C")
    do {
      try Program.beside("compare-pipes").runShowingOutput([
        "--threshold", String(limits.ratioToC),
      ])
    } catch {
      sheet.fail("speed against C")
    }
    sheet.note("netmap bench on interfaces against C and DPDK, \(options.pairs) pairs each")
    do {
      try Program.beside("compare").runShowingOutput([
        "--interfaces", "--netmap", options.netmap, "--pairs", String(options.pairs), "--seconds",
        String(options.seconds),
      ])
    } catch {
      sheet.fail("speed on interfaces")
    }
    sheet.note("pipes between processes, and switches: against DPDK's memif, memcpy and each other")
    do {
      try Program.beside("compare").runShowingOutput(["--targets", "--netmap", options.netmap])
    } catch {
      sheet.fail("speed of pipes between processes and of switches")
    }
  }
}

/// The committed limits.
struct Limits: Decodable {
  struct Instructions: Decodable {
    let batch: Int
    let payload: String
    let limit: Double
  }

  /// Instructions for sending and receiving together, including syncs and excluding setup.
  let instructionsPerPacket: [Instructions]
  let mallocsPerPacket: Double
  /// Limit of the ratio of the pipe's median wake-up to that of eventfd and poll.
  let wakeupRatio: Double
  /// Limit of the ratio of Swift's packets per second to the C program's.
  let ratioToC: Double
}

func printError(_ text: String) {
  FileHandle.standardError.write(Data((text + "\n").utf8))
}
