internal import CLinux
internal import Glibc
internal import NetmapCore

/// A descriptor of a network namespace, network_namespaces(7).
///
/// A process that has such a descriptor may not have interfaces of the namespace opened for that
/// reason alone.
final class NamespaceFile: Sendable {
  let file: CInt
  /// The object that keeps the descriptor open.
  private let keeper: any Sendable
  let number: UInt64

  /// The process and user in whose name the namespace is used.
  let asker: OpenerRequest.Asker

  /// - Parameters:
  ///   - file: A descriptor that a process passed as one of a network namespace.
  ///   - asker: The process and its user; the daemon itself by default.
  /// - Throws: ``NetmapError`` `EINVAL` for any other descriptor.
  convenience init(
    _ file: ForeignFile, of asker: OpenerRequest.Asker = .init()
  ) throws(NetmapError) {
    try self.init(file.descriptor, asker, kept: file)
  }

  /// - Parameter file: A descriptor of a namespace that the daemon itself has made.
  /// - Throws: ``NetmapError`` `EINVAL` for any other descriptor.
  convenience init(_ file: OwnedFile) throws(NetmapError) {
    try self.init(file.descriptor, kept: file)
  }

  private init(
    _ file: CInt, _ asker: OpenerRequest.Asker = .init(), kept keeper: any Sendable
  ) throws(NetmapError) {
    // The kernel itself writes the text of this link for any kind of file. Reading it never waits,
    // whereas other calls on a file can wait for as long as its file system likes.
    var text = [CChar](repeating: 0, count: 64)
    let count = unsafe readlink("/proc/self/fd/\(file)", &text, text.count)
    let name = String(
      decoding: text.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    guard name.hasPrefix("net:["), name.hasSuffix("]"),
      let number = UInt64(name.dropFirst(5).dropLast())
    else {
      throw NetmapError(
        .invalidArgument, "register", "network namespace",
        reason: "the descriptor is not that of a network namespace",
        remedy: "use one version of netmap for all processes")
    }
    self.file = file
    self.asker = asker
    self.keeper = keeper
    self.number = number
  }

  /// The user who owns the user namespace to which the network namespace belongs; nil when that
  /// user namespace is outside the daemon's.
  var owner: UInt32? {
    var user: UInt32 = 0
    return unsafe clinux_namespace_owner(file, &user) == 0 ? user : nil
  }

  /// The calling thread's network namespace; nil where /proc is missing.
  static func current() -> NamespaceFile? {
    if AskedNamespace.isUsed { return AskedNamespace.home }
    let file = unsafe open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    return try? NamespaceFile(file, kept: OwnedFile(file))
  }

  /// A descriptor of the namespace in which the calling thread has interfaces looked up; the caller
  /// owns it.
  ///
  /// - Throws: ``NetmapError`` `EMFILE`, or `ENOENT` where /proc is missing.
  static func asked() throws(NetmapError) -> OwnedFile {
    guard let namespace = AskedNamespace.current ?? current() else {
      throw NetmapError(
        .notFound, "open", "/proc/thread-self/ns/net", reason: "there is no /proc",
        remedy: "mount /proc, which identifies the network namespace")
    }
    return OwnedFile(try OwnedFile.duplicate(namespace.file))
  }

  /// Runs `body` on this thread in a network namespace, and returns to the former one.
  ///
  /// - Parameters:
  ///   - namespace: The namespace; nil for the one that the thread is in.
  ///   - home: The namespace that the thread is in.
  ///   - body: The work to do there.
  /// - Returns: What `body` returns.
  /// - Throws: ``NetmapError`` when the daemon may not enter it, or what `body` throws.
  static func within<R>(
    _ namespace: NamespaceFile?, home: NamespaceFile?, _ body: () throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    if AskedNamespace.isUsed { return try AskedNamespace.with(namespace, body) }
    guard let namespace, namespace.number != home?.number else { return try body() }
    guard let home, setns(namespace.file, CInt(CLINUX_CLONE_NEWNET)) == 0 else {
      throw NetmapError(
        .notPermitted, "open", "network namespace \(namespace.number)",
        reason: "netmapd may not enter the network namespace of the requesting process",
        remedy: "let root run netmapd, or use an embedded engine (--embedded)")
    }
    defer {
      // In the wrong namespace the daemon could serve no client.
      precondition(
        setns(home.file, CInt(CLINUX_CLONE_NEWNET)) == 0,
        "cannot leave a network namespace")
    }
    return try body()
  }
}
