internal import ToolSupport

/// A number in the result of a measurement.
struct BenchNumber: Hashable {
  /// The key in JSON objects, and the metric in CSV files.
  let key: String
  let unit: String
  /// NaN when the number is not known.
  let value: Double
  /// Whether the value is a whole number unless it is the median of several runs.
  let isWhole: Bool

  init(_ key: String, _ value: Double, _ unit: String) {
    self.init(key: key, unit: unit, value: value, isWhole: false)
  }

  /// A whole number of at most 2^53.
  init(_ key: String, whole: some BinaryInteger, _ unit: String) {
    self.init(key: key, unit: unit, value: Double(whole), isWhole: true)
  }

  private init(key: String, unit: String, value: Double, isWhole: Bool) {
    self.key = key
    self.unit = unit
    self.value = value
    self.isWhole = isWhole
  }

  /// The same number with another value.
  func with(_ value: Double) -> BenchNumber {
    BenchNumber(key: key, unit: unit, value: value, isWhole: isWhole)
  }

  private var wholeValue: Int64? { isWhole ? Int64(exactly: value) : nil }

  /// The value with all of its digits; empty when the number is not known.
  var text: String {
    if let wholeValue { return String(wholeValue) }
    return value.isFinite ? "\(value)" : ""
  }

  /// Adds the number to a JSON object; null when it is not known.
  func describe(in line: inout JSONLine) {
    if let wholeValue { line.add(key, wholeValue) } else { line.add(key, value) }
  }
}

extension BenchResult {
  /// All numbers of the result, in the order of the keys of a JSON object.
  var numbers: [BenchNumber] {
    var numbers = [
      BenchNumber("mpps", millionsPerSecond, "Mpps"),
      BenchNumber("nsPerPacket", nanosecondsPerPacket, "ns"),
      BenchNumber("syscallsPerPacket", systemCallsPerPacket, "calls/packet"),
    ]
    numbers += delivery?.numbers ?? []
    numbers += machineInterface?.numbers ?? []
    numbers += [
      BenchNumber("packets", whole: packets, "packets"), BenchNumber("seconds", seconds, "s"),
    ]
    if let wakeup {
      numbers += [
        BenchNumber("p50", wakeup.pipe.p50, "ns"), BenchNumber("p99", wakeup.pipe.p99, "ns"),
        BenchNumber("baselineP50", wakeup.eventfd.p50, "ns"),
        BenchNumber("baselineP99", wakeup.eventfd.p99, "ns"),
        BenchNumber("ratio", wakeup.ratio, "ratio"),
      ]
    }
    if let vale {
      numbers += [
        BenchNumber("baselineNsPerPacket", vale.nanosecondsPerPacket, "ns"),
        BenchNumber("ratio", vale.ratio, "ratio"),
      ]
    }
    if let roundTrips {
      numbers += [
        BenchNumber("p50", whole: roundTrips.p50, "ns"),
        BenchNumber("p99", whole: roundTrips.p99, "ns"),
        BenchNumber("p999", whole: roundTrips.p999, "ns"),
        BenchNumber("max", whole: roundTrips.max, "ns"),
      ]
    }
    return numbers
  }
}
