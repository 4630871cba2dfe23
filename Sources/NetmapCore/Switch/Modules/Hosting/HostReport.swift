internal import Synchronization

/// The statistics of a hosted module, as text in the configuration area of its program.
///
/// The module host writes the text and the engine reads it. Any bytes are valid.
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

  /// Publishes the module's statistics.
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

  /// The statistics that were published last; empty while the host changes them.
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
  // Words: a sequence number, odd while the text is being written, and the length of the text in
  // bytes.
  static let sequence = 0
  static let length = 1
  // The offset of the text, and its longest length, bytes.
  static let text = 64
  static let textLengthMax = 4096
}
