internal import Netmap

/// A measurement that could not be made, or one that found packets missing.
struct BenchError: Error, CustomStringConvertible {
  let description: String
  /// Whether it cannot be measured on this machine, or not with the rights at hand; other errors are
  /// failures.
  let isUnavailable: Bool
  /// Whether the time was too short for anything to happen.
  let isTooShort: Bool

  init(_ description: String, isUnavailable: Bool = false, isTooShort: Bool = false) {
    self.description = description
    self.isUnavailable = isUnavailable
    self.isTooShort = isTooShort
  }

  static var nothingArrived: BenchError {
    BenchError("no packet arrived; measure longer, see --seconds", isTooShort: true)
  }

  init(_ error: NetmapError) {
    description = error.description
    isTooShort = false
    isUnavailable = [.notPermitted, .unsupported].contains(error.code)
  }
}

/// Runs `body`, with netmap's errors turned into those of a measurement.
func measuring<Value>(_ body: () throws(NetmapError) -> Value) throws(BenchError) -> Value {
  do throws(NetmapError) {
    return try body()
  } catch {
    throw BenchError(error)
  }
}
