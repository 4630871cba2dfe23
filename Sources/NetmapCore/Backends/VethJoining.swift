internal import CLinux
internal import Glibc

/// The wish that packets between the two ends of a veth pass in shared memory while one engine has both ends open.
package enum VethJoining {
  /// The option of netmapd.
  package static let option = "--join-veths"

  /// The environment variable, for an embedded engine, and for a netmapd that a program starts on demand.
  package static let variable = "NETMAP_JOIN_VETHS"

  /// Whether `$NETMAP_JOIN_VETHS` is 1.
  ///
  /// Ignores the environment in a program that has more rights than the process that started it.
  package static var isInEnvironment: Bool {
    guard let value = unsafe secure_getenv(variable) else { return false }
    return unsafe String(cString: value) == "1"
  }
}
