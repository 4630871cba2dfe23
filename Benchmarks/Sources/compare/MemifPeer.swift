internal import Foundation

/// A running `testpmd-peer memif`, which keeps running and measures on request.
final class MemifPeer {
  /// The configuration of testpmd.
  let description: String
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()

  /// - Throws: ``CompareError`` with the reason when the peer does not start.
  init(_ path: String, _ arguments: [String]) throws {
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw CompareError("no testpmd-peer: build Benchmarks")
    }
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = ["memif"] + arguments
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    let said = Self.line(from: output) ?? "testpmd-peer failed"
    guard said.hasPrefix("ready ") else { throw CompareError(said) }
    description = String(said.dropFirst("ready ".count))
  }

  /// - Returns: One line; nil at the end of the output. The peer prints one line at a time.
  private static func line(from output: Pipe) -> String? {
    var bytes = Data()
    while !bytes.contains(10) {
      let more = output.fileHandleForReading.availableData
      if more.isEmpty { return nil }
      bytes += more
    }
    return String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .newlines)
  }

  /// Measures for a time.
  ///
  /// - Returns: Millions of packets per second.
  func measure(seconds: Double) throws -> Double {
    try input.fileHandleForWriting.write(contentsOf: Data("\(seconds)\n".utf8))
    guard let line = Self.line(from: output) else { throw CompareError("testpmd-peer has ended") }
    guard let rate = Double(line) else { throw CompareError("testpmd-peer says '\(line)'") }
    return rate
  }

  func end() {
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
  }
}
