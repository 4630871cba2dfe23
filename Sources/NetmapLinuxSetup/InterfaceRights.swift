internal import CLinux
internal import Glibc
package import NetmapCore

/// The steps of opening and driving interfaces that take privileges, or the interface's network namespace.
///
/// Everything else, such as what reads shared memory, needs neither. So a process without privileges drives
/// interfaces if another one does these steps for it.
package protocol InterfaceRights: Sendable {
  /// Which interface a name means to the calling thread.
  ///
  /// - Throws: ``NetmapError`` when it cannot be found out.
  func identity(of name: String) throws(NetmapError) -> InterfaceIdentity

  /// Looks an interface up by the name that it has for the calling thread.
  ///
  /// - Returns: Nil when there is none.
  /// - Throws: ``NetmapError`` when it cannot be asked about.
  func interface(named name: String) throws(NetmapError) -> LinuxInterface?

  /// A netlink socket that hears of changes of the interfaces around this one; the caller's.
  ///
  /// - Throws: ``NetmapError`` `EMFILE`.
  func linkEvents(of interface: LinuxInterface) throws(NetmapError) -> CInt

  /// Makes an XDP socket in the interface's network namespace, without rings and not bound.
  ///
  /// - Parameters:
  ///   - interface: The interface.
  ///   - region: What to register as UMEM; nil for a socket that will share another one's.
  /// - Returns: The socket, the caller's.
  /// - Throws: ``NetmapError``: `EPERM`, `EOPNOTSUPP` on a kernel without AF_XDP, `ENOMEM` for want of
  ///   memory that may be locked.
  func xdpSocket(
    for interface: LinuxInterface, registering region: Region?
  ) throws(NetmapError) -> CInt

  /// Attaches our XDP program to the interface.
  ///
  /// - Throws: ``NetmapError`` `EBUSY` where somebody else's is attached, `EPERM`, or what the driver says.
  func xdpProgram(
    on interface: LinuxInterface, generic isGeneric: Bool
  ) throws(NetmapError) -> any AttachedXDPProgram

  /// A packet socket in the interface's network namespace, bound to nothing; the caller's.
  ///
  /// - Throws: ``NetmapError`` `EPERM`, `EMFILE`.
  func packetSocket(for interface: LinuxInterface) throws(NetmapError) -> CInt

  /// Keeps what arrives on the interface from the host's own network stack.
  ///
  /// - Parameters:
  ///   - interface: The interface.
  ///   - avoidingLinks: Whether to do as on a kernel without tcx.
  /// - Returns: What does it as long as it lives.
  /// - Throws: ``NetmapError`` `EPERM`, or what the kernel says.
  func blind(
    _ interface: LinuxInterface, avoidingLinks: Bool
  ) throws(NetmapError) -> any AttachedBlind
}

/// Our XDP program on one interface; detached when the object goes.
package protocol AttachedXDPProgram: AnyObject, Sendable {
  /// What keeps the program attached, as long as anybody has it open; this object's.
  var linkDescriptor: CInt { get }

  /// Hands frames of queue `index` to a socket from now on.
  ///
  /// - Throws: ``NetmapError`` with the `errno` of bpf(2).
  func add(socket: CInt, queue index: Int) throws(NetmapError)

  /// Lets the host have the frames of queue `index` again.
  func remove(queue index: Int)

  /// From now on the program stays attached as long as anybody else holds the link.
  func leaveToOthers()
}

/// What keeps arriving packets from the host; gone when the object goes.
package protocol AttachedBlind: AnyObject, Sendable {
  /// What keeps the program attached, as long as anybody has it open; nil where it is a filter.
  var linkDescriptor: CInt? { get }

  /// From now on the program stays attached as long as anybody else holds the link, where there is one.
  func leaveToOthers()
}

/// The calling process's own rights, in the network namespace of the calling thread.
package struct OwnInterfaceRights: InterfaceRights {
  private let looksEverywhere: Bool

  /// - Parameter looksEverywhere: Whether opening an interface takes what killed processes have left off all
  ///   interfaces of its network namespace, or off that one alone. How many there are is for the owner of the
  ///   namespace to decide, so whoever opens interfaces for others looks at one.
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

  /// Takes off what processes that have been killed have left on any interface of this network namespace.
  package static func undoStale() { ClsactFilter.undoStale() }

  /// The same in every network namespace that a process is in, or that has a name in `/run/netns`.
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

  package func xdpSocket(
    for interface: LinuxInterface, registering region: Region?
  ) throws(NetmapError) -> CInt {
    unsafe try XDPSocket.open(
      for: interface.name, registering: region.map { unsafe XDPUserMemory($0) })
  }

  package func xdpProgram(
    on interface: LinuxInterface, generic isGeneric: Bool
  ) throws(NetmapError) -> any AttachedXDPProgram {
    try XDPProgram(on: interface, generic: isGeneric)
  }

  package func packetSocket(for interface: LinuxInterface) throws(NetmapError) -> CInt {
    try PacketSocket.open(for: interface.name)
  }

  package func blind(
    _ interface: LinuxInterface, avoidingLinks: Bool
  ) throws(NetmapError) -> any AttachedBlind {
    try HostBlind(interface, avoidingLinks: avoidingLinks)
  }
}

/// What an XDP socket registers as its UMEM: the buffers of a region, mapped into this process.
@unsafe
package struct XDPUserMemory {
  /// The first byte of chunk 0; page aligned.
  package var base: UnsafeMutableRawPointer
  /// With the spare chunk, so that the last buffer has all its bytes.
  package var byteCount: Int
  /// Bytes of a chunk.
  package var chunkSize: Int
  /// Bytes before a received frame in its chunk, those that the kernel leaves by itself included.
  package var headroom: Int
  /// The region's, for messages.
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
  init(_ region: Region) {
    let pool = region.layout.buffers
    unsafe self.init(
      base: region.memory.base + pool.offset, byteCount: pool.byteCount + pool.size,
      chunkSize: pool.size, headroom: region.layout.headroom, regionID: region.id)
  }
}
