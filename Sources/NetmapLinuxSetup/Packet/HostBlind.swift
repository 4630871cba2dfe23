internal import CLinux
internal import Glibc
internal import NetmapCore

/// Keeps what arrives on an interface from the host's own network stack, as long as it lives.
///
/// A program at tc ingress drops everything; packet sockets have seen it by then. It hangs on a bpf_link
/// (tcx, Linux 6.6), so that it goes with this process whatever ends it; on older kernels on a
/// ``ClsactFilter``.
final class HostBlind: AttachedBlind {
  private let link: BPFLink?
  private let filter: ClsactFilter?

  var linkDescriptor: CInt? { link?.descriptor }

  func leaveToOthers() { link?.leaveToOthers() }

  /// - Parameters:
  ///   - interface: The interface.
  ///   - avoidingLinks: Whether to do as on a kernel without tcx.
  /// - Throws: ``NetmapError`` `EPERM` without the rights that it takes, or what the kernel says.
  init(_ interface: LinuxInterface, avoidingLinks: Bool) throws(NetmapError) {
    let object = try BPFObject(BPFObjectCode.packetBlind, for: interface.name)
    let program = try object.program(ClsactFilter.programName)
    if !avoidingLinks {
      var failure: CInt = 0
      if let link = BPFLink(
        program, to: interface.index, type: CLINUX_BPF_TCX_INGRESS, flags: 0, failure: &failure)
      {
        self.link = link
        filter = nil
        return
      }
      // EINVAL: an attach type that the kernel has never heard of.
      guard failure == EINVAL else {
        throw BPFObject.refusal(failure, "attach a program", interface.name)
      }
    }
    link = nil
    filter = try ClsactFilter(interface, program: program)
  }
}
