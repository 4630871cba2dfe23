public import Synchronization

/// The ports where MAC addresses were last seen: 1024 atomic words in a switch's segment.
///
/// An entry is one word: the address in bits 0...47, the port in bits 48...55, and bit 56 set in every entry.
/// Entries do not age. If two addresses have the same position, the later one replaces the other. An entry
/// outlives its port: the switch drops traffic to the address until a sender uses the address on another port, or
/// until a new port takes the index and then receives that traffic (netmap's own rule).
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

  /// The position of an address in the table: 0 to 1023.
  @inlinable @inline(__always)
  static func place(of address: UInt64) -> Int {
    unsafe Int((address &* 0x9e37_79b9_7f4a_7c15) >> UInt64(64 - bits))
  }

  @inlinable @inline(__always)
  func entry(_ address: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + Self.place(of: address) &* 8).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Whether an address names a group of stations. Its lowest bit says so, because the first byte on
  /// the wire is the lowest one here.
  @inlinable @inline(__always)
  static func isGroup(_ address: UInt64) -> Bool { address & 1 != 0 }

  /// Records that `address` sends from port `index`; a group address sends nothing.
  @inlinable @inline(__always)
  func learn(_ address: UInt64, at index: UInt32) {
    guard unsafe !Self.isGroup(address) else { return }
    let wanted = unsafe address | UInt64(index) << 48 | Self.isEntry
    // Load before storing: while no address moves, the table stays in the cache of every processor.
    if unsafe entry(address).pointee.load(ordering: .relaxed) != wanted {
      unsafe entry(address).pointee.store(wanted, ordering: .relaxed)
    }
  }

  /// The port where `address` was last seen; nil if it has not been seen, or names a group.
  @inlinable @inline(__always)
  func port(of address: UInt64) -> UInt32? {
    guard unsafe !Self.isGroup(address) else { return nil }
    let found = unsafe entry(address).pointee.load(ordering: .relaxed)
    guard unsafe (found ^ Self.isEntry) & (Self.addressMask | Self.isEntry) == address else {
      return nil
    }
    return UInt32(truncatingIfNeeded: found >> 48) & 0xff
  }
}
