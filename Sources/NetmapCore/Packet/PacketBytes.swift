// Reading and writing headers without unsafe code. Protocol fields are big-endian ("network order").

extension RawSpan {
  /// The byte at `offset`; traps when the packet is not that long.
  @inlinable
  public subscript(offset: Int) -> UInt8 {
    unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }

  /// The 16-bit field at `offset`, from network order; traps when the packet is not that long.
  @inlinable
  public func uint16(at offset: Int) -> UInt16 {
    UInt16(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  /// The 32-bit field at `offset`, from network order; traps when the packet is not that long.
  @inlinable
  public func uint32(at offset: Int) -> UInt32 {
    UInt32(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }

  /// The 64-bit field at `offset`, from network order; traps when the packet is not that long.
  @inlinable
  public func uint64(at offset: Int) -> UInt64 {
    UInt64(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }
}

extension MutableRawSpan {
  /// The byte at `offset`; traps when the packet is not that long.
  @inlinable
  public subscript(offset: Int) -> UInt8 {
    get { unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self) }
    set { storeBytes(of: newValue, toByteOffset: offset, as: UInt8.self) }
  }

  /// The 16-bit field at `offset`, from network order; traps when the packet is not that long.
  @inlinable
  public func uint16(at offset: Int) -> UInt16 { bytes.uint16(at: offset) }

  /// The 32-bit field at `offset`, from network order; traps when the packet is not that long.
  @inlinable
  public func uint32(at offset: Int) -> UInt32 { bytes.uint32(at: offset) }

  /// The 64-bit field at `offset`, from network order; traps when the packet is not that long.
  @inlinable
  public func uint64(at offset: Int) -> UInt64 { bytes.uint64(at: offset) }

  /// Writes the 16-bit field at `offset` in network order; traps when the packet is not that long.
  @inlinable
  public mutating func setUInt16(_ value: UInt16, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
  }

  /// Writes the 32-bit field at `offset` in network order; traps when the packet is not that long.
  @inlinable
  public mutating func setUInt32(_ value: UInt32, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
  }

  /// Writes the 64-bit field at `offset` in network order; traps when the packet is not that long.
  @inlinable
  public mutating func setUInt64(_ value: UInt64, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt64.self)
  }

  /// Swaps `count` bytes from `first` on with those from `second` on, such as source and destination addresses;
  /// traps when the packet is not long enough.
  @inlinable
  public mutating func exchange(_ first: Int, _ second: Int, count: Int) {
    for offset in 0..<count {
      let byte = self[first + offset]
      self[first + offset] = self[second + offset]
      self[second + offset] = byte
    }
  }
}

extension Array where Element == UInt8 {
  /// A copy of the bytes of a packet.
  @inlinable
  public init(_ bytes: RawSpan) {
    self = unsafe bytes.withUnsafeBytes { unsafe Array($0) }
  }

  /// The elements as the bytes of a packet, for reading.
  @inlinable
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      let span = unsafe span.bytes
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The elements as the bytes of a packet, for changing.
  @inlinable
  public var mutableBytes: MutableRawSpan {
    @_lifetime(&self)
    mutating get {
      // The elements stay in place while the span has exclusive access to the array.
      let buffer = unsafe withUnsafeMutableBytes { unsafe $0 }
      let bytes = unsafe MutableRawSpan(_unsafeBytes: buffer)
      return unsafe _overrideLifetime(bytes, mutating: &self)
    }
  }
}
