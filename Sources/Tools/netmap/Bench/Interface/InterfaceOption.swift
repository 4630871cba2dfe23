internal import ArgumentParser
internal import ToolSupport

/// The option --interface.
extension Bench {
  /// - Throws: `ValidationError` when the options do not fit together, there is no such interface, or it has a
  ///   default route.
  func checkInterface() throws {
    guard let interface else {
      if force { throw ValidationError("--force needs --interface") }
      if let name = cases.first(where: \.needsInterface) {
        throw ValidationError(
          "--case \(name.rawValue) needs --interface: a veth pair has no zero-copy mode")
      }
      return
    }
    if cases.isEmpty {
      throw ValidationError("--interface needs --case, such as --case xdp-copy-rx")
    }
    if let name = cases.first(where: { !$0.takesInterface }) {
      throw ValidationError("--interface cannot measure \(name.rawValue)")
    }
    guard NetworkInterface.exists(interface) else {
      throw ValidationError("--interface \(interface): there is no such interface")
    }
    if !force && DefaultRoutes.include(interface) {
      throw ValidationError(
        "--interface \(interface) has a default route: the host would lose its connection; "
          + "with --force the measurement runs anyway")
    }
  }

  /// Warns of what the measurement does to the traffic of the interface.
  func warnOfInterface() {
    guard let interface else { return }
    printError(
      "netmap: warning: the host may not receive the packets of \(interface) meanwhile")
    if cases.contains(where: { $0.traffic?.direction == .transmit }) {
      printError(
        "netmap: warning: this sends UDP packets to 02:00:00:00:00:02 on \(interface) as fast as "
          + "possible")
    }
  }
}
