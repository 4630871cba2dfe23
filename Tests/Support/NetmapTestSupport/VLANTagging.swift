internal import CBPF
internal import CLinux
internal import Glibc

/// Tags every packet that the host sends on an interface, as an 802.1Q interface does: the tag is beside the frame, and
/// the interface is to put it in.
///
/// The test kernel may have no 802.1Q interfaces, so a program at tcx egress does it (Linux 6.6). It ends with this
/// object.
public final class VLANTagging {
  private let link: CInt

  /// - Parameters:
  ///   - interface: The interface's name in the calling thread's namespace.
  ///   - type: The type of the tag: 0x8100 or 0x88a8.
  ///   - control: Its control information.
  /// - Throws: ``ProgramError`` when the kernel refuses the program.
  public init(_ interface: String, type: UInt16 = 0x8100, control: UInt16) throws {
    // struct bpf_insn: operation, registers, offset, and a constant of 32 bits.
    func instruction(_ operation: UInt64, register: UInt64 = 0, _ constant: UInt32 = 0) -> UInt64 {
      operation | register << 8 | UInt64(constant) << 32
    }
    let (move, call, exit): (UInt64, UInt64, UInt64) = (0xb7, 0x85, 0x95)
    let code = [
      // bpf_skb_vlan_push(r1 = the packet, r2 = the type in network order, r3 = the control information)
      instruction(move, register: 2, UInt32(type.bigEndian)),
      instruction(move, register: 3, UInt32(control)), instruction(call, 18),
      // TCX_NEXT
      instruction(move, register: 0, .max), instruction(exit),
    ]
    let program = unsafe code.withUnsafeBytes { bytes in
      unsafe bpf_prog_load(
        BPF_PROG_TYPE_SCHED_CLS, "test_tag", "GPL",
        bytes.baseAddress?.assumingMemoryBound(to: bpf_insn.self), code.count, nil)
    }
    guard program >= 0 else { throw ProgramError(text: "bpf_prog_load: errno \(-program)") }
    defer { close(program) }
    let index = CInt(unsafe if_nametoindex(interface))
    link = cbpf_link_create(program, index, CInt(CLINUX_BPF_TCX_INGRESS) + 1, 0)
    guard link >= 0 else {
      throw ProgramError(text: "attach at tcx egress of \(interface): errno \(-link)")
    }
  }

  deinit { close(link) }
}
