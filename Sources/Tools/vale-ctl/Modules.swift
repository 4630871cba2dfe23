internal import Glibc
internal import Netmap
internal import ToolSupport

extension Runner {
  /// Sets a module, from `valeS=MODULE`.
  func setModule(_ text: String) throws(NetmapError) {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[1].isEmpty else {
      throw NetmapError(
        .invalidArgument, "set-module", text, reason: "no module is named",
        remedy: "write valeS=MODULE: learning, hub, balancer, filter, or a path")
    }
    let name = String(parts[0])
    let choice = try SwitchModuleChoice.parse(
      String(parts[1]), try moduleConfiguration(), fallback: try fallback())
    let report = try switches.setModule(choice, of: name)
    if options.isVerbose || options.isJSON { show(report, of: name) }
  }

  private func fallback() throws(NetmapError) -> SwitchModuleChoice.Fallback {
    guard let text = options.fallback else { return .learning }
    guard let fallback = SwitchModuleChoice.Fallback(rawValue: text) else {
      throw NetmapError(
        .invalidArgument, "set-module", text, reason: "there is no such fallback",
        remedy: "use --fallback learning or --fallback stop")
    }
    return fallback
  }

  private func moduleConfiguration() throws(NetmapError) -> String {
    guard let path = options.moduleConfigurationFile else {
      return options.moduleConfiguration ?? ""
    }
    guard options.moduleConfiguration == nil else {
      throw NetmapError(
        .invalidArgument, "set-module", path,
        reason: "--config and --config-file exclude each other")
    }
    return try Self.contents(of: path)
  }

  /// The contents of a file, at most its first 64 KiB: more than any configuration may have.
  private static func contents(of path: String) throws(NetmapError) -> String {
    func refusal(_ code: Int32) -> NetmapError {
      NetmapError(
        NetmapError.Code(rawValue: code), "read", path,
        reason: unsafe String(cString: strerror(code)))
    }
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw refusal(errno) }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 65_536)
    var count = 0
    while count < bytes.count {
      let more = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe read(file, buffer.baseAddress.map { unsafe $0 + count }, buffer.count - count)
      }
      if more < 0 && errno == EINTR { continue }
      guard more >= 0 else { throw refusal(errno) }
      if more == 0 { break }
      count += more
    }
    return String(decoding: bytes[..<count], as: UTF8.self)
  }

  /// Prints the module of a switch and its counters.
  func show(_ report: SwitchModuleReport, of name: String) {
    var fallback = ""
    if case .loaded(_, _, let choice) = report.choice { fallback = choice.rawValue }
    if options.isJSON {
      var line = JSONLine()
      line.add("switch", name)
      line.add("module", report.choice.name)
      line.add("active", report.active)
      line.add("config", report.choice.configuration)
      if !fallback.isEmpty { line.add("fallback", fallback) }
      if report.process != 0 { line.add("process", report.process) }
      for statistic in report.statistics { line.add(statistic.name, statistic.value) }
      return output.line(line.text)
    }
    row("module", report.choice.name)
    row("active", report.active)
    if !report.choice.configuration.isEmpty {
      row(
        "config",
        report.choice.configuration.split(whereSeparator: \.isNewline).joined(separator: "; "))
    }
    if !fallback.isEmpty { row("fallback", fallback) }
    if report.process != 0 { row("process", "\(report.process)") }
    for statistic in report.statistics { row(statistic.name, "\(statistic.value)") }
  }

  /// Prints a label, and a value in column 13 or after a longer label.
  private func row(_ label: String, _ value: String) {
    let text = label + ":"
    output.line(text + String(repeating: " ", count: max(1, 12 - text.utf8.count)) + value)
  }
}
