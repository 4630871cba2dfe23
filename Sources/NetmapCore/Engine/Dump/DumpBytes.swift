/// Writes the fields of a dump one after the other, in the machine's byte order.
struct DumpWriter {
  private(set) var bytes: [UInt8] = []

  mutating func put(_ value: some FixedWidthInteger) {
    unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
  }

  mutating func put(_ value: Bool) { put(UInt8(value ? 1 : 0)) }

  /// Writes a count of 32 bits and the numbers.
  mutating func put<T: FixedWidthInteger>(_ values: [T]) {
    put(UInt32(clamping: values.count))
    for value in values { put(value) }
  }

  mutating func put(_ values: [UInt8]) {
    put(UInt32(clamping: values.count))
    bytes.append(contentsOf: values)
  }

  mutating func put<T>(_ values: [T], _ body: (T, inout DumpWriter) -> Void) {
    put(UInt32(clamping: values.count))
    for value in values { body(value, &self) }
  }
}

/// Reads the fields of a dump, and trusts nothing in it.
struct DumpReader {
  private let bytes: [UInt8]
  private(set) var place = 0

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
  }

  var isAtEnd: Bool { place == bytes.count }

  func refused(_ reason: String) -> NetmapError {
    NetmapError(
      .invalidArgument, "read", "dump", reason: reason,
      remedy: "make the dump and read it with the same version of netmap")
  }

  mutating func take<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(NetmapError) -> T {
    let size = T.bitWidth / 8
    guard bytes.count - place >= size else { throw refused("it is too short") }
    var value: T = 0
    for index in (place..<place + size).reversed() {
      value = value << 8 | T(truncatingIfNeeded: bytes[index])
    }
    place += size
    return value
  }

  mutating func takeBool() throws(NetmapError) -> Bool { try take(UInt8.self) != 0 }

  mutating func takeBytes() throws(NetmapError) -> [UInt8] {
    let count = try takeCount(of: 1)
    defer { place += count }
    return Array(bytes[place..<place + count])
  }

  mutating func takeNumbers<T: FixedWidthInteger>(
    _ type: T.Type = T.self
  ) throws(NetmapError) -> [T] {
    let count = try takeCount(of: T.bitWidth / 8)
    var result: [T] = []
    result.reserveCapacity(count)
    for _ in 0..<count { result.append(try take(type)) }
    return result
  }

  /// Reads a list, each element of which has at least `size` bytes.
  mutating func takeList<T>(
    of size: Int, _ body: (inout DumpReader) throws(NetmapError) -> T
  ) throws(NetmapError) -> [T] {
    let count = try takeCount(of: size)
    var result: [T] = []
    for _ in 0..<count { result.append(try body(&self)) }
    return result
  }

  /// A count of elements that the rest of the dump has room for.
  private mutating func takeCount(of size: Int) throws(NetmapError) -> Int {
    let count = Int(try take(UInt32.self))
    guard count <= (bytes.count - place) / size else { throw refused("it is too short") }
    return count
  }
}
