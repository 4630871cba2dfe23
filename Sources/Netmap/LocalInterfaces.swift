internal import NetmapCore

#if Interfaces
  internal import NetmapLinuxSetup

  /// The network interfaces that the engines of this process can open: those of Linux.
  enum LocalInterfaces {
    static var provider: LinuxInterfaces {
      LinuxInterfaces(joinsVeths: VethJoining.isInEnvironment)
    }

    /// Whether the calling thread's network namespace has an interface of this name.
    static func exists(_ name: String) -> Bool { LinuxInterface.exists(name) }
  }
#else
  internal import CLinux
  internal import Glibc

  /// No network interfaces: the package trait `Interfaces` is off, and with it every backend that needs libbpf.
  struct LocalInterfaces: InterfaceProvider {
    static var provider: LocalInterfaces { LocalInterfaces() }

    static func exists(_ name: String) -> Bool {
      unsafe !name.isEmpty && name.utf8.count < CLINUX_IFNAMSIZ && if_nametoindex(name) != 0
    }

    func open(
      _ name: String, backend: PortSpecification.BackendChoice?
    ) throws(NetmapError) -> (any InterfaceBackend)? {
      guard Self.exists(name) else { return nil }
      throw NetmapError(
        .unsupported, "open", name, reason: "this program was built without network interfaces",
        remedy: "build with the package trait Interfaces, or open the port on HostEngine.shared")
    }
  }
#endif
