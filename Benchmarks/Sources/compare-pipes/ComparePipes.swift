internal import Foundation
internal import Netmap
internal import PipeReference

/// Compares a pipe between two threads with the same loop in C, in alternate turns of some milliseconds.
///
/// The placement of a virtual machine's CPUs on its host changes the speed of communication between them
/// tenfold, several times per second. Only turns within a few milliseconds of each other see the same machine.
/// So both loops run in one process, on the same two CPUs, one after the other; a pair is one turn of each.
///
/// The physical pages of a pipe also affect its speed for its whole lifetime, so the program makes new pipes
/// after some pairs.
@main
struct ComparePipes {
  /// Number of pairs measured with the same two pipes.
  private static let pairsPerTestbed = 10

  static func main() {
    do {
      let options = try PairOptions(CommandLine.arguments.dropFirst())
      var passes = true
      if !options.isJSON {
        print("pipe-2t: batch  payload     Swift Mpps   C Mpps  ratio   quartiles of the pairs")
      }
      for isTouched in options.payloads {
        for batch in options.batches {
          var pairs = Pairs(batch: batch, isTouched: isTouched)
          while pairs.count < options.pairs {
            let testbed = try Testbed(cpus: options.cpus)
            for _ in 0..<min(Self.pairsPerTestbed, options.pairs - pairs.count) {
              try pairs.add(testbed, options.seconds)
            }
          }
          passes = pairs.report(options) && passes
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

/// The pairs of turns for one batch size and payload.
struct Pairs {
  let batch: Int
  let isTouched: Bool
  private var ours: [Double] = []
  private var theirs: [Double] = []
  private var isOurTurn = true

  var count: Int { theirs.count }

  init(batch: Int, isTouched: Bool) {
    self.batch = batch
    self.isTouched = isTouched
  }

  /// Runs one turn of each loop, in alternating order.
  mutating func add(_ testbed: Testbed, _ seconds: Double) throws {
    if isOurTurn { ours.append(try ourTurn(testbed, seconds)) }
    theirs.append(testbed.measureC(batch: batch, isTouched: isTouched, seconds))
    if !isOurTurn { ours.append(try ourTurn(testbed, seconds)) }
    isOurTurn.toggle()
  }

  private func ourTurn(_ testbed: Testbed, _ seconds: Double) throws -> Double {
    isTouched
      ? try testbed.measure(TouchedPayload.self, batch: batch, seconds)
      : try testbed.measure(UntouchedPayload.self, batch: batch, seconds)
  }

  /// Prints the medians.
  ///
  /// - Returns: Whether the median ratio reaches the threshold.
  func report(_ options: PairOptions) -> Bool {
    let ratios = zip(ours, theirs).map { $0 / $1 }.sorted()
    let ratio = quantile(ratios, 0.5)
    let isGood = ratio >= options.threshold
    let (swift, c) = (quantile(ours.sorted(), 0.5), quantile(theirs.sorted(), 0.5))
    let payload = isTouched ? "touched" : "untouched"
    if options.isJSON {
      print(
        #"{"case":"pipe-2t","peer":"c","batch":\#(batch),"payload":"\#(payload)","#
          + #""pairs":\#(ratios.count),"mpps":\#(swift),"peerMpps":\#(c),"ratio":\#(ratio),"#
          + #""threshold":\#(options.threshold),"pass":\#(isGood)}"#)
    } else {
      print(
        String(format: "%14d", batch), payload.padding(toLength: 10, withPad: " ", startingAt: 0),
        String(
          format: " %11.2f %8.2f  %.3f   %.3f ... %.3f  %@", swift, c, ratio,
          quantile(ratios, 0.25), quantile(ratios, 0.75), isGood ? "PASS" : "FAIL"))
    }
    fflush(nil)
    return isGood
  }
}

/// The quantile of sorted numbers, for example the median for 0.5.
///
/// - Parameters:
///   - sorted: At least one number, in ascending order.
///   - part: 0 to 1.
/// - Returns: One of the numbers.
func quantile(_ sorted: [Double], _ part: Double) -> Double {
  sorted[Int((Double(sorted.count - 1) * part).rounded())]
}
