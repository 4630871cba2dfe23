internal import Synchronization

/// A configuration area of a switch's segment: the words that configure a built-in module, or the report of a
/// module host.
///
/// Every process on the switch can write here. So any bytes have a defined meaning, and no number from the area
/// is used as an index or a length before it has been compared with a limit.
@unsafe
struct ModuleConfiguration {
  private let base: UnsafeMutableRawPointer

  /// - Parameter base: Address of an area of ``SwitchLayout/configurationByteCount`` bytes.
  init(_ base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// Number of 32-bit words in the area.
  private static var wordCount: Int { SwitchLayout.configurationByteCount / 4 }

  // The number of words is a power of two, so a mask keeps every index within the area.
  @inline(__always)
  private func cell(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + (index & (Self.wordCount - 1)) &* 4)
      .assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// Loads a word, by its number.
  @inline(__always)
  func load(_ index: Int) -> UInt32 {
    unsafe cell(index).pointee.load(ordering: .relaxed)
  }

  /// Loads a word with acquire ordering: stores that preceded its ``release(_:_:)`` are visible afterwards.
  func acquire(_ index: Int) -> UInt32 {
    unsafe cell(index).pointee.load(ordering: .acquiring)
  }

  func store(_ index: Int, _ value: UInt32) {
    unsafe cell(index).pointee.store(value, ordering: .relaxed)
  }

  /// Stores a word with release ordering, after all earlier stores.
  func release(_ index: Int, _ value: UInt32) {
    unsafe cell(index).pointee.store(value, ordering: .releasing)
  }

  /// A rule of a ``PacketFilter``; `place` must be below ``FilterLayout/ruleCountMax``.
  ///
  /// The fields may come from different moments. No field bounds a memory access, so a process that changes one
  /// of them meanwhile gains nothing.
  @inline(__always)
  func rule(_ place: Int) -> FilterRule {
    unsafe base.load(
      fromByteOffset: FilterLayout.rules + place &* MemoryLayout<FilterRule>.stride,
      as: FilterRule.self)
  }

  func store(_ rule: FilterRule, at place: Int) {
    unsafe base.storeBytes(
      of: rule, toByteOffset: FilterLayout.rules + place * MemoryLayout<FilterRule>.stride,
      as: FilterRule.self)
  }

  /// Up to `count` bytes from an offset on, ending at the end of the area at the latest.
  func bytes(at offset: Int, count: Int) -> [UInt8] {
    let most = SwitchLayout.configurationByteCount - offset
    return unsafe [UInt8](
      UnsafeRawBufferPointer(start: base + offset, count: max(0, min(count, most))))
  }

  func store(_ bytes: [UInt8], at offset: Int) {
    let most = max(0, SwitchLayout.configurationByteCount - offset)
    unsafe (base + offset).copyMemory(from: bytes, byteCount: min(bytes.count, most))
  }
}
