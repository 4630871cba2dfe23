internal import Glibc
public import NetmapCore

extension Switches {
  /// What a switch's module is, and what it has counted.
  ///
  /// - Parameter name: The switch's, such as `vale0`.
  /// - Returns: What is known of it.
  /// - Throws: ``NetmapError`` `ENOENT` when there is no such switch, `EINVAL` when it cannot be one.
  public func module(of name: String) throws(NetmapError) -> SwitchModuleReport {
    try report(try provider.answer(.module(name, .report)))
  }

  /// Chooses a switch's module, or gives it another configuration. No packet is lost by it.
  ///
  /// A module from a shared object runs in this process on an ``EmbeddedEngine``. On the ``HostEngine`` it
  /// runs in a process of its own, with the rights of the user who asks; when that ends by itself, or
  /// leaves packets lying for half a second, the choice's fallback takes over.
  ///
  /// May block for half a second when a sender has stopped in the middle, and for some seconds while a
  /// module starts.
  ///
  /// - Parameters:
  ///   - choice: The module. A relative path is one of this process's working folder.
  ///   - name: The switch's, such as `vale0`. It appears with its first port; the choice goes with its last.
  /// - Returns: What it is now.
  /// - Throws: ``NetmapError``: `ENOENT` when there is no such switch or file, `EINVAL` for what is no
  ///   module or no configuration, `EPROTO` for a module of another version, `EPERM` for users who
  ///   get isolated ports only, `EBUSY` when a stopped sender may be using the former configuration,
  ///   `ETIMEDOUT` when the module does not start.
  @discardableResult
  public func setModule(
    _ choice: SwitchModuleChoice, of name: String
  ) throws(NetmapError) -> SwitchModuleReport {
    let choice = try Self.absolute(choice)
    let end = monotonicNanoseconds() + 500_000_000
    while true {
      do throws(NetmapError) {
        if case .loaded = choice { return try report(try provider.load(choice, on: name)) }
        return try report(try provider.answer(.module(name, .choose(choice))))
      } catch {
        guard error.code == .busy, monotonicNanoseconds() < end else { throw error }
        usleep(10_000)
      }
    }
  }

  private func report(_ answer: SwitchAnswer) throws(NetmapError) -> SwitchModuleReport {
    guard let report = answer.module else {
      throw NetmapError(
        .otherVersion, "ask", "switch", reason: "the answer says nothing about its module",
        remedy: "install one version of netmap, and stop the netmapd that is still running")
    }
    return report
  }

  /// The daemon's working folder is another one.
  private static func absolute(
    _ choice: SwitchModuleChoice
  ) throws(NetmapError) -> SwitchModuleChoice {
    guard case .loaded(let path, let configuration, let fallback) = choice else { return choice }
    guard let real = unsafe realpath(path, nil) else {
      throw systemError("load", path, remedy: "give the path of a shared object that can be read")
    }
    defer { unsafe free(real) }
    return .loaded(
      path: unsafe String(cString: real), configuration: configuration, fallback: fallback)
  }
}

extension EmbeddedEngine {
  /// Has a module of this program decide on a switch, in place of one from a shared object.
  ///
  /// - Parameters:
  ///   - module: The module, the engine's from now on.
  ///   - name: The switch's, such as `vale0`.
  /// - Throws: ``NetmapError`` `ENOENT` when there is no such switch.
  public func setModule<Module: SwitchModule & ~Copyable>(
    _ module: consuming Module, of name: String
  ) throws(NetmapError) {
    let loaded = LoadedModule(module)
    _ = try engine.install(
      loaded, as: .loaded(path: Module.name), on: name)
  }
}
