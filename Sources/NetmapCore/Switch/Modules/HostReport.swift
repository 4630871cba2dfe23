internal import Synchronization

/// What a module host has to say about its module: text in the configuration area of its program, which
/// it writes and the engine reads. Any bytes mean something.
@unsafe
package struct HostReport {
  private let base: UnsafeMutableRawPointer

  init(_ base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// Odd while the text is being written; and its length.
  private var sequence: UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe base.assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  func clear() {
    unsafe (base + 4).storeBytes(of: 0, as: UInt32.self)
    unsafe sequence.pointee.store(0, ordering: .releasing)
  }

  /// Says what the module has counted.
  func store(_ statistics: [SwitchModuleStatistic]) {
    let text = statistics.map { "\($0.name) \($0.value)\n" }.joined()
    let bytes = Array(text.utf8.prefix(HostReportLayout.textLengthMax))
    let odd = unsafe sequence.pointee.load(ordering: .relaxed) | 1
    unsafe sequence.pointee.store(odd, ordering: .sequentiallyConsistent)
    unsafe (base + 4).storeBytes(of: UInt32(bytes.count), as: UInt32.self)
    unsafe (base + HostReportLayout.text).copyMemory(from: bytes, byteCount: bytes.count)
    unsafe sequence.pointee.store(odd &+ 1, ordering: .releasing)
  }

  /// What was said last; empty while it is being changed.
  var statistics: [SwitchModuleStatistic] {
    for _ in 0..<16 {
      let before = unsafe sequence.pointee.load(ordering: .acquiring)
      guard before & 1 == 0 else { continue }
      let length = unsafe Int((base + 4).load(as: UInt32.self))
      let bytes = unsafe [UInt8](
        UnsafeRawBufferPointer(
          start: base + HostReportLayout.text, count: min(length, HostReportLayout.textLengthMax)))
      atomicMemoryFence(ordering: .acquiring)
      if unsafe sequence.pointee.load(ordering: .relaxed) == before {
        return LoadedModule.statistics(bytes)
      }
    }
    return []
  }
}

private enum HostReportLayout {
  static let text = 64
  static let textLengthMax = 4096
}
