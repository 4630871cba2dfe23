import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import Synchronization

// Ports that another process or program uses than the one that opened them, and processes that die at a
// critical moment.

extension HostPeer {
  /// Opens a port, and lets another program or a child process read it.
  static func handOver(_ way: String, _ name: String, count: String) throws {
    let port = try NetmapPort(name, engine: HostEngine.shared)
    let token = try port.duplicateToken(survivesExec: way == "exec")
    switch way {
    case "exec":
      let arguments = ["host-peer", "token", "\(token)", count]
      var words: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
      _ = unsafe execv("/proc/self/exe", &words)
      fail("execv: errno \(errno)")
    case "daemonise":
      // As daemon(7) describes: the session leader exits too.
      if clinux_fork() != 0 { _exit(0) }
      setsid()
      if clinux_fork() != 0 { _exit(0) }
      _ = unsafe chdir("/")
    default:
      // The parent lives until a test kills it.
      if clinux_fork() != 0 { while true { pause() } }
    }
    try receive(HostEngine.shared.port(token: token), count: UInt64(count) ?? 0)
    _ = port
    exit(0)
  }

  /// Dies while it holds a ring's lock.
  static func holdLock(_ name: String, _ direction: Direction) throws {
    let connection = try DaemonConnection()
    let open = try connection.register(RegisterRequest(name: try PortName(name)))
    guard
      let record = open.registration.segment.binding(at: open.registration.bindingIndex),
      let kring = unsafe open.registration.segment.kring(end: record.end, direction, 0)
    else { fail("there is no such ring") }
    while unsafe !kring.tryLock(connection.tag) { usleep(10) }
    say("locked")
    raise(SIGKILL)
  }

  /// Locks a ring as a sync does, and closes every descriptor as closefrom(3) would.
  ///
  /// Prints after 1.5 s whether it still has the lock.
  static func closeAll(_ name: String) throws {
    let (connection, open) = try DaemonConnection.locking(name)
    guard let kring = unsafe open.registration.segment.kring(end: 0, .transmit, 0) else {
      fail("there is no such ring")
    }
    say("locked")
    for file in 3..<CInt(64) { close(file) }
    usleep(1_500_000)
    say(unsafe kring.lockHolder == connection.tag.rawValue ? "held" : "lost")
    while true { pause() }
  }

  /// Executes another program while a ring is locked, as a thread can do in the middle of another thread's
  /// sync.
  static func holdLockAndExec(_ name: String, _ program: [String]) throws {
    let (connection, open) = try DaemonConnection.locking(name)
    // The port stays open across the exec, and with it the lock.
    _ = try open.token.duplicate(survivesExec: true)
    say("locked")
    var arguments: [UnsafeMutablePointer<CChar>?] = unsafe program.map { unsafe strdup($0) } + [nil]
    unsafe execvp(program[0], &arguments)
    withExtendedLifetime(connection) {}
    fail("execvp: errno \(errno)")
  }

  /// Sends a packet, and dies after it has taken a sleeper's announcement, before it rings the doorbell.
  static func dieUnrung(_ name: String, sender: UInt64) throws {
    let connection = try DaemonConnection()
    let open = try connection.register(RegisterRequest(name: try PortName(name)))
    let mapped = try open.mapPort(connection)
    let ring = unsafe mapped.transmit(0)
    let announcement = unsafe (ring.kring.base + KRingLayout.waitWord)
      .assumingMemoryBound(to: Atomic<UInt32>.self)
    // A sleeper that was woken by the end of the previous process announces itself again.
    let end = monotonicNanoseconds() + 30_000_000_000
    while unsafe announcement.pointee.load(ordering: .relaxed) == 0 {
      guard monotonicNanoseconds() < end else { fail("nobody sleeps") }
      usleep(100)
    }
    unsafe announcement.pointee.store(0, ordering: .sequentiallyConsistent)
    let slot = unsafe ring.ring.slot(ring.ring.head)
    unsafe slot.pointee.length = 60
    let bytes = unsafe UnsafeMutableRawBufferPointer(
      start: ring.ring.buffer(slot.pointee.bufferIndex), count: 60)
    var span = unsafe bytes.mutableBytes
    Content(sender: sender, number: 0).write(to: &span)
    let next = unsafe ring.ring.next(ring.ring.head)
    unsafe ring.ring.cur = next
    unsafe ring.ring.head = next
    _ = unsafe ring.synchronizeTransmit([])
    say("sent")
    raise(SIGKILL)
  }
  /// Sends a packet after a while, from a process without free descriptors, which therefore cannot receive the
  /// doorbell of the sleeping receiver.
  static func sendStarved(_ name: String) throws {
    let port = try NetmapPort(name, engine: HostEngine.shared)
    var limit = rlimit(rlim_cur: 256, rlim_max: 256)
    guard unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
      fail("setrlimit")
    }
    while dup(0) >= 0 {}
    usleep(500_000)
    try port.inject([1, 2, 3])
    try port.sync(.transmit)
    say("sent")
    // Stay alive until the test has looked.
    sleep(30)
  }
}

extension DaemonConnection {
  /// Opens a port and locks its first transmit ring.
  fileprivate static func locking(
    _ name: String
  ) throws(NetmapError) -> (DaemonConnection, Opened) {
    let connection = try DaemonConnection()
    let open = try connection.register(RegisterRequest(name: try PortName(name)))
    if let kring = unsafe open.registration.segment.kring(end: 0, .transmit, 0) {
      while unsafe !kring.tryLock(connection.tag) { usleep(10) }
    }
    return (connection, open)
  }
}
