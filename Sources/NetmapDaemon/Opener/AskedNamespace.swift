internal import Glibc
internal import NetmapCore
internal import Synchronization

/// The network namespace in which a thread of the broker has interfaces looked up.
///
/// The broker may not enter any network namespace. It names them to the opener instead.
enum AskedNamespace {
  private static let used = Atomic<Bool>(false)
  private static let own = Mutex<NamespaceFile?>(nil)
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    unsafe pthread_key_create(&key, nil)
    return key
  }()

  /// Whether this process names namespaces instead of entering them.
  static var isUsed: Bool { used.load(ordering: .relaxed) }

  /// The process's own network namespace.
  static var home: NamespaceFile? { own.withLock { $0 } }

  /// Makes this process name namespaces from now on.
  ///
  /// Must be called before the process loses the right to open its own.
  static func use() {
    let home = NamespaceFile.current()
    own.withLock { $0 = home }
    used.store(true, ordering: .relaxed)
  }

  /// The namespace in which the calling thread has interfaces looked up; nil for the process's own.
  static var current: NamespaceFile? {
    guard isUsed, let value = unsafe pthread_getspecific(key) else { return nil }
    return unsafe Unmanaged<NamespaceFile>.fromOpaque(value).takeUnretainedValue()
  }

  /// Runs `body` while the calling thread has interfaces looked up in `namespace`; nil for the
  /// process's own.
  static func with<R>(
    _ namespace: NamespaceFile?, _ body: () throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    let former = unsafe pthread_getspecific(key)
    unsafe pthread_setspecific(
      key, namespace.map { unsafe Unmanaged.passUnretained($0).toOpaque() })
    defer { unsafe pthread_setspecific(key, former) }
    return try withExtendedLifetime(namespace) { () throws(NetmapError) in try body() }
  }
}

/// The user in whose name the daemon acts, whichever user its process runs as.
enum DaemonUser {
  /// A broker acts for root.
  static var own: UInt32 { AskedNamespace.isUsed ? 0 : geteuid() }
}

extension NamespaceFile {
  /// Checks that the process that passed the namespace may have its interfaces opened.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  func check() throws(NetmapError) {
    guard !mayBeUsed(by: asker) else { return }
    throw refusal(
      "is neither the namespace of process \(asker.process) nor owned by user \(asker.user)")
  }

  /// As ``check()``, but does not inspect the process, which would take privileges.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  func checkOwner() throws(NetmapError) {
    guard asker.user != 0, owner != asker.user else { return }
    throw refusal("is not owned by user \(asker.user)")
  }

  private func refusal(_ why: String) -> NetmapError {
    NetmapError(
      .notPermitted, "open", "network namespace \(number)", reason: "it \(why)",
      remedy: "open the port from a process that is in the namespace")
  }

  /// Whether interfaces of the namespace may be opened for a process: the process is in the
  /// namespace, or its user is root or owns the user namespace to which the network namespace
  /// belongs.
  ///
  /// A descriptor of a namespace proves nothing: the process may have inherited it, or got it by
  /// mistake.
  func mayBeUsed(by asker: OpenerRequest.Asker) -> Bool {
    if asker.user == 0 || owner == asker.user { return true }
    var text = [CChar](repeating: 0, count: 64)
    let count = unsafe readlink("/proc/\(asker.process)/ns/net", &text, text.count)
    let name = String(
      decoding: text.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return name == "net:[\(number)]"
  }
}
