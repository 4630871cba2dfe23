internal import Synchronization

// Several processes write to a switch segment, so every access is atomic. Every value read from it is either
// masked to a fixed bound or compared with a limit before it is used as an index.

extension SwitchView {
  @inline(__always)
  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  @inline(__always)
  private func longWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// The number of slots that a sender forwards together; 0 discards all packets.
  @inline(__always)
  var batch: Int {
    unsafe min(
      Int(word(SwitchLayout.batch).pointee.load(ordering: .relaxed)), Int(SwitchLimits.batch))
  }

  package func setBatch(_ slots: UInt32) {
    unsafe word(SwitchLayout.batch).pointee.store(slots, ordering: .relaxed)
  }

  /// The generation of the port at `index`, which must be below 256; 0 when there is no such port.
  ///
  /// Sequentially consistent, like the store that removes a port: a sync that begins later sees the removal.
  @inline(__always)
  package func generation(of index: Int) -> UInt32 {
    unsafe word(port(index) + SwitchLayout.state).pointee.load(ordering: .sequentiallyConsistent)
  }

  /// The active ports with indexes `64 * part ..< 64 * (part + 1)`, one bit each.
  @inline(__always)
  func active(_ part: Int) -> UInt64 {
    unsafe longWord(SwitchLayout.active + 8 &* part).pointee.load(ordering: .relaxed)
  }

  /// Whether any port makes its senders wait.
  @inline(__always)
  package var holdsAny: Bool {
    unsafe word(SwitchLayout.holdsAny).pointee.load(ordering: .relaxed) != 0
  }

  /// The ports that make their senders wait, in the format of ``active(_:)``.
  @inline(__always)
  func holding(_ part: Int) -> UInt64 {
    unsafe longWord(SwitchLayout.holding + 8 &* part).pointee.load(ordering: .relaxed)
  }

  /// Whether port `index` makes its senders wait.
  @inline(__always)
  func isHolding(_ index: Int) -> Bool {
    unsafe holding((index & 255) >> 6) >> UInt64(index & 63) & 1 != 0
  }

  /// Sets whether senders to a port wait.
  ///
  /// Only the engine calls this.
  package func setHolding(_ isHolding: Bool, of index: Int) {
    let bit: UInt64 = 1 << UInt64(index % 64)
    let part = unsafe longWord(SwitchLayout.holding + 8 * (index / 64))
    if isHolding {
      _ = unsafe part.pointee.bitwiseOr(bit, ordering: .sequentiallyConsistent)
    } else {
      _ = unsafe part.pointee.bitwiseAnd(~bit, ordering: .sequentiallyConsistent)
    }
    let any = (0..<SwitchLayout.activeWords).contains { unsafe holding($0) != 0 }
    unsafe word(SwitchLayout.holdsAny).pointee.store(
      any ? 1 : 0, ordering: .sequentiallyConsistent)
  }

  /// Adds a port, or removes it (generation 0).
  ///
  /// Broadcasts skip a hidden port. Only the engine calls this.
  package func setGeneration(_ generation: UInt32, of index: Int, isHidden: Bool = false) {
    let bit: UInt64 = 1 << UInt64(index % 64)
    let part = unsafe longWord(SwitchLayout.active + 8 * (index / 64))
    if generation == 0 {
      unsafe setHolding(false, of: index)
      _ = unsafe part.pointee.bitwiseAnd(~bit, ordering: .sequentiallyConsistent)
    } else {
      for counter in [SwitchLayout.unknownRegion, SwitchLayout.noReceiver] {
        unsafe longWord(port(index) + counter).pointee.store(0, ordering: .relaxed)
      }
    }
    unsafe word(port(index) + SwitchLayout.state).pointee.store(
      generation, ordering: .sequentiallyConsistent)
    if generation != 0, !isHidden {
      _ = unsafe part.pointee.bitwiseOr(bit, ordering: .sequentiallyConsistent)
    }
  }

  @inline(__always)
  private func port(_ index: Int) -> Int {
    SwitchLayout.ports &+ (index & 255) &* SwitchLayout.portByteCount
  }
}

extension SwitchView {
  /// Why a sender did not reach the receive ring of a port.
  enum Unreached {
    case unknownRegion, noReceiver

    var offset: Int {
      switch self {
      case .unknownRegion: SwitchLayout.unknownRegion
      case .noReceiver: SwitchLayout.noReceiver
      }
    }
  }

  /// Counts packets for port `index` that did not reach its ring.
  @inline(never)
  func count(_ reason: Unreached, _ packets: UInt64, for index: Int) {
    _ = unsafe longWord(port(index) + reason.offset).pointee.wrappingAdd(
      packets, ordering: .relaxed)
  }

  func counter(_ reason: Unreached, of index: Int) -> UInt64 {
    unsafe longWord(port(index) + reason.offset).pointee.load(ordering: .relaxed)
  }
}

// The address table; see ``AddressTable``.
extension SwitchView {
  static var addressMask: UInt64 { unsafe AddressTable.addressMask }

  @inline(__always)
  private var table: AddressTable { unsafe AddressTable(addressTable) }

  /// Address of the ``AddressTable``, for modules.
  @inline(__always)
  var addressTable: UnsafeMutableRawPointer { unsafe base + SwitchLayout.table }

  /// The position of an address in the table: 0 to 1023.
  @inline(__always)
  package static func place(of address: UInt64) -> Int {
    unsafe AddressTable.place(of: address)
  }

  /// Records that `address` sends from port `index`.
  @inline(__always)
  func learn(_ address: UInt64, at index: UInt32) {
    unsafe table.learn(address, at: index)
  }

  /// The port where `address` was last seen; nil if it has not been seen.
  @inline(__always)
  func port(of address: UInt64) -> UInt32? {
    unsafe table.port(of: address)
  }

  /// Every address in the table, with the index of the port where it was last seen.
  package var addresses: [(address: UInt64, port: Int)] {
    (0..<(1 << SwitchLayout.tableBits)).compactMap { place in
      let found = unsafe longWord(SwitchLayout.table + place * 8).pointee.load(ordering: .relaxed)
      guard unsafe found & AddressTable.isEntry != 0 else { return nil }
      return unsafe (found & Self.addressMask, Int(found >> 48 & 0xff))
    }
  }
}
