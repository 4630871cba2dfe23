internal import Glibc
public import NetmapCore

extension Switches {
  /// The module of a switch and its counters.
  ///
  /// - Parameter name: The switch's name, such as `vale0`.
  /// - Returns: The engine's report.
  /// - Throws: ``NetmapError`` `ENOENT` when there is no such switch, `EINVAL` when the name cannot be a
  ///   switch's.
  public func module(of name: String) throws(NetmapError) -> SwitchModuleReport {
    try report(try provider.answer(.module(name, .report)))
  }

  /// Selects a switch's module, or gives the module a new configuration, without losing packets.
  ///
  /// On an ``EmbeddedEngine`` a module from a shared object runs in this process. On the ``HostEngine`` it runs
  /// in a separate process with the rights of the calling user; when that process exits by itself, or leaves
  /// packets waiting for half a second, the switch uses the fallback of the choice.
  ///
  /// May block for a second when a sender has stopped in the middle of a sync, and for some seconds while
  /// a module starts.
  ///
  /// - Parameters:
  ///   - choice: The module. A relative path is relative to this process's working directory.
  ///   - name: The switch's name, such as `vale0`. A switch appears with its first port; the choice lasts until
  ///     its last port is closed.
  /// - Returns: The state after the change.
  /// - Throws: ``NetmapError``: `ENOENT` when there is no such switch or file, `EINVAL` for a file that is not
  ///   a module or for a bad configuration, `E2BIG` for a path or configuration that is too long, `EPROTO` for
  ///   a module of another version, `EPERM` for users who may open isolated ports only, `EBUSY` when a stopped
  ///   sender may still be using the former configuration, `ETIMEDOUT` when the module does not start.
  @discardableResult
  public func setModule(
    _ choice: SwitchModuleChoice, of name: String
  ) throws(NetmapError) -> SwitchModuleReport {
    let choice = try Self.absolute(choice)
    return try retrying { () throws(NetmapError) -> SwitchModuleReport in
      if case .loaded = choice { return try report(try provider.load(choice, on: name)) }
      return try report(try provider.answer(.module(name, .choose(choice))))
    }
  }

  private func report(_ answer: SwitchAnswer) throws(NetmapError) -> SwitchModuleReport {
    guard let report = answer.module else {
      throw NetmapError(
        .otherVersion, "ask", "switch", reason: "the answer does not contain its module",
        remedy: "install one version of netmap, and stop the netmapd that is still running")
    }
    return report
  }

  /// Makes a relative path absolute: the daemon has another working directory.
  private static func absolute(
    _ choice: SwitchModuleChoice
  ) throws(NetmapError) -> SwitchModuleChoice {
    guard case .loaded(let path, let configuration, let fallback) = choice else { return choice }
    guard let real = unsafe realpath(path, nil) else {
      throw systemError("load", path, remedy: "give the path of a readable shared object")
    }
    defer { unsafe free(real) }
    return .loaded(
      path: unsafe String(cString: real), configuration: configuration, fallback: fallback)
  }
}

extension EmbeddedEngine {
  /// Makes a switch use a module of this program, instead of one from a shared object.
  ///
  /// - Parameters:
  ///   - module: The module. The engine takes ownership.
  ///   - name: The switch's name, such as `vale0`.
  /// - Throws: ``NetmapError`` `ENOENT` when there is no such switch, `EINVAL` when the name cannot be a
  ///   switch's.
  public func setModule<Module: SwitchModule & ~Copyable>(
    _ module: consuming Module, of name: String
  ) throws(NetmapError) {
    let loaded = LoadedModule(module)
    _ = try engine.install(
      loaded, as: .loaded(path: Module.name), on: name)
  }
}
