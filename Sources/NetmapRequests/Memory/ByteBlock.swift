/// A fixed number of bytes of a request, copied out of the program's memory.
///
/// A structure of the ABI is kept as bytes rather than as a C structure, so that fields and padding that netmap does
/// not set return to the program exactly as they came.
///
/// Offsets are checked: one outside the block is an error of this library, and traps.
package struct ByteBlock<let byteCount: Int>: Sendable {
  private var storage = InlineArray<byteCount, UInt8>(repeating: 0)

  /// Creates a block of zeros.
  package init() {}

  /// All bytes.
  package var bytes: Span<UInt8> {
    @_lifetime(borrow self)
    get { storage.span }
  }

  package subscript(offset: Int) -> UInt8 {
    get { storage[offset] }
    set { storage[offset] = newValue }
  }

  /// Loads a field. Every machine that netmap's ABI is defined for is little-endian.
  package func load<T: FixedWidthInteger>(_ offset: Int, as type: T.Type = T.self) -> T {
    var value: T = 0
    for index in 0..<T.bitWidth / 8 {
      value |= T(truncatingIfNeeded: storage[offset + index]) << (8 * index)
    }
    return value
  }

  /// Stores a field.
  package mutating func store<T: FixedWidthInteger>(_ value: T, at offset: Int) {
    for index in 0..<T.bitWidth / 8 {
      storage[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
    }
  }

  /// The field of `count` bytes at `offset`, as another block holds it.
  package func field<let count: Int>(at offset: Int) -> ByteBlock<count> {
    var field = ByteBlock<count>()
    for index in 0..<count { field[index] = storage[offset + index] }
    return field
  }

  /// Stores all of another block at `offset`.
  package mutating func store<let count: Int>(_ field: ByteBlock<count>, at offset: Int) {
    for index in 0..<count { storage[offset + index] = field[index] }
  }
}

extension ByteBlock {
  /// Copies bytes of the program into the block, all of it or the part at `range`.
  ///
  /// - Returns: False if the program's memory cannot be read. The contents of that part are then undefined.
  package mutating func copyIn(
    from address: UInt64, _ memory: some UserMemory, to range: Range<Int> = 0..<byteCount
  ) -> Bool {
    if range.isEmpty { return true }
    var all = storage.mutableSpan
    var part = all._mutatingExtracting(range)
    return memory.copyIn(from: address, into: &part)
  }

  /// Copies bytes of the block to the program, all of it or the part at `range`.
  ///
  /// - Returns: False if the program's memory cannot be written.
  package func copyOut(
    to address: UInt64, _ memory: some UserMemory, from range: Range<Int> = 0..<byteCount
  ) -> Bool {
    range.isEmpty || memory.copyOut(storage.span.extracting(range), to: address)
  }
}
