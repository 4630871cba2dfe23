internal import Netmap

/// The reason why a measurement was impossible, or found packets missing.
struct BenchError: Error, CustomStringConvertible {
  let description: String
  /// Whether this machine or this process's rights do not permit the measurement; other errors are
  /// failures.
  let isUnavailable: Bool
  /// Whether the time was too short to complete a single packet or round trip.
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

/// Runs `body`, and converts netmap's errors to errors of a measurement.
func measuring<Value>(_ body: () throws(NetmapError) -> Value) throws(BenchError) -> Value {
  do throws(NetmapError) {
    return try body()
  } catch {
    throw BenchError(error)
  }
}
