internal import CBPF
internal import CLinux
internal import Glibc
internal import NetmapCore

/// Keeps what arrives on an interface from the host's own network stack, as long as it lives.
///
/// A program at tc ingress drops everything; packet sockets have seen it by then. It hangs on a bpf_link
/// (tcx, Linux 6.6), so that it goes with this process whatever ends it; on older kernels on a
/// ``ClsactFilter``.
@safe
final class HostBlind {
  private var link: CInt = -1
  private var filter: ClsactFilter?

  /// - Parameter avoidingLinks: Whether to do as on a kernel without tcx.
  /// - Throws: ``NetmapError`` `EPERM` without the rights that it takes, or what the kernel says.
  init(_ interface: LinuxInterface, avoidingLinks: Bool) throws(NetmapError) {
    let program = try Self.load(interface)
    defer { close(program) }
    if !avoidingLinks {
      let result = cbpf_link_create(
        program, CInt(interface.index), CInt(CLINUX_BPF_TCX_INGRESS), 0)
      if result >= 0 {
        link = result
        return
      }
      // EINVAL: an attach type that the kernel has never heard of.
      guard result == -EINVAL else {
        throw Self.refusal(-result, "attaching a BPF program", interface)
      }
    }
    filter = try ClsactFilter(interface, program: program)
  }

  deinit {
    if link >= 0 { close(link) }
  }

  /// - Returns: A descriptor of the program.
  private static func load(_ interface: LinuxInterface) throws(NetmapError) -> CInt {
    cbpf_be_quiet()
    let object = unsafe BPFObjectCode.packetBlind.withUnsafeBytes { code in
      unsafe bpf_object__open_mem(code.baseAddress, code.count, nil)
    }
    guard let object = unsafe object else {
      throw refusal(errno, "reading a BPF program", interface)
    }
    defer { unsafe bpf_object__close(object) }
    let result = unsafe bpf_object__load(object)
    guard result == 0 else { throw refusal(-result, "loading a BPF program", interface) }
    guard let program = unsafe bpf_object__find_program_by_name(object, ClsactFilter.programName)
    else { throw refusal(ENOENT, "finding a BPF program", interface) }
    let copy = unsafe fcntl(bpf_program__fd(program), CInt(CLINUX_F_DUPFD_CLOEXEC), 0)
    guard copy >= 0 else { throw refusal(errno, "keeping a BPF program", interface) }
    return copy
  }

  static func refusal(
    _ code: CInt, _ what: StaticString, _ interface: LinuxInterface
  ) -> NetmapError {
    if code == EPERM || code == EACCES {
      return NetmapError(
        .notPermitted, "open", interface.name, reason: "\(what) needs CAP_BPF and CAP_NET_ADMIN",
        remedy: "run as root")
    }
    return NetmapError(
      .init(rawValue: code), "open", interface.name,
      reason: "\(what): \(unsafe String(cString: strerror(code)))")
  }
}
