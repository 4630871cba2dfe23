internal import CNetmapHalves
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A binding as this process has it mapped, with everything that must outlive its use.
@safe
final class PortInUse {
  let port: MappedPort
  /// Whose doorbell other processes ring for this port.
  let doorbells: DoorbellTable
  /// How a wait announces itself on the port's rings.
  let announcement: Announcement
  /// How a wait announces itself that sleeps on the port's bell.
  var bellAnnouncement: Announcement { port.bellAnnouncement }
  /// Whether this process's syncs send packets from any of its memory (`NS_INDIRECT`), as its user has asked for in
  /// the environment. A program that has more rights than its user does not look.
  private static let sendsAllMemory = environment("NETMAP_INDIRECT") == "1"
  /// Where doorbells say that the port's rings have made progress.
  let places: RingPlaces
  private let connection: DaemonConnection
  private let registration: Registration
  private let isCarried: Bool
  private let watched: UnsafeMutableBufferPointer<netmap_watched>

  /// - Throws: ``NetmapError`` when a ring cannot be mapped, `EINVAL` when the daemon gave no doorbell.
  init(_ opened: Opened, _ connection: DaemonConnection) throws(NetmapError) {
    port = try opened.mapPort(connection)
    registration = opened.registration
    self.connection = connection
    doorbells = connection.doorbells
    guard let announcement = doorbells.sharedAnnouncement else {
      throw NetmapError(
        .invalidArgument, "attach", opened.registration.name.rawValue,
        reason: "netmapd gave this process no doorbell", remedy: "open the port again")
    }
    self.announcement = announcement
    if Self.sendsAllMemory { port.allowIndirect(.allCopied) }
    if let control = unsafe port.control, unsafe control.mode != .rings { port.refuseSyncs() }
    places = port.ringPlaces
    isCarried = port.carrier >= 0
    let entries =
      port.pollDescriptors.map { entry in
        netmap_watched(
          descriptor: entry.file, events: entry.events,
          wanted: UInt8(
            entry.direction == .receive ? NETMAP_READY_RECEIVE : NETMAP_READY_TRANSMIT))
      }
      + port.alarmDescriptors.map {
        netmap_watched(descriptor: $0, events: Int16(POLLIN), wanted: 0)
      }
    unsafe watched = .allocate(capacity: entries.count)
    _ = unsafe watched.initialize(from: entries)
  }

  deinit { unsafe watched.deallocate() }

  /// Hands the port to the C half, which owns a reference until it releases the binding.
  func describe(in binding: UnsafeMutablePointer<netmap_binding>) {
    unsafe binding.pointee.path = UnsafeRawPointer(port.syncPath)
    unsafe binding.pointee.base = port.region.base
    unsafe binding.pointee.size = UInt64(port.region.byteCount)
    unsafe binding.pointee.doorbell = doorbells.sharedDescriptor
    unsafe binding.pointee.watched_count = CInt(watched.count)
    unsafe binding.pointee.watched = UnsafePointer(watched.baseAddress)
    unsafe binding.pointee.bell = port.bellWord?.assumingMemoryBound(to: UInt32.self)
    let hasBackend = !port.pollDescriptors.isEmpty || !port.alarmDescriptors.isEmpty
    unsafe binding.pointee.releases_at_close = hasBackend ? 1 : 0
    unsafe binding.pointee.is_polled = port.polledDirections.isEmpty ? 0 : 1
    unsafe binding.pointee.is_carried = isCarried ? 1 : 0
    unsafe binding.pointee.port = Unmanaged.passRetained(self).toOpaque()
  }

  /// Announces this process on the rings that a wait asks for.
  ///
  /// - Parameter wanted: The conditions of the wait.
  /// - Returns: 0 if the process may not be woken for all progress.
  func announce(_ wanted: Readiness) -> CInt {
    port.arm(wanted, as: announcement) && doorbells.isReliable ? 1 : 0
  }

  /// The client that this process is to the daemon.
  var tag: ClientTag { connection.tag }

  /// Whether a loop drives the rings that may still end: of this process, or of one whose end the daemon notices.
  var hasLivingLoop: Bool {
    guard let owner = unsafe port.control?.loopOwner, owner != 0 else { return false }
    return owner == tag.rawValue || !connection.hasEnded
  }

  /// Ends the use of the rings. The daemon learns of it by the end of the token.
  func leave() {
    port.detach()
    connection.leave(registration)
  }

  /// Whether the rings have stopped for good, because the interface is gone.
  var hasStopped: Bool {
    for descriptor in port.alarmDescriptors {
      var alarm = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      if unsafe poll(&alarm, 1, 0) > 0 { return true }
    }
    return false
  }
}
