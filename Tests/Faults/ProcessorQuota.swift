import Glibc
import NetmapTestSupport

/// Limits a process to five milliseconds of processor time per second (cgroups(7), both versions), for the lifetime
/// of this object.
///
/// The kernel stops a process at the next tick, and takes what it has used too much from the following seconds. With less
/// than a tick per second, one wait can be longer than netmapd's patience.
final class ProcessorQuota {
  private let group: String
  private let root: String
  private let process: Int32

  /// - Returns: Nil if this process may not make control groups for processor time.
  init?(_ process: Int32) {
    self.process = process
    for (root, limits) in [
      (
        "/sys/fs/cgroup/cpu", [("cpu.cfs_period_us", "1000000"), ("cpu.cfs_quota_us", "5000")]
      ),
      ("/sys/fs/cgroup", [("cpu.max", "5000 1000000")]),
    ] {
      let group = "\(root)/netmap-test-\(process)"
      guard unsafe mkdir(group, 0o755) == 0 else { continue }
      if limits.allSatisfy({ Self.write($0.1, to: "\(group)/\($0.0)") }),
        Self.write("\(process)", to: "\(group)/cgroup.procs")
      {
        (self.group, self.root) = (group, root)
        return
      }
      unsafe rmdir(group)
    }
    return nil
  }

  deinit {
    _ = Self.write("\(process)", to: "\(root)/cgroup.procs")
    unsafe rmdir(group)
  }

  private static func write(_ text: String, to path: String) -> Bool {
    let file = unsafe open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    return unsafe Glibc.write(file, text, text.utf8.count) == text.utf8.count
  }
}
