internal import CBPF
internal import CLinux
internal import Glibc

/// A program of somebody else on an interface: it passes every packet on. A link holds it, which ends with this object.
public final class ForeignProgram {
  public enum Hook: Sendable, CaseIterable {
    case xdp
    case tcxIngress
    case tcxEgress
  }

  private let link: CInt

  /// - Parameters:
  ///   - interface: The interface's name in the calling thread's namespace.
  ///   - hook: Where to attach the program; an XDP program in the driver.
  /// - Throws: ``ProgramError`` when the kernel refuses the program, as it does where another XDP program is attached.
  public init(_ interface: String, _ hook: Hook) throws {
    // struct bpf_insn twice: r0 = XDP_PASS or TCX_NEXT; exit.
    let result: UInt64 = hook == .xdp ? 2 : 0xffff_ffff
    let code: [UInt64] = [0xb7 | result << 32, 0x95]
    let program = unsafe code.withUnsafeBytes { bytes in
      unsafe bpf_prog_load(
        hook == .xdp ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS, "test_pass", "GPL",
        bytes.baseAddress?.assumingMemoryBound(to: bpf_insn.self), code.count, nil)
    }
    guard program >= 0 else { throw ProgramError(text: "bpf_prog_load: errno \(-program)") }
    defer { close(program) }
    let index = CInt(unsafe if_nametoindex(interface))
    let (type, flags) =
      switch hook {
      case .xdp: (CLINUX_BPF_XDP, CLINUX_XDP_FLAGS_DRV_MODE)
      case .tcxIngress: (CLINUX_BPF_TCX_INGRESS, 0)
      case .tcxEgress: (CLINUX_BPF_TCX_EGRESS, 0)
      }
    link = cbpf_link_create(program, index, CInt(type), UInt32(flags))
    guard link >= 0 else {
      throw ProgramError(text: "attach at \(hook) of \(interface): errno \(-link)")
    }
  }

  deinit { close(link) }
}
