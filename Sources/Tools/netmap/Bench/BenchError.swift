internal import Netmap

/// A measurement that could not be made, or one that found packets missing.
struct BenchError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }

  init(_ error: NetmapError) {
    description = error.description
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
