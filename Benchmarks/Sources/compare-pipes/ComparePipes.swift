internal import Foundation
internal import Netmap
internal import PipeReference

/// Compares a pipe between two threads with two loops in C, in alternate turns of some milliseconds.
///
/// One C loop implements the same protocol on rings of the same layout. The other one uses a plain ring, which has
/// none of netmap's properties.
///
/// The placement of a virtual machine's CPUs on its host changes the speed of communication between them
/// tenfold, several times per second. Only turns within a few milliseconds of each other see the same machine.
/// So all loops run in one process, on the same two CPUs, one after the other; a round is one turn of each.
///
/// The physical pages of a pipe also affect its speed for its whole lifetime, so the program makes new pipes
/// after some rounds.
@main
struct ComparePipes {
  /// Number of rounds measured with the same pipes.
  private static let roundsPerTestbed = 10

  static func main() {
    do {
      let options = try PairOptions(CommandLine.arguments.dropFirst())
      var passes = true
      if !options.isJSON { print(Rounds.header) }
      for frameBytes in options.frameSizes {
        for isTouched in options.payloads {
          for batch in options.batches {
            var rounds = Rounds(batch: batch, frameBytes: frameBytes, isTouched: isTouched)
            while rounds.count < options.pairs {
              let testbed = try Testbed(cpus: options.cpus)
              for _ in 0..<min(Self.roundsPerTestbed, options.pairs - rounds.count) {
                try rounds.add(testbed, options.seconds)
              }
              rounds.probe(options.cpus)
            }
            passes = rounds.report(options) && passes
          }
        }
      }
      guard passes else { exit(1) }
    } catch let error as UsageError {
      FileHandle.standardError.write(Data("compare-pipes: \(error)\n\(PairOptions.usage)\n".utf8))
      exit(64)
    } catch {
      FileHandle.standardError.write(Data("compare-pipes: \(error)\n".utf8))
      exit(1)
    }
  }
}
