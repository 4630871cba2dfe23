package import NetmapCore

// The encoding of requests about tunables, and of their answers.

/// A request about the daemon's tunables.
package enum TunableRequest: Hashable, Sendable {
  /// Asks for all tunables.
  case list
  case set(Tunable, Int)
}

extension MessageWriter {
  package mutating func put(_ request: TunableRequest) {
    switch request {
    case .list: put(UInt8(0))
    case .set(let tunable, let value):
      put(UInt8(1))
      put(tunable.name)
      put(Int64(value))
    }
  }

  package mutating func put(_ states: [TunableState]) {
    put(UInt16(clamping: states.count))
    for state in states.prefix(Int(UInt16.max)) {
      put(state.tunable.name)
      put(Int64(state.value))
      put(state.origin)
    }
  }
}

extension MessageReader {
  package mutating func takeTunableRequest() throws(NetmapError) -> TunableRequest {
    switch try take(UInt8.self) {
    case 0: return .list
    case 1: return .set(try takeTunable(), Int(try take(Int64.self)))
    default: throw malformed("its request is unknown")
    }
  }

  package mutating func takeTunables() throws(NetmapError) -> [TunableState] {
    var result: [TunableState] = []
    for _ in 0..<(try take(UInt16.self)) {
      let tunable = try takeTunable()
      let value = Int(try take(Int64.self))
      result.append(TunableState(tunable, value, origin: try takeString()))
    }
    return result
  }

  private mutating func takeTunable() throws(NetmapError) -> Tunable {
    guard let tunable = Tunable(rawValue: try takeString()) else {
      throw malformed("it names an unknown tunable")
    }
    return tunable
  }
}
