internal import CLinux
internal import Glibc
package import NetmapCore

/// The steps of opening and driving interfaces that need privileges, or the interface's network namespace.
///
/// Everything else, such as code that reads shared memory, needs neither. So a process without privileges can drive
/// interfaces if another process does these steps for it.
package protocol InterfaceRights: Sendable {
  /// Looks up which interface a name means to the calling thread.
  ///
  /// - Throws: ``NetmapError`` when the lookup fails.
  func identity(of name: String) throws(NetmapError) -> InterfaceIdentity

  /// Looks an interface up by the name that it has for the calling thread.
  ///
  /// - Returns: Nil when there is none.
  /// - Throws: ``NetmapError`` when the lookup fails.
  func interface(named name: String) throws(NetmapError) -> LinuxInterface?

  /// Opens a netlink socket that reports changes of the interfaces in this interface's network namespace. The
  /// caller owns the socket.
  ///
  /// - Throws: ``NetmapError`` `EMFILE`.
  func linkEvents(of interface: LinuxInterface) throws(NetmapError) -> CInt

  /// A descriptor of the network namespace in which the calling thread has interfaces looked up; nil where there is
  /// none to be had. A veth short cut needs it, nothing else does.
  func askedNamespace() -> OwnedFile?

  /// Makes an XDP socket in the interface's network namespace, without rings and not bound.
  ///
  /// - Parameters:
  ///   - interface: The interface.
  ///   - region: The region to register as UMEM; nil for a socket that will share another socket's UMEM.
  ///   - headroom: Where the kernel puts received frames in the chunks of the UMEM, bytes.
  /// - Returns: The socket, which the caller owns.
  /// - Throws: ``NetmapError``: `EPERM`, `EOPNOTSUPP` on a kernel without AF_XDP, `ENOMEM` when the kernel may not
  ///   lock enough memory.
  func xdpSocket(
    for interface: LinuxInterface, registering region: Region?, headroom: Int
  ) throws(NetmapError) -> CInt

  /// Attaches one of netmap's XDP programs to the interface.
  ///
  /// - Throws: ``NetmapError`` `EBUSY` where another program is attached, `EPERM`, or the error of the driver. For
  ///   ``XDPProgramKind/finishing`` also the error of a kernel that cannot load the program.
  func xdpProgram(
    on interface: LinuxInterface, _ kind: XDPProgramKind
  ) throws(NetmapError) -> any AttachedXDPProgram

  /// Opens a packet socket in the interface's network namespace, bound to nothing. The caller owns the socket.
  ///
  /// - Throws: ``NetmapError`` `EPERM`, `EMFILE`.
  func packetSocket(for interface: LinuxInterface) throws(NetmapError) -> CInt

  /// Drops host ingress: the host's own network stack no longer sees the packets that arrive on the interface.
  ///
  /// - Parameters:
  ///   - interface: The interface.
  ///   - avoidingLinks: Whether to do this as on a kernel without tcx.
  /// - Returns: The object that drops the packets for as long as it lives.
  /// - Throws: ``NetmapError`` `EPERM`, or the error of the kernel.
  func ingressDrop(
    _ interface: LinuxInterface, avoidingLinks: Bool
  ) throws(NetmapError) -> any AttachedIngressDrop

  /// Makes the leg between the interface's host stack and its host rings: a veth pair.
  ///
  /// - Parameters:
  ///   - interface: The interface.
  ///   - pairs: The number of host ring pairs, which is the number of queues of the pair.
  /// - Returns: The leg, which carries the application's packets to the host at once, and the host's packets to the
  ///   application after ``AttachedHostLeg/connect(takesHostPackets:marks:)``.
  /// - Throws: ``NetmapError``: `EPERM`, `EOPNOTSUPP` on a kernel without tcx, or another error of the kernel.
  func hostLeg(
    for interface: LinuxInterface, pairs: Int
  ) throws(NetmapError) -> any AttachedHostLeg
}

extension InterfaceRights {
  package func askedNamespace() -> OwnedFile? { nil }
}

/// An XDP program of netmap, and how the kernel runs it.
package enum XDPProgramKind: UInt32, Sendable {
  /// It hands frames to sockets as they are, in the driver (`bpf/xdp_redirect.c`).
  case plain = 0
  /// The same, in the kernel in place of the driver.
  case generic = 1
  /// It completes checksums and puts back VLAN tags first, in the driver of a veth (`bpf/xdp_finish.c`).
  case finishing = 2
}

/// Netmap's XDP program on one interface. It is detached when the object is destroyed.
package protocol AttachedXDPProgram: AnyObject, Sendable {
  /// The link that keeps the program attached as long as any process has it open. The descriptor belongs to this
  /// object.
  var linkDescriptor: CInt { get }

  /// The BPF map in which the program counts the frames that it completes, for ``XDPWorkMapping``; nil for a program
  /// that completes none. The descriptor belongs to this object.
  var workDescriptor: CInt? { get }

  /// Hands frames of queue `index` to a socket from now on.
  ///
  /// - Throws: ``NetmapError`` with the `errno` of bpf(2).
  func add(socket: CInt, queue index: Int) throws(NetmapError)

  /// Returns the frames of queue `index` to the host.
  func remove(queue index: Int)

  /// From now on, destroying this object leaves the program attached as long as another process holds the link.
  func leaveToOthers()
}

/// Drops host ingress on one interface, until the object is destroyed.
package protocol AttachedIngressDrop: AnyObject, Sendable {
  /// The link that keeps the program attached as long as any process has it open; nil where a filter is used.
  var linkDescriptor: CInt? { get }

  /// From now on, destroying this object leaves the program attached as long as another process holds the link, if
  /// there is a link.
  func leaveToOthers()
}

/// The leg between an interface's host stack and its host rings. It is removed when the object is destroyed.
package protocol AttachedHostLeg: AnyObject, Sendable {
  /// The far end, which netmap drives: one queue for each host ring pair.
  var far: LinuxInterface { get }

  /// The far end's network namespace; -1 where another process keeps the leg. The descriptor belongs to this object.
  var namespaceDescriptor: CInt { get }

  /// The links that keep the host connected as long as any process has them open. The descriptors belong to this
  /// object.
  var linkDescriptors: [CInt] { get }

  /// Connects the host, or disconnects it.
  ///
  /// - Parameters:
  ///   - takesHostPackets: Whether the packets that the host sends on the interface go to the far end instead of the
  ///     wire.
  ///   - marks: Whether packets to the host are marked, so that ``AttachedIngressDrop`` lets them pass and packet
  ///     sockets leave them out.
  /// - Throws: ``NetmapError`` with the error of the kernel; nothing has changed then.
  func connect(takesHostPackets: Bool, marks: Bool) throws(NetmapError)

  /// From now on, destroying this object leaves the leg in place as long as other processes use it.
  func leaveToOthers()
}

/// The calling process's own rights, in the network namespace of the calling thread.
package struct OwnInterfaceRights: InterfaceRights {
  private let looksEverywhere: Bool

  /// - Parameter looksEverywhere: Whether opening an interface removes the filters of killed processes from all
  ///   interfaces of its network namespace, or from that interface alone. The owner of a namespace decides how many
  ///   interfaces it has. So a process that opens interfaces for other users looks at one only.
  package init(looksEverywhere: Bool = true) {
    self.looksEverywhere = looksEverywhere
  }

  package func identity(of name: String) throws(NetmapError) -> InterfaceIdentity {
    try LinuxInterface.identity(of: name)
  }

  package func interface(named name: String) throws(NetmapError) -> LinuxInterface? {
    guard let interface = try LinuxInterface(named: name) else { return nil }
    if looksEverywhere {
      ClsactFilter.undoStale()
    } else {
      ClsactFilter.undoStale(on: CInt(interface.index))
    }
    return interface
  }

  /// Removes the filters that killed processes have left on any interface of this network namespace.
  package static func undoStale() { ClsactFilter.undoStale() }

  /// Does the same in every network namespace that a process is in, or that has a name in `/run/netns`. The calling
  /// thread may end up in another namespace.
  package static func undoStaleEverywhere() {
    undoStale()
    var seen: Set<UInt64> = []
    var places = entryNames(in: "/proc").filter { Int32($0) != nil }.map { "/proc/\($0)/ns/net" }
    places.insert("/proc/self/ns/net", at: 0)
    places += entryNames(in: "/run/netns").map { "/run/netns/\($0)" }
    for (index, place) in places.enumerated() {
      let file = unsafe open(place, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
      guard file >= 0 else { continue }
      defer { close(file) }
      var status = stat()
      guard unsafe fstat(file, &status) == 0, seen.insert(UInt64(status.st_ino)).inserted,
        index > 0, setns(file, CInt(CLINUX_CLONE_NEWNET)) == 0
      else { continue }
      undoStale()
    }
  }

  package func linkEvents(of interface: LinuxInterface) throws(NetmapError) -> CInt {
    try LinkMonitor.events()
  }

  package func askedNamespace() -> OwnedFile? {
    let file = unsafe open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
    return file >= 0 ? OwnedFile(file) : nil
  }

  package func xdpSocket(
    for interface: LinuxInterface, registering region: Region?, headroom: Int
  ) throws(NetmapError) -> CInt {
    unsafe try XDPSocket.open(
      for: interface.name, registering: region.map { unsafe XDPUserMemory($0, headroom: headroom) })
  }

  package func xdpProgram(
    on interface: LinuxInterface, _ kind: XDPProgramKind
  ) throws(NetmapError) -> any AttachedXDPProgram {
    try XDPProgram(on: interface, kind)
  }

  package func packetSocket(for interface: LinuxInterface) throws(NetmapError) -> CInt {
    try PacketSocket.open(for: interface.name)
  }

  package func ingressDrop(
    _ interface: LinuxInterface, avoidingLinks: Bool
  ) throws(NetmapError) -> any AttachedIngressDrop {
    try HostIngressDrop(interface, avoidingLinks: avoidingLinks)
  }

  package func hostLeg(
    for interface: LinuxInterface, pairs: Int
  ) throws(NetmapError) -> any AttachedHostLeg {
    try HostLeg(for: interface, pairs: pairs)
  }
}

/// The memory that an XDP socket registers as its UMEM: the buffers of a region, mapped into this process.
@unsafe
package struct XDPUserMemory {
  /// The first byte of chunk 0; page aligned.
  package var base: UnsafeMutableRawPointer
  /// Bytes, those of the spare chunk included, into which the last buffer runs on.
  package var byteCount: Int
  /// Bytes of a chunk.
  package var chunkSize: Int
  /// Bytes before a received frame in its chunk, including those that the kernel leaves by itself.
  package var headroom: Int
  /// The region's number, for messages.
  package var regionID: UInt16

  package init(
    base: UnsafeMutableRawPointer, byteCount: Int, chunkSize: Int, headroom: Int, regionID: UInt16
  ) {
    unsafe self.base = unsafe base
    unsafe self.byteCount = byteCount
    unsafe self.chunkSize = chunkSize
    unsafe self.headroom = headroom
    unsafe self.regionID = regionID
  }

  /// The buffers of a region of this process.
  init(_ region: Region, headroom: Int) {
    let pool = region.layout.buffers
    unsafe self.init(
      base: region.memory.base + pool.offset, byteCount: pool.byteCount + pool.size,
      chunkSize: pool.size, headroom: headroom, regionID: region.id)
  }
}
