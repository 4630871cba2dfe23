internal import CBPF
internal import CLinux
internal import Glibc
internal import NetmapCore

/// The XDP program of one interface: it hands the frames of a queue to the socket of that queue, and completes them
/// first where their senders have left work to the interface.
final class XDPProgram: AttachedXDPProgram {
  private let object: BPFObject
  private let sockets: CInt
  private let link: BPFLink
  private let interface: LinuxInterface
  let workDescriptor: CInt?

  /// Loads and attaches the program. Until sockets are added, all frames still go to the host.
  ///
  /// - Parameters:
  ///   - interface: Where to attach it.
  ///   - kind: Which program, and how the kernel runs it.
  /// - Throws: ``NetmapError``: `EBUSY` when the interface has another XDP program, `EOPNOTSUPP` when its driver
  ///   runs none, or the kernel cannot load the finishing program, `EINVAL` when its MTU is too large for one,
  ///   `EPERM`.
  init(on interface: LinuxInterface, _ kind: XDPProgramKind) throws(NetmapError) {
    try Self.refuseForeignProgram(on: interface)
    if kind == .finishing, !interface.arrivingFrames.canBeFinishedByXDP {
      throw NetmapError(
        .unsupported, "open", interface.name,
        reason: "the XDP program that completes frames is for a veth")
    }
    let object =
      kind == .finishing
      ? try Self.loadFinishing(for: interface) : try Self.load(for: interface)
    var failure: Int32 = 0
    let link = BPFLink(
      try object.program("netmap_redirect"), to: interface.index, type: CLINUX_BPF_XDP,
      flags: kind == .generic ? CLINUX_XDP_FLAGS_SKB_MODE : CLINUX_XDP_FLAGS_DRV_MODE,
      failure: &failure)
    guard let link else { throw Self.attachRefusal(failure, interface) }
    workDescriptor = kind == .finishing ? try object.map("netmap_work") : nil
    self.object = object
    sockets = try object.map("netmap_sockets")
    self.link = link
    self.interface = interface
  }

  var linkDescriptor: CInt { link.descriptor }

  func add(socket: CInt, queue index: Int) throws(NetmapError) {
    var (key, value) = (UInt32(index), UInt32(bitPattern: socket))
    let result = unsafe bpf_map_update_elem(sockets, &key, &value, 0)
    guard result == 0 else {
      throw BPFObject.refusal(-result, "connect queue \(index)", interface.name)
    }
  }

  func remove(queue index: Int) {
    var key = UInt32(index)
    _ = unsafe bpf_map_delete_elem(sockets, &key)
  }

  func leaveToOthers() { link.leaveToOthers() }

  /// Loads the program that completes frames. Its counters can then be read by processes, but not written.
  private static func loadFinishing(
    for interface: LinuxInterface
  ) throws(NetmapError) -> BPFObject {
    let queues = max(interface.receiveQueues, interface.transmitQueues)
    do throws(NetmapError) {
      let object = try BPFObject(
        BPFObjectCode.xdpFinish, for: interface.name,
        entries: ["netmap_sockets": queues, "netmap_work": queues])
      let frozen = bpf_map_freeze(try object.map("netmap_work"))
      guard frozen == 0 else {
        throw BPFObject.refusal(-frozen, "protect a map", interface.name)
      }
      return object
    } catch {
      // For lack of rights or descriptors, other programs could not be loaded either.
      guard ![EPERM, EMFILE, ENFILE].contains(error.code.rawValue) else { throw error }
      throw NetmapError(
        .unsupported, "open", interface.name,
        reason: "frames may arrive there with unfinished checksums or without their VLAN tags, and"
          + " this kernel cannot load the XDP program that completes them"
          + " (\(unsafe String(cString: strerror(error.code.rawValue))); it takes Linux 6.3 with BTF, and CAP_PERFMON)",
        remedy: "choose another backend (@backend:name=packet)")
    }
  }

  private static func load(for interface: LinuxInterface) throws(NetmapError) -> BPFObject {
    let entries = ["netmap_sockets": max(interface.receiveQueues, interface.transmitQueues)]
    do throws(NetmapError) {
      return try BPFObject(BPFObjectCode.xdpRedirect, for: interface.name, entries: entries)
    } catch {
      // Linux before 5.18 does not know the flag for packets of several buffers.
      guard error.code.rawValue == EINVAL else { throw error }
      return try BPFObject(
        BPFObjectCode.xdpRedirect, for: interface.name, entries: entries,
        flags: ["netmap_redirect": 0])
    }
  }

  /// Refuses an interface that has an XDP program already: netmap leaves that program alone.
  static func refuseForeignProgram(on interface: LinuxInterface) throws(NetmapError) {
    var (driver, generic, hardware): (UInt32, UInt32, UInt32) = (0, 0, 0)
    guard unsafe cbpf_xdp_query(CInt(interface.index), &driver, &generic, &hardware) == 0 else {
      return
    }
    let found = driver != 0 ? driver : generic != 0 ? generic : hardware
    guard found == 0 else {
      let owner =
        isOurs(found)
        ? ", by netmap: for an embedded engine (--embedded), or for processes whose netmapd has ended"
        : ""
      throw foreign("XDP program \(found) is attached\(owner)", interface)
    }
  }

  /// Whether a program was loaded by netmap.
  private static func isOurs(_ program: UInt32) -> Bool {
    var name = [CChar](repeating: 0, count: 16)
    guard unsafe cbpf_program_name(program, &name) == 0 else { return false }
    // The kernel keeps 15 characters of a name.
    return name.prefix { $0 != 0 }.elementsEqual(
      "netmap_redirect".utf8.prefix(15).map { CChar($0) })
  }

  private static func foreign(_ what: String, _ interface: LinuxInterface) -> NetmapError {
    NetmapError(
      .busy, "open", interface.name, reason: "another \(what)",
      remedy: "end its owner or detach it (ip link set dev \(interface.name) xdp off),"
        + " or choose another backend (@backend:name=packet)")
  }

  private static func attachRefusal(_ code: Int32, _ interface: LinuxInterface) -> NetmapError {
    switch code {
    case EBUSY, EEXIST:
      return foreign("XDP program has just been attached", interface)
    case EOPNOTSUPP:
      return NetmapError(
        .unsupported, "open", interface.name, reason: "its driver does not run XDP programs",
        remedy: "choose another mode (@backend:name=xdp,mode=generic)")
    case ERANGE, EMSGSIZE, EINVAL:
      return NetmapError(
        .invalidArgument, "open", interface.name,
        reason: "its driver does not run XDP programs at MTU \(interface.mtu)"
          + " (\(unsafe String(cString: strerror(code))))",
        remedy: "lower the MTU (ip link set dev \(interface.name) mtu 1500), or turn off the"
          + " merging of frames (ethtool -K \(interface.name) lro off)")
    case ENODEV, ENXIO:
      return NetmapError(
        .noSuchDevice, "open", interface.name, reason: "the interface has been removed")
    default:
      return BPFObject.refusal(code, "attach an XDP program", interface.name)
    }
  }
}
