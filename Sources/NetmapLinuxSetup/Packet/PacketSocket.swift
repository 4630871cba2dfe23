internal import CLinux
internal import Glibc
internal import NetmapCore
internal import NetmapLinux

/// One AF_PACKET socket with one ring. packet(7).
final class PacketSocket {
  let descriptor: CInt
  private let interface: LinuxInterface

  /// Opens a socket in the calling thread's network namespace. The caller owns it.
  ///
  /// - Throws: ``NetmapError`` `EPERM` without `CAP_NET_RAW`, `EMFILE`.
  static func open(for subject: String) throws(NetmapError) -> CInt {
    let descriptor = socket(AF_PACKET, CInt(CLINUX_SOCK_RAW | CLINUX_SOCK_CLOEXEC), 0)
    guard descriptor >= 0 else {
      let code = errno
      if code == EPERM || code == EACCES {
        throw NetmapError(
          .notPermitted, "open", subject,
          reason: "opening a packet socket needs CAP_NET_RAW",
          remedy: "run as root, or give the program the right: setcap cap_net_raw+ep PROGRAM")
      }
      throw NetmapError(
        .init(rawValue: code), "socket", subject,
        reason: unsafe String(cString: strerror(code)),
        remedy: code == EMFILE || code == ENFILE ? "raise the limit of open files (ulimit -n)" : "")
    }
    return descriptor
  }

  /// Opens a socket that is bound to nothing yet, and receives nothing.
  ///
  /// - Throws: ``NetmapError`` `EPERM` without `CAP_NET_RAW`, `EMFILE`, or the error of a kernel that is too old.
  init(_ interface: LinuxInterface) throws(NetmapError) {
    descriptor = try interface.rights.packetSocket(for: interface)
    self.interface = interface
    try set(PACKET_VERSION, CInt(TPACKET_V3.rawValue), "PACKET_VERSION")
    // A virtio_net_hdr before each frame states the work that is left to the interface.
    try set(PACKET_VNET_HDR, 1, "PACKET_VNET_HDR")
  }

  deinit {
    close(descriptor)
  }

  /// Sets an option of `SOL_PACKET`.
  func set(_ option: CInt, _ value: CInt, _ label: StaticString) throws(NetmapError) {
    guard trySet(option, value) else { throw refusal(label) }
  }

  func trySet(_ option: CInt, _ value: CInt) -> Bool {
    var value = value
    return unsafe setsockopt(
      descriptor, CInt(CLINUX_SOL_PACKET), option, &value, socklen_t(MemoryLayout<CInt>.size)) == 0
  }

  /// Makes the ring.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM` when the kernel has no memory for it.
  func makeRing(_ option: CInt, _ request: tpacket_req3) throws(NetmapError) {
    var request = request
    let size = socklen_t(MemoryLayout<tpacket_req3>.size)
    guard
      unsafe setsockopt(descriptor, CInt(CLINUX_SOL_PACKET), option, &request, size) == 0
    else {
      throw refusal(
        "setsockopt(PACKET_RX_RING, PACKET_TX_RING)",
        remedy: errno == ENOMEM ? "free memory, or open fewer rings at a time" : "")
    }
  }

  /// Binds the socket to the interface.
  ///
  /// - Parameter `protocol`: The protocol to receive: `ETH_P_ALL` for everything, 0 for nothing.
  func bind(protocol: Int) throws(NetmapError) {
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_protocol = UInt16(`protocol`).bigEndian
    address.sll_ifindex = Int32(interface.index)
    let result = unsafe withUnsafePointer(to: address) { address in
      unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        unsafe Glibc.bind(descriptor, address, socklen_t(MemoryLayout<sockaddr_ll>.size))
      }
    }
    guard result == 0 else {
      let code = errno
      if code == ENODEV || code == ENXIO {
        throw NetmapError(
          .noSuchDevice, "open", interface.name, reason: "the interface has been removed",
          remedy: "see 'ip link' for the interfaces of this network namespace")
      }
      throw refusal("bind")
    }
  }

  /// Rejects all packets, or accepts packets again.
  ///
  /// Otherwise two sockets would receive the packets that arrive between binding and joining a group.
  ///
  /// The socket never accepts packets that an application has sent to the host. They pass the interface's packet sockets
  /// on their way.
  func setClosed(_ isClosed: Bool) {
    let reject = sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: 0)
    var filter = [reject]
    if !isClosed {
      let mark = UInt32(bitPattern: SKF_AD_OFF + SKF_AD_MARK)
      filter = [
        sock_filter(code: UInt16(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: mark),
        sock_filter(code: UInt16(BPF_JMP | BPF_JEQ | BPF_K), jt: 0, jf: 1, k: Self.hostMark),
        reject,
        sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: .max),
      ]
    }
    unsafe filter.withUnsafeMutableBufferPointer { filter in
      var program = unsafe sock_fprog(len: UInt16(filter.count), filter: filter.baseAddress)
      _ = unsafe setsockopt(
        descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program,
        socklen_t(MemoryLayout<sock_fprog>.size))
    }
  }

  /// `NETMAP_HOST_MARK` of `bpf/host_mark.h`.
  private static let hostMark: UInt32 = 0x6e6d_6870

  /// Joins the sockets that share the packets of the interface. Each flow goes to one of them, in order
  /// (`PACKET_FANOUT_HASH`).
  ///
  /// - Parameter group: The group's number, or nil to make one.
  /// - Returns: The group's number.
  /// - Throws: ``NetmapError`` `ENETDOWN` when the interface is down, or the error of the kernel.
  func joinFanout(_ group: UInt16?) throws(NetmapError) -> UInt16 {
    let kind = CInt(PACKET_FANOUT_HASH)
    let identity = CInt(group ?? 0)
    let unique = group == nil ? CInt(PACKET_FANOUT_FLAG_UNIQUEID) : 0
    // A kernel that does not know the first flag also delivers packets that this host sends. Syncs leave them out.
    for flags in [CInt(CLINUX_FANOUT_FLAG_IGNORE_OUTGOING), 0]
    where trySet(PACKET_FANOUT, (kind | unique | flags) << 16 | identity) {
      var value: CInt = 0
      var size = socklen_t(MemoryLayout<CInt>.size)
      guard
        unsafe getsockopt(descriptor, CInt(CLINUX_SOL_PACKET), PACKET_FANOUT, &value, &size) == 0
      else { break }
      return UInt16(truncatingIfNeeded: value)
    }
    if !interface.isUp {
      throw NetmapError(
        .init(rawValue: ENETDOWN), "open", interface.name,
        reason:
          "it is down, and several receive rings cannot share packets that arrive before it is up",
        remedy: "bring it up: ip link set \(interface.name) up")
    }
    throw refusal("setsockopt(PACKET_FANOUT)")
  }

  private func refusal(_ call: StaticString, remedy: String = "") -> NetmapError {
    systemError(call, interface.name, remedy: remedy)
  }
}
