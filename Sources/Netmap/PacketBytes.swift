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
}

extension MutableRawSpan {
  /// The byte at `offset`; traps when the packet is not that long.
  @inlinable
  public subscript(offset: Int) -> UInt8 {
    get { unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self) }
    set { storeBytes(of: newValue, toByteOffset: offset, as: UInt8.self) }
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
