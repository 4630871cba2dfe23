internal import CLinux
internal import Glibc
package import NetmapCore
internal import NetmapLinux

/// How to bind an XDP socket.
struct XDPBinding: Hashable {
  var isZeroCopy: Bool
  /// Whether a packet may have several descriptors, `XDP_USE_SG`.
  var isMultiBuffer: Bool

  var flags: UInt16 {
    UInt16(XDP_USE_NEED_WAKEUP) | UInt16(isZeroCopy ? XDP_ZEROCOPY : XDP_COPY)
      | (isMultiBuffer ? UInt16(CLINUX_XDP_USE_SG) : 0)
  }
}

/// An XDP socket on one queue of an interface: <linux/if_xdp.h>.
@safe
package final class XDPSocket {
  let file: CInt
  private(set) var binding = XDPBinding(isZeroCopy: false, isMultiBuffer: false)
  private let subject: String
  /// Entries in each of its rings.
  let ringSize: UInt32

  /// Makes a socket with its rings. The socket is not bound yet.
  ///
  /// - Parameters:
  ///   - interface: The interface.
  ///   - slots: Slots of the port's rings. The socket's rings hold twice as many entries, since a slot
  ///     may need two descriptors.
  ///   - region: The region to register as UMEM; nil for a socket that will share another socket's UMEM.
  ///   - headroom: Where the kernel puts received frames in the chunks of the UMEM, bytes.
  /// - Throws: ``NetmapError``: `EPERM`, `EOPNOTSUPP` on a kernel without AF_XDP, `ENOMEM` when the kernel may not
  ///   lock enough memory.
  init(
    for interface: LinuxInterface, slots: Int, registering region: Region?, headroom: Int
  ) throws(NetmapError) {
    subject = interface.name
    var size: UInt32 = 64
    while Int(size) < slots * 2 { size *= 2 }
    ringSize = size
    file = try interface.rights.xdpSocket(
      for: interface, registering: region, headroom: headroom)
    try set(XDP_UMEM_FILL_RING, "XDP_UMEM_FILL_RING", size)
    try set(XDP_UMEM_COMPLETION_RING, "XDP_UMEM_COMPLETION_RING", size)
    try set(XDP_RX_RING, "XDP_RX_RING", size)
    try set(XDP_TX_RING, "XDP_TX_RING", size)
    // Newer kernels let one call send a whole ring; older ones do not know the option.
    var budget = size
    _ = unsafe setsockopt(
      file, CInt(CLINUX_SOL_XDP), CInt(CLINUX_XDP_MAX_TX_SKB_BUDGET), &budget, 4)
  }

  deinit {
    if file >= 0 { close(file) }
  }

  /// Makes a socket in the calling thread's network namespace, without rings and not bound.
  ///
  /// - Parameters:
  ///   - subject: The interface's name, for messages.
  ///   - memory: The memory to register as UMEM; nil for none. The kernel does not need the mapping afterwards.
  /// - Returns: The socket, which the caller owns.
  /// - Throws: As ``InterfaceRights/xdpSocket(for:registering:)``.
  package static func open(
    for subject: String, registering memory: XDPUserMemory?
  ) throws(NetmapError) -> CInt {
    let file = socket(
      CInt(CLINUX_AF_XDP), CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard file >= 0 else { throw socketRefusal(errno, subject) }
    guard let memory = unsafe memory else { return file }
    do throws(NetmapError) {
      unsafe try register(memory, with: file, subject)
      return file
    } catch {
      close(file)
      throw error
    }
  }

  private static func register(
    _ memory: XDPUserMemory, with file: CInt, _ subject: String
  ) throws(NetmapError) {
    var umem = xdp_umem_reg()
    umem.addr = unsafe UInt64(UInt(bitPattern: memory.base))
    umem.len = unsafe UInt64(memory.byteCount)
    umem.chunk_size = unsafe UInt32(memory.chunkSize)
    // In addition to the kernel's own headroom.
    umem.headroom = unsafe UInt32(memory.headroom - RegionLayout.kernelHeadroom)
    guard
      unsafe setsockopt(
        file, CInt(CLINUX_SOL_XDP), CInt(XDP_UMEM_REG), &umem,
        socklen_t(MemoryLayout<xdp_umem_reg>.size)) == 0
    else {
      let code = errno
      guard code == ENOBUFS || code == ENOMEM else {
        throw NetmapError(
          .init(rawValue: code), "open", subject,
          reason: "AF_XDP cannot use memory region \(unsafe memory.regionID):"
            + " \(unsafe String(cString: strerror(code)))",
          remedy: "use buffers of 2048 or 4096 bytes")
      }
      throw NetmapError(
        .outOfMemory, "open", subject,
        reason: "the kernel cannot lock the \(umem.len >> 20) MiB of memory region"
          + " \(unsafe memory.regionID)",
        remedy:
          "raise the limit of locked memory (ulimit -l), run with CAP_IPC_LOCK, or use fewer buffers"
      )
    }
  }

  private func set(_ option: Int32, _ label: String, _ value: UInt32) throws(NetmapError) {
    var value = value
    guard unsafe setsockopt(file, CInt(CLINUX_SOL_XDP), CInt(option), &value, 4) == 0 else {
      throw systemError("setsockopt", "\(subject) (\(label), \(value))")
    }
  }

  // MARK: Binding

  /// The result of bind(2).
  enum BindResult {
    case bound
    case failed(Int32)
  }

  /// Binds the socket to a queue.
  ///
  /// The kernel releases a queue some milliseconds after the last socket on it was closed; until then the queue is
  /// taken. This function waits for that, 20 ms at most. A caller that waits longer must not hold a lock.
  ///
  /// - Parameters:
  ///   - interface: The interface.
  ///   - queue: One of its queues.
  ///   - wanted: The mode. A socket that shares memory gets the mode of the other socket.
  ///   - other: The socket whose UMEM is shared; nil for one that has registered its own.
  /// - Returns: Whether it worked, and the `errno` if not.
  func bind(
    to interface: LinuxInterface, queue: Int, _ wanted: XDPBinding, sharing other: XDPSocket?
  ) -> BindResult {
    var address = sockaddr_xdp()
    address.sxdp_family = UInt16(CLINUX_AF_XDP)
    address.sxdp_ifindex = interface.index
    address.sxdp_queue_id = UInt32(queue)
    address.sxdp_flags = other == nil ? wanted.flags : UInt16(XDP_SHARED_UMEM)
    address.sxdp_shared_umem_fd = other.map { UInt32($0.file) } ?? 0
    for _ in 0..<20 {
      let result = unsafe withUnsafePointer(to: address) { address in
        unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
          unsafe Glibc.bind(file, address, socklen_t(MemoryLayout<sockaddr_xdp>.size))
        }
      }
      if result == 0 {
        binding = wanted
        return .bound
      }
      let code = errno
      guard code == EBUSY else { return .failed(code) }
      usleep(1000)
    }
    return .failed(EBUSY)
  }

  // MARK: Refusals

  private static func socketRefusal(_ code: Int32, _ subject: String) -> NetmapError {
    switch code {
    case EPERM, EACCES:
      NetmapError(
        .notPermitted, "open", subject, reason: "no right to make an XDP socket",
        remedy: "run as root, or with the capability CAP_NET_RAW")
    case EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT:
      NetmapError(
        .unsupported, "open", subject, reason: "this kernel has no AF_XDP",
        remedy: "choose another backend (@backend:name=packet)")
    case EMFILE, ENFILE:
      NetmapError(
        .tooManyFiles, "open", subject, reason: unsafe String(cString: strerror(code)),
        remedy: "raise the limit of open files (ulimit -n)")
    default:
      NetmapError(
        .init(rawValue: code), "open", subject,
        reason: "cannot make an XDP socket: \(unsafe String(cString: strerror(code)))")
    }
  }
}
