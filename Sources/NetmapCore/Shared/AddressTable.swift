public import Synchronization

/// Where addresses were last seen: 1024 atomic words in a switch's segment.
///
/// An entry is one word: address in bits 0...47, port in 48...55, and bit 56 says that there is one. No
/// entry ages. Where two addresses share a place the later one has it. An entry outlives its port:
/// traffic to it is dropped until the address is seen elsewhere, or until a new port has the index,
/// which then receives it (netmap's own rule).
@unsafe @frozen @usableFromInline
struct AddressTable {
  @usableFromInline let base: UnsafeMutableRawPointer

  @inlinable @inline(__always)
  init(_ base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  @inlinable @inline(__always)
  static var isEntry: UInt64 { 1 << 56 }
  @inlinable @inline(__always)
  static var addressMask: UInt64 { 1 << 48 - 1 }
  @inlinable @inline(__always)
  static var bits: Int { 10 }

  /// Where in the table an address is: 0 to 1023.
  @inlinable @inline(__always)
  static func place(of address: UInt64) -> Int {
    unsafe Int((address &* 0x9e37_79b9_7f4a_7c15) >> UInt64(64 - bits))
  }

  @inlinable @inline(__always)
  func entry(_ address: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + Self.place(of: address) &* 8).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Notes that `address` sends from port `index`.
  @inlinable @inline(__always)
  func learn(_ address: UInt64, at index: UInt32) {
    let wanted = unsafe address | UInt64(index) << 48 | Self.isEntry
    // Read first: the table stays in every processor's cache as long as nothing moves.
    if unsafe entry(address).pointee.load(ordering: .relaxed) != wanted {
      unsafe entry(address).pointee.store(wanted, ordering: .relaxed)
    }
  }

  /// Where `address` was last seen; nil when it has not been.
  @inlinable @inline(__always)
  func port(of address: UInt64) -> UInt32? {
    let found = unsafe entry(address).pointee.load(ordering: .relaxed)
    guard unsafe (found ^ Self.isEntry) & (Self.addressMask | Self.isEntry) == address else {
      return nil
    }
    return UInt32(truncatingIfNeeded: found >> 48) & 0xff
  }
}
