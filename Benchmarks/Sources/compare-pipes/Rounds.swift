internal import Foundation
internal import PipeReference
internal import Synchronization

/// The turns of all loops for one batch size, frame length and payload.
struct Rounds {
  let batch: Int
  let frameBytes: Int
  let isTouched: Bool
  private var ours: [Double] = []
  /// The same protocol in C.
  private var same: [Double] = []
  /// The plain ring in C.
  private var plain: [Double] = []
  private var cacheLine: [Double] = []

  var count: Int { ours.count }

  init(batch: Int, frameBytes: Int, isTouched: Bool) {
    self.batch = batch
    self.frameBytes = frameBytes
    self.isTouched = isTouched
  }

  /// Runs one turn of each loop; each round begins with another loop.
  mutating func add(_ testbed: Testbed, _ seconds: Double) throws {
    let first = count
    for turn in first..<first + 3 {
      switch turn % 3 {
      case 0: ours.append(try ourTurn(testbed, seconds))
      case 1: same.append(testbed.measureC(options(isPlain: false), seconds))
      default: plain.append(testbed.measureC(options(isPlain: true), seconds))
      }
    }
  }

  /// Measures the round trip of a cache line between the CPUs.
  mutating func probe(_ cpus: (Int, Int)) {
    let line = ProbeLine()
    let trips = Mutex<[Double]>([])
    let answers = Testbed.worker(on: cpus.1) { line.answer() }
    let asks = Testbed.worker(on: cpus.0) {
      let times = line.ask(for: 5_000_000)
      trips.withLock { $0 = times }
    }
    asks.wait()
    line.stop()
    answers.wait()
    let times = trips.withLock { $0 }
    if !times.isEmpty { cacheLine.append(quantile(times.sorted(), 0.5)) }
  }

  private func options(isPlain: Bool) -> pipe_options {
    pipe_options(
      touched: isTouched, plain: isPlain, batch: UInt32(batch), frame_bytes: UInt32(frameBytes))
  }

  private func ourTurn(_ testbed: Testbed, _ seconds: Double) throws -> Double {
    isTouched
      ? try testbed.measure(TouchedPayload.self, batch: batch, frameBytes: frameBytes, seconds)
      : try testbed.measure(UntouchedPayload.self, batch: batch, frameBytes: frameBytes, seconds)
  }

  static let header =
    "pipe-2t: bytes batch  payload    this package  same protocol in C   plain ring in C  cache line"

  /// Prints the medians.
  ///
  /// - Returns: Whether the median ratio to the same protocol in C reaches the threshold, if there is one.
  func report(_ options: PairOptions) -> Bool {
    let ratios = zip(ours, same).map { $0 / $1 }.sorted()
    let plainRatios = zip(ours, plain).map { $0 / $1 }.sorted()
    let (ratio, plainRatio) = (quantile(ratios, 0.5), quantile(plainRatios, 0.5))
    let isGood = options.threshold.map { ratio >= $0 } ?? true
    let rates = [ours, same, plain].map { quantile($0.sorted(), 0.5) }
    let line = cacheLine.isEmpty ? nil : quantile(cacheLine.sorted(), 0.5)
    let payload = isTouched ? "touched" : "untouched"
    if options.isJSON {
      let distance = line.map { #","cacheLineNs":\#($0)"# } ?? ""
      print(
        #"{"case":"pipe-2t","frameBytes":\#(frameBytes),"batch":\#(batch),"payload":"\#(payload)","#
          + #""rounds":\#(count),"mpps":\#(rates[0]),"peerMpps":\#(rates[1]),"ratio":\#(ratio),"#
          + #""plainMpps":\#(rates[2]),"plainRatio":\#(plainRatio)\#(distance),"pass":\#(isGood)}"#)
    } else {
      let verdict = options.threshold == nil ? "" : isGood ? "  PASS" : "  FAIL"
      print(
        String(format: "%14d %5d", frameBytes, batch),
        payload.padding(toLength: 10, withPad: " ", startingAt: 0),
        String(
          format: "%8.2f Mpps %7.2f Mpps %5.2f %7.2f Mpps %5.2f %8@ ns%@", rates[0], rates[1],
          ratio,
          rates[2], plainRatio, line.map { String(format: "%.0f", $0) } ?? "-", verdict))
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
