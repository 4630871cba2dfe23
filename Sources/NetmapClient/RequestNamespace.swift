internal import Glibc
internal import NetmapCore

// The network namespace in which the daemon looks up the interface that a request may name.

extension DaemonConnection {
  /// The network namespace in which the daemon looks up the interface that a request may name.
  ///
  /// A switch port and its pipes are in no namespace, so where there is no /proc, as after chroot(2), they need none.
  func namespace(of request: RegisterRequest) throws(NetmapError) -> OwnedFile? {
    guard request.name.isVale else { return try way.namespace(request.name) }
    return try? way.namespace(request.name)
  }

  /// The calling thread's network namespace, in which the daemon looks up the interface's name.
  static func namespace(for name: PortName) throws(NetmapError) -> OwnedFile? {
    // The process may have no path to it any more.
    if let kept = KeptNamespace.current() { return kept }
    let path = KeptNamespace.path
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    if file >= 0 { return OwnedFile(file) }
    // A pipe's name need not be an interface's. The daemon must not look up any other name in its
    // own namespace.
    guard name.pipe == nil else { return nil }
    throw systemError(
      "open", path,
      remedy: "mount /proc, which identifies the network namespace for netmapd")
  }
}
