internal import CBPF
internal import CLinux
internal import Glibc

/// The BPF programs attached to an interface, and the interfaces of its namespace, read from the kernel.
///
/// Does not start ip(8), which takes longer than some of the intervals that tests measure.
public struct InterfaceState: Hashable, Sendable, CustomStringConvertible {
  /// Whether an XDP program of any mode is attached.
  public var hasXDPProgram = false
  /// Number of programs on tcx links at ingress; 0 on kernels without tcx.
  public var ingressPrograms = 0
  /// The same at egress.
  public var egressPrograms = 0
  /// The names of the interfaces in the namespace.
  public var interfaces: [String] = []

  /// Reads the state of interface `name` in the calling thread's namespace.
  public init(_ name: String) {
    let index = unsafe if_nametoindex(name)
    var (driver, generic, hardware): (UInt32, UInt32, UInt32) = (0, 0, 0)
    let result = unsafe cbpf_xdp_query(CInt(index), &driver, &generic, &hardware)
    hasXDPProgram = result == 0 && (driver != 0 || generic != 0 || hardware != 0)
    ingressPrograms = Self.programs(CInt(index), CLINUX_BPF_TCX_INGRESS)
    egressPrograms = Self.programs(CInt(index), CLINUX_BPF_TCX_EGRESS)
    guard let list = unsafe if_nameindex() else { return }
    defer { unsafe if_freenameindex(list) }
    var at = unsafe list
    while let text = unsafe at.pointee.if_name {
      unsafe interfaces.append(String(cString: text))
      unsafe at += 1
    }
  }

  private static func programs(_ index: CInt, _ hook: Int) -> Int {
    var count: UInt32 = 0
    // Asks only for the number: without room for ids the call fails with ENOSPC, but still sets the count.
    _ = unsafe bpf_prog_query(index, bpf_attach_type(UInt32(hook)), 0, nil, nil, &count)
    return Int(count)
  }

  public var description: String {
    "XDP program: \(hasXDPProgram), tcx programs: \(ingressPrograms) at ingress, \(egressPrograms) at egress,"
      + " interfaces: \(interfaces)"
  }
}

/// BPF programs, maps and links on this machine.
public enum LoadedBPF {
  /// Programs, maps and links with this package's names that no process has a descriptor of, such as `prog_id
  /// 7`.
  ///
  /// Can contain, for a moment, objects that another process is loading or releasing.
  ///
  /// - Throws: ``ProgramError`` when /proc cannot be searched.
  public static func abandoned() throws -> [String] {
    // Listed before the descriptors, so that objects loaded in between are not in the list.
    let programs = unsafe ids(bpf_prog_get_next_id).filter { isOurs(program: $0) }
    let maps = unsafe ids(bpf_map_get_next_id).filter { isOurs(map: $0) }
    let links = unsafe ids(bpf_link_get_next_id).compactMap { id in
      program(ofLink: id).flatMap { programs.contains($0) ? id : nil }
    }
    let held = try Set(
      TestProgram.output(of: [
        "sh", "-c",
        "cat /proc/[0-9]*/fdinfo/* 2>/dev/null | grep -E '^(prog|map|link)_id:' || true",
      ]).split(separator: "\n").map { line in line.split { $0 == ":" || $0 == "\t" } }
        .filter { $0.count == 2 }.map { "\($0[0]) \($0[1])" })
    // A map needs no descriptor while a process holds its program, or a link that holds the program.
    let used = Set(
      programs.filter { held.contains("prog_id \($0)") }.flatMap { Self.maps(ofProgram: $0) })
    return programs.map { "prog_id \($0)" }.filter { !held.contains($0) }
      + maps.filter { !used.contains($0) }.map { "map_id \($0)" }.filter { !held.contains($0) }
      + links.map { "link_id \($0)" }.filter { !held.contains($0) }
  }

  private static func ids(
    _ next: (UInt32, UnsafeMutablePointer<UInt32>?) -> CInt
  ) -> [UInt32] {
    var (result, id): ([UInt32], UInt32) = ([], 0)
    while unsafe next(id, &id) == 0 { result.append(id) }
    return result
  }

  private static func isOurs(program id: UInt32) -> Bool {
    var name = [CChar](repeating: 0, count: 16)
    return unsafe cbpf_program_name(id, &name) == 0 && isOurs(name)
  }

  /// The maps that a program uses.
  private static func maps(ofProgram id: UInt32) -> [UInt32] {
    var ids = [UInt32](repeating: 0, count: 16)
    let count = unsafe ids.withUnsafeMutableBufferPointer { ids in
      var information = bpf_prog_info()
      information.nr_map_ids = UInt32(ids.count)
      information.map_ids = UInt64(UInt(bitPattern: ids.baseAddress))
      return describe(bpf_prog_get_fd_by_id(id), &information)
        ? Int(information.nr_map_ids) : 0
    }
    return Array(ids.prefix(count))
  }

  private static func isOurs(map id: UInt32) -> Bool {
    var information = bpf_map_info()
    guard describe(bpf_map_get_fd_by_id(id), &information) else { return false }
    return unsafe withUnsafeBytes(of: information.name) { name in
      unsafe isOurs(name.map { CChar(bitPattern: $0) })
    }
  }

  private static func program(ofLink id: UInt32) -> UInt32? {
    var information = bpf_link_info()
    guard describe(bpf_link_get_fd_by_id(id), &information) else { return nil }
    return information.prog_id
  }

  private static func isOurs(_ name: [CChar]) -> Bool {
    name.starts(with: "netmap_".utf8.map { CChar($0) })
  }

  /// Reads the information about an object, and closes the descriptor.
  private static func describe<T>(_ file: CInt, _ information: inout T) -> Bool {
    guard file >= 0 else { return false }
    defer { close(file) }
    return unsafe withUnsafeMutableBytes(of: &information) { bytes in
      var size = UInt32(bytes.count)
      return unsafe bpf_obj_get_info_by_fd(file, bytes.baseAddress, &size) == 0
    }
  }
}
