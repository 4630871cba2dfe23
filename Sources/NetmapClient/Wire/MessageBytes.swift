package import NetmapCore

/// Writes the fields of a message one after the other.
///
/// Numbers are in the machine's byte order, as both processes run on one host; ``MessageReader``
/// expects little-endian.
package struct MessageWriter {
  package private(set) var bytes: [UInt8] = []

  package init() {}

  package mutating func put(_ value: some FixedWidthInteger) {
    unsafe withUnsafeBytes(of: value) { unsafe bytes.append(contentsOf: $0) }
  }

  /// Writes a count of 16 bits and then the bytes; cuts off bytes beyond 65535.
  package mutating func put(bytes value: some Collection<UInt8>) {
    let kept = value.prefix(Int(UInt16.max))
    put(UInt16(kept.count))
    bytes.append(contentsOf: kept)
  }

  /// Writes bytes without a count.
  package mutating func put(raw value: [UInt8]) {
    bytes.append(contentsOf: value)
  }

  package mutating func put(_ value: String) {
    put(bytes: value.utf8)
  }

  /// Writes a count of 16 bits and then the texts; leaves out texts beyond 65535.
  package mutating func put(_ values: [String]) {
    let kept = values.prefix(Int(UInt16.max))
    put(UInt16(kept.count))
    for value in kept { put(value) }
  }

  package mutating func put<T: FixedWidthInteger>(optional value: T?) {
    put(UInt8(value == nil ? 0 : 1))
    put(value ?? 0)
  }
}

/// Reads the fields of a message.
///
/// Trusts nothing in it: the sender may be broken or hostile.
package struct MessageReader {
  private var rest: ArraySlice<UInt8>

  package init(_ bytes: some Sequence<UInt8>) {
    rest = ArraySlice(bytes)
  }

  /// - Throws: ``NetmapError`` `EINVAL` when the message ends too early.
  package mutating func take<T: FixedWidthInteger>(_ type: T.Type) throws(NetmapError) -> T {
    let size = T.bitWidth / 8
    guard rest.count >= size else { throw malformed("it is too short") }
    var value: T = 0
    for byte in rest.prefix(size).reversed() { value = value << 8 | T(truncatingIfNeeded: byte) }
    rest = rest.dropFirst(size)
    return value
  }

  package mutating func takeBytes() throws(NetmapError) -> [UInt8] {
    let count = Int(try take(UInt16.self))
    guard rest.count >= count else { throw malformed("it is too short") }
    defer { rest = rest.dropFirst(count) }
    return Array(rest.prefix(count))
  }

  package mutating func takeString() throws(NetmapError) -> String {
    String(decoding: try takeBytes(), as: UTF8.self)
  }

  package mutating func takeStrings() throws(NetmapError) -> [String] {
    var result: [String] = []
    for _ in 0..<(try take(UInt16.self)) { result.append(try takeString()) }
    return result
  }

  package mutating func takeOptional<T: FixedWidthInteger>(
    _ type: T.Type
  ) throws(NetmapError) -> T? {
    let isThere = try take(UInt8.self) != 0
    let value = try take(type)
    return isThere ? value : nil
  }

  /// Whether the whole message has been read.
  package var isAtEnd: Bool { rest.isEmpty }

  package func malformed(_ reason: String) -> NetmapError {
    NetmapError(
      .invalidArgument, "read", "message", reason: reason,
      remedy: "use one version of netmap for all processes")
  }
}
