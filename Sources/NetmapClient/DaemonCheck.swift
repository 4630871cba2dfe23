package import NetmapCore

/// What the daemon's check of everything it has found; see ``Engine/check()``.
package struct DaemonCheck: Hashable, Sendable {
  package var report = CheckReport()
  /// Processes that are attached.
  package var clients = 0
  /// Ports that are open, each open counted.
  package var bindings = 0
  /// Ports that were closed and are kept because a process may still look at them.
  package var kept = 0
  /// Locks of rings that processes have died with, since the daemon began.
  package var locksReleased: UInt64 = 0

  package init() {}
}

extension MessageWriter {
  /// As much of it as fits into one message, which says how much was left out.
  package mutating func put(_ check: DaemonCheck) {
    for number in [
      check.report.ports, check.report.regions, check.report.buffers, check.clients,
      check.bindings, check.kept,
    ] {
      put(UInt32(clamping: number))
    }
    put(check.locksReleased)
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
