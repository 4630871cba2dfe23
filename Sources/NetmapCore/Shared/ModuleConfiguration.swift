internal import Synchronization

/// A configuration area of a switch's segment: words that a built-in module goes by, or what a module host says.
///
/// Every process on the switch can write here, so any bytes mean something, and no number in here is an index
/// or a length before it has been compared with a limit.
@unsafe
struct ModuleConfiguration {
  private let base: UnsafeMutableRawPointer

  /// - Parameter base: Of ``BridgeLayout/configurationByteCount`` bytes.
  init(_ base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// Words that there are.
  private static var wordCount: Int { BridgeLayout.configurationByteCount / 4 }

  // The area has a power of two of words, so a mask keeps every index in it.
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

  /// The same, and with it whatever was stored before it.
  func acquire(_ index: Int) -> UInt32 {
    unsafe cell(index).pointee.load(ordering: .acquiring)
  }

  func store(_ index: Int, _ value: UInt32) {
    unsafe cell(index).pointee.store(value, ordering: .relaxed)
  }

  /// Stores a word after all that was stored before it.
  func release(_ index: Int, _ value: UInt32) {
    unsafe cell(index).pointee.store(value, ordering: .releasing)
  }

  /// A rule of a ``PacketFilter``, below ``FilterLayout/ruleCountMax``.
  ///
  /// Loaded field by field as it is asked: none of its fields bounds anything, so nobody gains by changing one
  /// meanwhile.
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

  /// Bytes from an offset on, at most up to the end of the area.
  func bytes(at offset: Int, count: Int) -> [UInt8] {
    let most = BridgeLayout.configurationByteCount - offset
    return unsafe [UInt8](
      UnsafeRawBufferPointer(start: base + offset, count: max(0, min(count, most))))
  }

  func store(_ bytes: [UInt8], at offset: Int) {
    let most = max(0, BridgeLayout.configurationByteCount - offset)
    unsafe (base + offset).copyMemory(from: bytes, byteCount: min(bytes.count, most))
  }
}
