/// Reads an input of the fuzzer as numbers and bytes; zeros follow its end.
struct FuzzInput {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { rest = bytes[...] }

  var isAtEnd: Bool { rest.isEmpty }
  var remaining: Int { rest.count }

  mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

  /// A number in little-endian order.
  mutating func number<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T {
    (0..<T.bitWidth / 8).reduce(0) { $0 | T(truncatingIfNeeded: byte()) << (8 * $1) }
  }

  mutating func flag() -> Bool { byte() & 1 != 0 }

  /// A number below `limit`, from two bytes; `limit` must be in 1...65536.
  mutating func index(below limit: Int) -> Int { Int(number(UInt16.self)) % limit }

  mutating func choice<T>(_ values: [T]) -> T { values[Int(byte()) % values.count] }

  /// At most `count` bytes.
  mutating func bytes(_ count: Int) -> [UInt8] {
    defer { rest = rest.dropFirst(count) }
    return Array(rest.prefix(count))
  }

  /// Exactly `count` bytes; zeros where the input ends.
  mutating func padded(_ count: Int) -> [UInt8] {
    let found = bytes(count)
    return found + [UInt8](repeating: 0, count: count - found.count)
  }

  mutating func takeRest() -> [UInt8] { bytes(rest.count) }
}
