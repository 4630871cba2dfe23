package import CNetmap
internal import Glibc

/// A module in this process: its functions, and the context that they are called with.
///
/// The module is destroyed with this object. Its shared object stays mapped, because Swift code
/// cannot be unloaded.
@safe
package final class LoadedModule: Sendable {
  package let name: String
  /// The path of the shared object; nil for a module of the program itself.
  package let path: String?
  private nonisolated(unsafe) let table: netmap_module
  private nonisolated(unsafe) let context: UnsafeMutableRawPointer?
  /// The part of the module that the data path reads.
  nonisolated(unsafe) let entry: UnsafeMutablePointer<ModuleEntry>

  /// Takes ownership of a module.
  ///
  /// - Parameters:
  ///   - table: The module's functions, as a shared object exports them.
  ///   - context: The context that the functions are called with; finally passed to the table's
  ///     `destroy`.
  ///   - name: The module's own name.
  ///   - path: The path of the shared object; nil for a module of the program itself.
  package init(
    _ table: netmap_module, _ context: UnsafeMutableRawPointer?, _ name: String, path: String?
  ) {
    unsafe self.table = unsafe table
    unsafe self.context = unsafe context
    self.name = name
    self.path = path
    unsafe entry = .allocate(capacity: 1)
    let lookup = unsafe unsafeBitCast(table.lookup, to: Optional<ModuleEntry.Lookup>.self)
    unsafe entry.initialize(
      to: ModuleEntry(
        lookup: lookup ?? { _, _ in }, context: context,
        decidesByAddresses: table.flags & UInt32(NETMAP_MODULE_BY_ADDRESSES) != 0,
        takesSlots: table.flags & UInt32(NETMAP_MODULE_TAKES_SLOTS) != 0))
  }

  deinit {
    unsafe table.destroy?(context)
    unsafe entry.deallocate()
  }

  /// Takes ownership of a module that the program has made itself.
  package convenience init<Module: SwitchModule & ~Copyable>(_ module: consuming Module) {
    let table = unsafe SwitchModuleLibrary.functions(Module.self, user: nil)
    unsafe self.init(table, SwitchModuleLibrary.wrap(module), Module.name, path: nil)
  }

  /// Loads a shared object, and makes a module of it.
  ///
  /// A process loads a path only once: a new version needs a new file name.
  ///
  /// - Throws: ``NetmapError``: `ENOENT` and the like for a path that cannot be read, `EINVAL` when
  ///   the file is no module, `EPROTO` when it was built for another version, or the module's own
  ///   error.
  package convenience init(path: String, configuration: String) throws(NetmapError) {
    let table = unsafe try Self.table(path)
    let name = unsafe table.name.map { unsafe String(cString: $0) } ?? "unnamed"
    var module: UnsafeMutableRawPointer?
    var text = [CChar](repeating: 0, count: 1024)
    guard let create = unsafe table.create else { throw Self.incomplete(path) }
    let code = unsafe create(table.user, configuration, &module, &text, UInt32(text.count))
    guard code == 0 else { throw Self.refusal(code, "load", name, text) }
    unsafe self.init(table, module, name, path: path)
  }

  /// Gives the module another configuration.
  ///
  /// - Throws: ``NetmapError``: the module's own error, or `EOPNOTSUPP` when the caller must make a
  ///   new module instead.
  package func configure(_ configuration: String) throws(NetmapError) {
    var text = [CChar](repeating: 0, count: 1024)
    let code =
      unsafe table.configure?(context, configuration, &text, UInt32(text.count)) ?? EOPNOTSUPP
    guard code == 0 else { throw Self.refusal(code, "configure", name, text) }
  }

  package func portLeft(_ index: Int) {
    unsafe table.port_left?(context, UInt32(index))
  }

  /// The module's own statistics.
  package var statistics: [SwitchModuleStatistic] {
    var text = [CChar](repeating: 0, count: 4096)
    let count = unsafe table.statistics?(context, &text, UInt32(text.count)) ?? 0
    return Self.statistics(
      text.prefix(min(Int(count), text.count)).map { UInt8(bitPattern: $0) })
  }

  /// Parses lines of a name and a number, and skips malformed lines.
  static func statistics(_ bytes: [UInt8]) -> [SwitchModuleStatistic] {
    bytes.split(separator: 10).prefix(64).compactMap { line in
      let words = String(decoding: line, as: UTF8.self).split(separator: " ")
      guard words.count == 2, let value = UInt64(words[1]) else { return nil }
      let isWord = words[0].utf8.allSatisfy {
        (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95
      }
      return isWord ? SwitchModuleStatistic(String(words[0]), value) : nil
    }
  }

  // MARK: - Loading

  private static func table(_ path: String) throws(NetmapError) -> netmap_module {
    // dlopen(3) would search other places for a name without a slash, and it reports no errno.
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
      throw systemError("load", path, remedy: "give the path of a readable shared object")
    }
    close(file)
    let place = path.contains("/") ? path : "./\(path)"
    // RTLD_DEEPBIND: the library prefers its own symbols, because this program may contain another
    // version of netmap and of the run-time library.
    let deepBind: CInt = 0x8
    guard let library = unsafe dlopen(place, RTLD_NOW | RTLD_LOCAL | deepBind) else {
      let reason = unsafe dlerror().map { unsafe String(cString: $0) } ?? "dlopen failed"
      throw NetmapError(
        .invalidArgument, "load", path, reason: reason,
        remedy: "build a dynamic library for this machine; see the tutorial")
    }
    guard let symbol = unsafe dlsym(library, NETMAP_MODULE_SYMBOL) else {
      throw NetmapError(
        .invalidArgument, "load", path,
        reason: "it is not a switch module: it does not export \(NETMAP_MODULE_SYMBOL)",
        remedy: "export it with @c(\(NETMAP_MODULE_SYMBOL))")
    }
    typealias Export = @convention(c) () -> UnsafePointer<netmap_module>?
    let export = unsafe unsafeBitCast(symbol, to: Export.self)
    guard let table = unsafe export() else { throw incomplete(path) }
    // Check the version first: in another version, the fields behind it may lie elsewhere.
    let version = unsafe table.pointee.version
    guard version == UInt32(NETMAP_MODULE_VERSION) else {
      throw NetmapError(
        .otherVersion, "load", path,
        reason: "it has version \(version) of the module interface, not \(NETMAP_MODULE_VERSION)",
        remedy: "build it with the installed netmap")
    }
    let value = unsafe table.pointee
    guard unsafe value.size == UInt32(MemoryLayout<netmap_module>.size),
      unsafe value.lookup != nil
    else { throw incomplete(path) }
    return unsafe value
  }

  private static func incomplete(_ path: String) -> NetmapError {
    NetmapError(
      .invalidArgument, "load", path, reason: "its table of functions is not complete",
      remedy: "create the table with SwitchModuleLibrary.table(of:)")
  }

  private static func refusal(
    _ code: Int32, _ operation: String, _ name: String, _ text: [CChar]
  ) -> NetmapError {
    let said = String(
      decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let lines = said.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
    let reason = lines.first.map(String.init) ?? ""
    return NetmapError(
      NetmapError.Code(rawValue: code), operation, name,
      reason: reason.isEmpty ? "the module refused, without a reason" : reason,
      remedy: lines.count > 1 ? String(lines[1]) : "")
  }
}
