internal import Foundation

/// The result of one run, from its JSON object.
struct Sample: Decodable {
  /// False when the case could not be measured; absent in the output of older programs.
  let measured: Bool?
  let reason: String?
  /// Millions of packets per second.
  let mpps: Double?
  /// Packets delivered per packet offered.
  let deliveredRatio: Double?
  /// The round trip of a cache line between the measuring CPUs before the run, nanoseconds.
  let cacheLineNs: Double?
  /// Set by `wakeup`, nanoseconds.
  let p50: Double?
  let baselineP50: Double?
  /// Nanoseconds; the baseline is set by `vale-module`.
  let nsPerPacket: Double?
  let baselineNsPerPacket: Double?
  /// Set by `wakeup` and `vale-module`.
  let ratio: Double?
  let cpu: String?
  let cpus: Int?
  let kernel: String?
  let version: String?

  /// The rate in millions of packets per second.
  ///
  /// - Throws: ``CompareError`` when nothing was measured.
  func rate() throws -> Double {
    guard let mpps else { throw CompareError(reason ?? "a run without a rate") }
    return mpps
  }

  /// Runs a program that prints one JSON object.
  ///
  /// - Throws: ``CompareError`` when the program cannot run, or fails without a reason why it could
  ///   not measure.
  static func take(
    from program: String, _ arguments: [String], _ environment: [String: String] = [:]
  ) throws -> Sample {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardOutput = output
    do {
      try process.run()
    } catch {
      throw CompareError("cannot run \(program): \(error.localizedDescription)")
    }
    let text = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    let sample = try? JSONDecoder().decode(Sample.self, from: text)
    guard let sample, process.terminationStatus == 0 || sample.measured == false else {
      throw CompareError("\(program) \(arguments.joined(separator: " ")) failed")
    }
    return sample
  }
}
