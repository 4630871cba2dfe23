internal import CLinux
internal import Glibc
package import NetmapCore

/// An unnamed network namespace with a limited lifetime.
///
/// The calling thread enters the namespace; threads and processes that it starts from then on begin
/// there. None of the machine's interfaces is visible or can be changed there. The kernel removes
/// the namespace and all of its interfaces with its last thread and descriptor, also when the
/// process is killed.
package struct PrivateNamespace {
  private let home: CInt

  /// Makes a namespace and moves the calling thread into it.
  ///
  /// - Throws: ``NetmapError`` `EPERM` without the right to make namespaces (`CAP_SYS_ADMIN`).
  package static func enter() throws(NetmapError) -> PrivateNamespace {
    let home = unsafe open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
    guard home >= 0 else { throw systemError("open", "/proc/thread-self/ns/net") }
    guard unshare(CInt(CLINUX_CLONE_NEWNET)) == 0 else {
      let error = systemError(
        "unshare", "network namespace", remedy: "run as root, or with the capability CAP_SYS_ADMIN")
      close(home)
      throw error
    }
    return PrivateNamespace(home: home)
  }

  /// Moves the calling thread, which must be the one that entered, back to its former namespace;
  /// call it once.
  package func leave() {
    // A thread that is still in the private namespace must not continue.
    precondition(setns(home, CInt(CLINUX_CLONE_NEWNET)) == 0, "cannot leave a network namespace")
    close(home)
  }
}
