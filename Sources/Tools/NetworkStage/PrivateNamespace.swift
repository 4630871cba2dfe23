internal import CLinux
internal import Glibc
package import NetmapCore

/// A network namespace without a name, for as long as it is of use.
///
/// The calling thread moves in, and so do the threads and processes that it starts from then on. No
/// interface of the machine is visible there, none can be touched. It goes with its last thread and
/// descriptor, and all interfaces in it with it: also when the process is killed.
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

  /// Moves the calling thread, the one that entered, back to where it came from. To be called once.
  package func leave() {
    // A thread that cannot go back must not go on as if it were there.
    precondition(setns(home, CInt(CLINUX_CLONE_NEWNET)) == 0, "cannot leave a network namespace")
    close(home)
  }
}
