internal import Synchronization

/// What a module host has to say about its module: text in the configuration area of its program, which
/// it writes and the engine reads. Any bytes mean something.
@unsafe
package struct HostReport {
  private let area: ModuleConfiguration

  init(_ area: ModuleConfiguration) {
    unsafe self.area = unsafe area
  }

  func clear() {
    unsafe area.store(HostReportLayout.length, 0)
    unsafe area.release(HostReportLayout.sequence, 0)
  }

  /// Says what the module has counted.
  func store(_ statistics: [SwitchModuleStatistic]) {
    let text = statistics.map { "\($0.name) \($0.value)\n" }.joined()
    let bytes = Array(text.utf8.prefix(HostReportLayout.textLengthMax))
    let odd = unsafe area.load(HostReportLayout.sequence) | 1
    unsafe area.store(HostReportLayout.sequence, odd)
    atomicMemoryFence(ordering: .releasing)
    unsafe area.store(HostReportLayout.length, UInt32(bytes.count))
    unsafe area.store(bytes, at: HostReportLayout.text)
    unsafe area.release(HostReportLayout.sequence, odd &+ 1)
  }

  /// What was said last; empty while it is being changed.
  var statistics: [SwitchModuleStatistic] {
    for _ in 0..<16 {
      let before = unsafe area.acquire(HostReportLayout.sequence)
      guard before & 1 == 0 else { continue }
      let length = unsafe Int(area.load(HostReportLayout.length))
      let bytes = unsafe area.bytes(
        at: HostReportLayout.text, count: min(length, HostReportLayout.textLengthMax))
      atomicMemoryFence(ordering: .acquiring)
      if unsafe area.load(HostReportLayout.sequence) == before {
        return LoadedModule.statistics(bytes)
      }
    }
    return []
  }
}

private enum HostReportLayout {
  // Words: odd while the text is being written; and its length, bytes.
  static let sequence = 0
  static let length = 1
  // Bytes.
  static let text = 64
  static let textLengthMax = 4096
}
