internal import CBPF
internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// One of netmap's BPF objects, loaded into the kernel: its programs and maps, by name.
///
/// The programs and maps go when this object is destroyed, except those that a link or another descriptor still
/// holds.
@safe
package final class BPFObject: Sendable {
  private nonisolated(unsafe) let object: OpaquePointer
  private let subject: String

  /// Loads an object.
  ///
  /// - Parameters:
  ///   - code: The ELF object, from ``BPFObjectCode``.
  ///   - subject: The interface that the object is for, as messages name it.
  ///   - entries: Sizes of maps, by name, where they differ from those in the source.
  ///   - flags: Flags of programs, by name, where they differ from those of the program's section.
  /// - Throws: ``NetmapError``: `EPERM` without the right to load programs.
  package init(
    _ code: [UInt8], for subject: String, entries: [String: Int] = [:],
    flags: [String: UInt32] = [:]
  ) throws(NetmapError) {
    cbpf_be_quiet()
    self.subject = subject
    let opened = unsafe code.withUnsafeBytes { bytes in
      unsafe bpf_object__open_mem(bytes.baseAddress, bytes.count, nil)
    }
    guard let opened = unsafe opened else { throw Self.refusal(errno, "open a program", subject) }
    unsafe object = opened
    for (name, count) in entries {
      if let map = unsafe bpf_object__find_map_by_name(object, name) {
        unsafe bpf_map__set_max_entries(map, UInt32(count))
      }
    }
    for (name, value) in flags {
      if let program = unsafe bpf_object__find_program_by_name(object, name) {
        unsafe bpf_program__set_flags(program, value)
      }
    }
    let code = unsafe bpf_object__load(object)
    // deinit closes the object.
    guard code == 0 else { throw Self.refusal(-code, "load a program", subject) }
  }

  deinit { unsafe bpf_object__close(object) }

  /// The descriptor of a program. The object owns it: do not close it.
  package func program(_ name: String) throws(NetmapError) -> CInt {
    guard let program = unsafe bpf_object__find_program_by_name(object, name) else {
      throw Self.refusal(ENOENT, "find program \(name)", subject)
    }
    return unsafe bpf_program__fd(program)
  }

  /// The descriptor of a map. The object owns it: do not close it.
  package func map(_ name: String) throws(NetmapError) -> CInt {
    guard let map = unsafe bpf_object__find_map_by_name(object, name) else {
      throw Self.refusal(ENOENT, "find map \(name)", subject)
    }
    return unsafe bpf_map__fd(map)
  }

  /// The error that tells the user about a failed bpf(2) call.
  package static func refusal(_ code: Int32, _ what: String, _ subject: String) -> NetmapError {
    let text = unsafe String(cString: strerror(code))
    if code == EPERM || code == EACCES {
      return NetmapError(
        .notPermitted, "open", subject,
        reason: "no right to \(what) in the kernel (BPF): \(text)",
        remedy: "run as root, or with the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW")
    }
    return NetmapError(
      .init(rawValue: code), "open", subject, reason: "cannot \(what) in the kernel (BPF): \(text)")
  }
}

/// A program that is attached to an interface by a link.
///
/// Destroying this object detaches the program, and the interface is as it was before. If the process dies, the
/// kernel detaches the program once no other process holds the link.
package final class BPFLink: Sendable {
  private let file: CInt
  /// Whether the program stays attached for other holders of the link when this object is destroyed.
  private let staysWithOthers = Atomic<Bool>(false)

  /// The link's descriptor. This object owns it: do not close it.
  var descriptor: CInt { file }

  /// Attaches a program to an interface; nil when the kernel refuses.
  ///
  /// - Parameters:
  ///   - program: The descriptor of a loaded program.
  ///   - index: The interface.
  ///   - type: `CLINUX_BPF_XDP`, `CLINUX_BPF_TCX_INGRESS`, ...
  ///   - flags: The flags of that type: `CLINUX_XDP_FLAGS_DRV_MODE`, ...
  ///   - failure: Set to the `errno` of bpf(2) when the result is nil.
  package init?(_ program: CInt, to index: UInt32, type: Int, flags: Int, failure: inout Int32) {
    let result = cbpf_link_create(program, CInt(index), CInt(type), UInt32(flags))
    guard result >= 0 else {
      failure = -result
      return nil
    }
    _ = fcntl(result, F_SETFD, FD_CLOEXEC)
    file = result
  }

  /// From now on, destroying this object leaves the program attached as long as another process holds the link.
  package func leaveToOthers() { staysWithOthers.store(true, ordering: .relaxed) }

  deinit {
    // Closing the link is not enough, because this may not be its last copy: a child that is between fork(2) and
    // exec(2) has one, too.
    if !staysWithOthers.load(ordering: .relaxed) { _ = bpf_link_detach(file) }
    close(file)
  }
}
