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
  static func take(from program: String, _ arguments: [String]) throws -> Sample {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
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
