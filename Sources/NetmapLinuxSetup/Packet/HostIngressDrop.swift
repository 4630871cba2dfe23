internal import CLinux
internal import Glibc
internal import NetmapCore

/// Drops host ingress for as long as it lives: the host's own network stack does not see the packets that arrive on
/// the interface.
///
/// A program at tc ingress drops every packet, after packet sockets have seen it. A bpf_link (tcx, Linux 6.6) holds
/// the program, so the kernel detaches it when the last process that has the link ends. On older kernels a
/// ``ClsactFilter`` holds it.
final class HostIngressDrop: AttachedIngressDrop {
  private let link: BPFLink?
  private let filter: ClsactFilter?

  var linkDescriptor: CInt? { link?.descriptor }

  func leaveToOthers() { link?.leaveToOthers() }

  /// - Parameters:
  ///   - interface: The interface.
  ///   - avoidingLinks: Whether to do this as on a kernel without tcx.
  /// - Throws: ``NetmapError`` `EPERM` without the necessary rights, or the error of the kernel.
  init(_ interface: LinuxInterface, avoidingLinks: Bool) throws(NetmapError) {
    let object = try BPFObject(BPFObjectCode.packetIngressDrop, for: interface.name)
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
      // EINVAL: the kernel does not know the attach type.
      guard failure == EINVAL else {
        throw BPFObject.refusal(failure, "attach a program", interface.name)
      }
    }
    link = nil
    filter = try ClsactFilter(interface, program: program)
  }
}
