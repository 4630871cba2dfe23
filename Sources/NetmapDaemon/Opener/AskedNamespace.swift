internal import Glibc
internal import NetmapCore
internal import Synchronization

/// Where a thread of the broker has interfaces looked up. The broker may enter no network namespace: it names
/// them to the opener.
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

  /// The process's own.
  static var home: NamespaceFile? { own.withLock { $0 } }

  /// This process names namespaces from now on. Called before it loses the right to open its own.
  static func use() {
    let home = NamespaceFile.current()
    own.withLock { $0 = home }
    used.store(true, ordering: .relaxed)
  }

  /// The one that the calling thread means; nil for the process's own.
  static var current: NamespaceFile? {
    guard isUsed, let value = unsafe pthread_getspecific(key) else { return nil }
    return unsafe Unmanaged<NamespaceFile>.fromOpaque(value).takeUnretainedValue()
  }

  /// Runs `body`, for which the thread means `namespace`; nil for the process's own.
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

/// The user in whose name the daemon acts, whoever it runs as.
enum DaemonUser {
  /// A broker is root's.
  static var own: UInt32 { AskedNamespace.isUsed ? 0 : geteuid() }
}

extension NamespaceFile {
  /// - Throws: ``NetmapError`` `EPERM` when interfaces of it may not be opened for whoever passed it.
  func check() throws(NetmapError) {
    guard !mayBeUsed(by: asker) else { return }
    throw refusal("is neither that of process \(asker.process) nor one of user \(asker.user)")
  }

  /// As ``check()``, without looking at the process: that takes privileges.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  func checkOwner() throws(NetmapError) {
    guard asker.user != 0, owner != asker.user else { return }
    throw refusal("is not one of user \(asker.user)")
  }

  private func refusal(_ why: String) -> NetmapError {
    NetmapError(
      .notPermitted, "open", "network namespace \(number)", reason: "it \(why)",
      remedy: "open the port from a process that is in the namespace")
  }

  /// Whether interfaces of it may be opened for a process: it is in it, or its user owns the user namespace
  /// that it belongs to, or is root.
  ///
  /// That a process has a descriptor of a namespace says little: it can have inherited it, or been sent it by
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
