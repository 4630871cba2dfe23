internal import NetmapCore

/// The numbers that encode requests about the modules of switches.
enum ModuleCoding {
  /// The kind of a module request among the requests about switches.
  static let kind: UInt8 = 32
}

extension MessageWriter {
  mutating func put(_ vale: String, _ request: ModuleRequest) {
    put(ModuleCoding.kind)
    put(vale)
    switch request {
    case .report: put(UInt8(0))
    case .choose(let choice):
      put(UInt8(1))
      put(choice)
    }
  }

  mutating func put(_ choice: SwitchModuleChoice) {
    switch choice {
    case .learning: put(UInt8(0))
    case .hub: put(UInt8(1))
    case .balancer(let outputs):
      put(UInt8(2))
      put(outputs)
    case .filter(let rules):
      put(UInt8(3))
      put(rules)
    case .loaded(let path, let configuration, let fallback):
      put(UInt8(4))
      put(path)
      put(configuration)
      put(fallback.rawValue)
    }
  }

  mutating func put(_ report: SwitchModuleReport?) {
    put(UInt8(report == nil ? 0 : 1))
    guard let report else { return }
    put(report.choice)
    put(report.active)
    put(report.process)
    put(UInt16(clamping: report.statistics.count))
    for statistic in report.statistics.prefix(Int(UInt16.max)) {
      put(statistic.name)
      put(statistic.value)
    }
  }
}

extension MessageReader {
  mutating func takeModuleRequest() throws(NetmapError) -> SwitchRequest {
    let vale = try takeString()
    switch try take(UInt8.self) {
    case 0: return .module(vale, .report)
    case 1: return .module(vale, .choose(try takeModuleChoice()))
    default: throw malformed("its request is unknown")
    }
  }

  mutating func takeModuleChoice() throws(NetmapError) -> SwitchModuleChoice {
    switch try take(UInt8.self) {
    case 0: return .learning
    case 1: return .hub
    case 2: return .balancer(outputs: try takeStrings())
    case 3: return .filter(rules: try takeString())
    case 4:
      let (path, configuration) = (try takeString(), try takeString())
      guard let fallback = SwitchModuleChoice.Fallback(rawValue: try takeString()) else {
        throw malformed("it names no fallback")
      }
      return .loaded(path: path, configuration: configuration, fallback: fallback)
    default: throw malformed("it names no module")
    }
  }

  mutating func takeModuleReport() throws(NetmapError) -> SwitchModuleReport? {
    guard try take(UInt8.self) != 0 else { return nil }
    var report = SwitchModuleReport()
    report.choice = try takeModuleChoice()
    report.active = try takeString()
    report.process = try take(Int32.self)
    for _ in 0..<(try take(UInt16.self)) {
      let name = try takeString()
      report.statistics.append(SwitchModuleStatistic(name, try take(UInt64.self)))
    }
    return report
  }
}
