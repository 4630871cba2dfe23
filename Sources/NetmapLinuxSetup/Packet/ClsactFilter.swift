internal import CBPF
internal import CLinux
internal import Glibc
internal import NetmapCore

/// A program at tc ingress, attached through the clsact queueing discipline, for kernels without tcx.
///
/// Such a filter outlives its process. So the process that has one also holds a UNIX socket with an abstract name,
/// which states the interface and the filter's handle. The name disappears with the process. Later processes remove
/// the filters whose names no process holds (``undoStale()``).
@safe
final class ClsactFilter: Sendable {
  /// The name of the BPF program, which identifies netmap's filters.
  static let programName = "netmap_drop"

  /// How many processes may have a filter on one interface; handles are `1...limit`.
  private static let limit: UInt32 = 16

  /// The filter's priority tells whether a netmap process created the queueing discipline as well.
  private static let priorityAlone: UInt32 = 20_045
  private static let priorityWithQdisc: UInt32 = 20_046

  private let interface: CInt
  private let handle: UInt32
  private let priority: UInt32
  private let claim: CInt

  init(_ interface: LinuxInterface, program: CInt) throws(NetmapError) {
    let index = CInt(interface.index)
    var claimed: (handle: UInt32, socket: CInt)?
    for handle in 1...Self.limit {
      guard let socket = Self.claim(handle, on: index) else { continue }
      claimed = (handle, socket)
      break
    }
    guard let claimed else {
      throw NetmapError(
        .busy, "open", interface.name,
        reason: "\(Self.limit) processes already drop its host ingress",
        remedy: "close the interface in some of them")
    }
    do throws(NetmapError) {
      priority = try Self.alone(on: index) { () throws(NetmapError) in
        try Self.attach(program, claimed.handle, to: interface)
      }
    } catch {
      close(claimed.socket)
      throw error
    }
    self.interface = index
    handle = claimed.handle
    claim = claimed.socket
  }

  deinit {
    Self.alone(on: interface) { Self.remove(handle, priority, from: interface) }
    close(claim)
  }

  /// Attaches the program, and creates the queueing discipline if there is none.
  ///
  /// - Returns: The filter's priority.
  private static func attach(
    _ program: CInt, _ handle: UInt32, to interface: LinuxInterface
  ) throws(NetmapError) -> UInt32 {
    let index = CInt(interface.index)
    let created = cbpf_clsact_create(index)
    guard created == 0 || created == -EEXIST else {
      throw BPFObject.refusal(-created, "add a clsact qdisc", interface.name)
    }
    // If another netmap process created the queueing discipline, the last netmap process removes it.
    let isOurs =
      created == 0 || (1...limit).contains { exists($0, priorityWithQdisc, on: index) }
    let priority = isOurs ? priorityWithQdisc : priorityAlone
    let attached = cbpf_clsact_attach(program, index, handle, priority)
    guard attached == 0 else {
      if created == 0 { _ = cbpf_clsact_destroy(index) }
      throw BPFObject.refusal(-attached, "attach a program", interface.name)
    }
    return priority
  }

  /// Runs `body` while no other netmap process changes the filters of the interface.
  ///
  /// Otherwise a process could begin to use the queueing discipline after another one has found it unused, and
  /// before that one removes it.
  ///
  /// The lock is an abstract name like those of the filters, so it disappears with its holder. After about a second
  /// of waiting, `body` runs without the lock: any program may take a name.
  private static func alone<R, E: Error>(
    on interface: CInt, _ body: () throws(E) -> R
  ) throws(E) -> R {
    var lock = claim(0, on: interface)
    for _ in 0..<1000 where lock == nil {
      usleep(1000)
      lock = claim(0, on: interface)
    }
    defer { if let lock { close(lock) } }
    return try body()
  }

  /// Removes the filters that dead processes have left on any interface of this network namespace.
  ///
  /// Needs `CAP_NET_ADMIN` and `CAP_BPF`; without them nothing happens.
  static func undoStale() {
    guard let list = unsafe if_nameindex() else { return }
    defer { unsafe if_freenameindex(list) }
    var at = unsafe list
    while unsafe at.pointee.if_index != 0 {
      unsafe undoStale(on: CInt(at.pointee.if_index))
      unsafe at += 1
    }
  }

  /// Does the same for one interface. The owner of the namespace decides how many others there are.
  static func undoStale(on interface: CInt) {
    cbpf_be_quiet()
    // Most interfaces have no filter at all. One request tells.
    guard hasFilters(interface, at: CLINUX_TC_INGRESS) else { return }
    for handle in 1...limit {
      for priority in [priorityAlone, priorityWithQdisc] {
        guard exists(handle, priority, on: interface), let socket = claim(handle, on: interface)
        else { continue }
        alone(on: interface) { remove(handle, priority, from: interface) }
        close(socket)
      }
    }
  }

  /// Whether there is such a filter, with netmap's program.
  private static func exists(_ handle: UInt32, _ priority: UInt32, on interface: CInt) -> Bool {
    var program: UInt32 = 0
    guard unsafe cbpf_clsact_query(interface, handle, priority, &program) == 0 else { return false }
    var name = [CChar](repeating: 0, count: 16)
    guard unsafe cbpf_program_name(program, &name) == 0 else { return false }
    return name.prefix { $0 != 0 }.elementsEqual(programName.utf8.map { CChar($0) })
  }

  private static func remove(_ handle: UInt32, _ priority: UInt32, from interface: CInt) {
    _ = cbpf_clsact_detach(interface, handle, priority)
    guard priority == priorityWithQdisc, !hasFilters(interface, at: CLINUX_TC_INGRESS),
      !hasFilters(interface, at: CLINUX_TC_EGRESS)
    else { return }
    _ = cbpf_clsact_destroy(interface)
  }

  /// Takes the name that stands for a filter; nil when another process holds it. unix(7).
  private static func claim(_ handle: UInt32, on interface: CInt) -> CInt? {
    let descriptor = socket(
      AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    var address = sockaddr_un()
    address.sun_family = UInt16(AF_UNIX)
    // A name that begins with a zero byte is not in the file system.
    let name = [0] + Array("netmap/clsact/\(interface)/\(handle)".utf8)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { path in
      unsafe path.copyBytes(from: name)
    }
    let size = MemoryLayout<sa_family_t>.size + name.count
    let result = unsafe withUnsafePointer(to: address) { address in
      unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        unsafe bind(descriptor, address, socklen_t(size))
      }
    }
    if result == 0 { return descriptor }
    close(descriptor)
    return nil
  }

  /// Whether an interface has filters at one of clsact's hooks. rtnetlink(7), `RTM_GETTFILTER`.
  private static func hasFilters(_ interface: CInt, at parent: UInt32) -> Bool {
    let descriptor = socket(
      AF_NETLINK, CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue), NETLINK_ROUTE)
    guard descriptor >= 0 else { return true }
    defer { close(descriptor) }
    // struct nlmsghdr, 16 bytes, and struct tcmsg, 20.
    var request = [UInt8](repeating: 0, count: 36)
    unsafe request.withUnsafeMutableBytes { bytes in
      unsafe bytes.storeBytes(of: 36, as: UInt32.self)
      unsafe bytes.storeBytes(of: UInt16(RTM_GETTFILTER), toByteOffset: 4, as: UInt16.self)
      unsafe bytes.storeBytes(
        of: UInt16(NLM_F_REQUEST | NLM_F_DUMP), toByteOffset: 6, as: UInt16.self)
      unsafe bytes.storeBytes(of: interface, toByteOffset: 20, as: CInt.self)
      unsafe bytes.storeBytes(of: parent, toByteOffset: 28, as: UInt32.self)
    }
    guard unsafe send(descriptor, request, request.count, 0) == request.count else { return true }
    var answer = [UInt8](repeating: 0, count: 32 << 10)
    let count = unsafe recv(descriptor, &answer, answer.count, 0)
    guard count >= 16 else { return true }
    // The first message tells: a filter, the end of the list, or an error (no such discipline).
    let type = unsafe answer.withUnsafeBytes {
      unsafe $0.loadUnaligned(fromByteOffset: 4, as: UInt16.self)
    }
    return type == UInt16(RTM_NEWTFILTER)
  }
}
