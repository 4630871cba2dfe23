internal import Foundation

/// What one run reported: one JSON object.
struct Sample: Decodable {
  /// False when it could not be measured; absent in the output of older programs.
  let measured: Bool?
  let reason: String?
  /// Millions of packets a second.
  let mpps: Double?
  /// Packets that came through for each one offered.
  let deliveredRatio: Double?

  /// The rate.
  ///
  /// - Throws: ``CompareError`` when nothing was measured.
  func rate() throws -> Double {
    guard let mpps else { throw CompareError(reason ?? "a run without a rate") }
    return mpps
  }

  /// Runs a program that prints one object.
  ///
  /// - Throws: ``CompareError`` when it cannot be run, or fails without saying why nothing could be
  ///   measured.
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
