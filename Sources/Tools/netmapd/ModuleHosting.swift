internal import ArgumentParser
internal import NetmapClient
internal import NetmapCore
internal import NetmapDaemon

/// Hidden options with which netmapd starts itself to host a module of a switch; not for users.
struct ModuleHosting: ParsableArguments {
  @Option(help: .hidden) var moduleHost: String?
  @Option(help: .hidden) var moduleSwitch = ""
  /// With a leading `=`, because the value of an option cannot be empty.
  @Option(help: .hidden) var moduleConfiguration = "="
  @Option(help: .hidden) var moduleFallback = ""
  @Option(help: .hidden) var moduleUser: UInt32 = 0
  @Option(help: .hidden) var moduleGroup: UInt32 = 0
  /// The process inherits a socket that holds the request: the module, and its user.
  @Flag(help: .hidden) var moduleSeal = false

  /// Whether this process is a module host.
  var isHost: Bool { moduleSeal || moduleHost != nil }

  /// Runs a module if this process is a module host.
  ///
  /// - Returns: Whether this process is a module host.
  /// - Throws: ``NetmapError`` when the module does not start; the host has reported that to
  ///   netmapd.
  func runs(_ address: DaemonAddress) throws(NetmapError) -> Bool {
    let source: ModuleHostProcess.OrderSource
    if moduleSeal {
      source = .sealed(4, report: 5)
    } else if let moduleHost {
      source = .told(
        .init(
          vale: moduleSwitch, path: moduleHost,
          configuration: String(moduleConfiguration.dropFirst()),
          fallback: SwitchModuleChoice.Fallback(rawValue: moduleFallback) ?? .learning),
        user: moduleUser, group: moduleGroup)
    } else {
      return false
    }
    try ModuleHostProcess(channel: 3, address: address, source).run()
    return true
  }
}
