/// The name in a request: the bytes of `nr_name` before its first NUL, at most 63.
///
/// The name may be empty, and may be no name of a port at all: the server decides what it means. Names need not be
/// UTF-8.
package struct RequestName: Sendable, RandomAccessCollection {
  private var block = ByteBlock<64>()
  /// The number of bytes.
  package private(set) var count = 0

  /// Creates a name from the bytes before the first NUL, at most 63.
  package init(_ bytes: some Sequence<UInt8>) {
    for byte in bytes.prefix(63) {
      if byte == 0 { break }
      append(byte)
    }
  }

  /// Creates a name from a field of `limit` bytes at `offset` of a structure.
  init(_ bytes: Span<UInt8>, at offset: Int, limit: Int) {
    for index in offset..<offset + Swift.min(limit, 64) {
      if bytes[index] == 0 || count == 63 { break }
      append(bytes[index])
    }
  }

  /// Appends a byte that is not a NUL.
  ///
  /// - Returns: False if the name is full.
  @discardableResult
  mutating func append(_ byte: UInt8) -> Bool {
    guard count < 63 else { return false }
    block[count] = byte
    count += 1
    return true
  }

  package var startIndex: Int { 0 }
  package var endIndex: Int { count }

  package subscript(index: Int) -> UInt8 {
    precondition(index < count, "the name has no such byte")
    return block[index]
  }
}

extension RequestName: Equatable, CustomStringConvertible {
  package static func == (one: RequestName, other: RequestName) -> Bool {
    one.elementsEqual(other)
  }

  /// The name as text; ill-formed UTF-8 appears as U+FFFD.
  package var description: String { String(decoding: self, as: UTF8.self) }
}

extension ByteBlock {
  /// Stores a name, cut to `limit - 1` bytes, and a NUL behind it. The rest of the field stays as it is.
  mutating func store(_ name: RequestName, at offset: Int, limit: Int) {
    let kept = Swift.min(name.count, limit - 1)
    for index in 0..<kept { self[offset + index] = name[index] }
    self[offset + kept] = 0
  }
}
