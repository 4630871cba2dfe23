package import NetmapCore

/// The result of the daemon's check of all its memory; see ``Engine/check()``.
package struct DaemonCheck: Hashable, Sendable {
  package var report = CheckReport()
  /// The number of attached processes.
  package var clients = 0
  /// The number of opens of ports.
  package var bindings = 0
  /// The number of bindings that were closed and are kept because a process may still use their
  /// rings.
  package var kept = 0
  /// The number of ring locks that the daemon has released from dead clients since it started.
  package var locksReleased: UInt64 = 0
  /// The number of datagrams on tokens that the daemon has ignored since it started, because they were no requests.
  package var ignoredDatagrams: UInt64 = 0

  package init() {}
}

extension MessageWriter {
  /// Writes as much as fits into one message, and how much it left out.
  package mutating func put(_ check: DaemonCheck) {
    for number in [
      check.report.ports, check.report.regions, check.report.buffers, check.clients,
      check.bindings, check.kept,
    ] {
      put(UInt32(clamping: number))
    }
    put(check.locksReleased)
    put(check.ignoredDatagrams)
    let room = Message.byteCountMax - 512
    for list in [check.report.findings, check.report.moving] {
      var kept: [String] = []
      var byteCount = bytes.count
      for text in list {
        byteCount += text.utf8.count + 2
        guard byteCount < room else { break }
        kept.append(text)
      }
      put(UInt32(clamping: list.count))
      put(kept)
    }
  }
}

extension MessageReader {
  package mutating func takeCheck() throws(NetmapError) -> DaemonCheck {
    var check = DaemonCheck()
    check.report.ports = Int(try take(UInt32.self))
    check.report.regions = Int(try take(UInt32.self))
    check.report.buffers = Int(try take(UInt32.self))
    check.clients = Int(try take(UInt32.self))
    check.bindings = Int(try take(UInt32.self))
    check.kept = Int(try take(UInt32.self))
    check.locksReleased = try take(UInt64.self)
    check.ignoredDatagrams = try take(UInt64.self)
    check.report.findings = try takeCut("findings")
    check.report.moving = try takeCut("rings")
    return check
  }

  private mutating func takeCut(_ what: String) throws(NetmapError) -> [String] {
    let count = Int(try take(UInt32.self))
    var list = try takeStrings()
    if list.count < count { list.append("\(count - list.count) more \(what)") }
    return list
  }
}
