internal import ArgumentParser
internal import NetmapClient
internal import NetmapCore
internal import NetmapDaemon

/// What netmapd starts itself with to run a module of a switch; of no use to anybody else.
struct ModuleHosting: ParsableArguments {
  @Option(help: .hidden) var moduleHost: String?
  @Option(help: .hidden) var moduleSwitch = ""
  /// With a `=` in front, because an option's value cannot be empty.
  @Option(help: .hidden) var moduleConfiguration = "="
  @Option(help: .hidden) var moduleFallback = ""
  @Option(help: .hidden) var moduleUser: UInt32 = 0
  @Option(help: .hidden) var moduleGroup: UInt32 = 0
  /// What to run, and for whom, lies in a socket that the process has been started with.
  @Flag(help: .hidden) var moduleSeal = false

  /// Whether that is what this process is for.
  var isHost: Bool { moduleSeal || moduleHost != nil }

  /// Runs a module, if that is what this process is for.
  ///
  /// - Returns: Whether it was.
  /// - Throws: ``NetmapError`` when the module does not start; netmapd has been told.
  func runs(_ address: DaemonAddress) throws(NetmapError) -> Bool {
    let errand: ModuleHostProcess.Errand
    if moduleSeal {
      errand = .sealed(4, report: 5)
    } else if let moduleHost {
      errand = .told(
        .init(
          bridge: moduleSwitch, path: moduleHost,
          configuration: String(moduleConfiguration.dropFirst()),
          fallback: SwitchModuleChoice.Fallback(rawValue: moduleFallback) ?? .learning),
        user: moduleUser, group: moduleGroup)
    } else {
      return false
    }
    try ModuleHostProcess(channel: 3, address: address, errand).run()
    return true
  }
}
