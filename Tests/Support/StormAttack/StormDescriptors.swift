import CLinux
import CStorm
import Glibc

/// Descriptors of every kind that a process can pass.
final class StormDescriptors {
  /// Descriptors that can be sent any number of times.
  private var pool: [CInt] = []
  /// Descriptors that the daemon has sent.
  private var received: [CInt] = []
  /// The other ends of lingering sockets, which must stay open.
  private var peers: [CInt] = []

  private static let receivedMax = 16
  private static let peersMax = 24

  init(_ place: StormPlace) {
    addSockets()
    addFiles()
    addNotifiers()
    addMemory()
    addProcesses(place)
    pool = pool.filter { $0 >= 0 }
    for file in pool { _ = fcntl(file, F_SETFD, FD_CLOEXEC) }
  }

  private func addSockets() {
    let unix = CInt(AF_UNIX)
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
      var pair: [CInt] = [-1, -1]
      socketpair(unix, CInt(kind.rawValue), 0, &pair)
      pool += pair
      pool.append(socket(unix, CInt(kind.rawValue), 0))
    }
    let listening = socket(unix, CInt(SOCK_SEQPACKET.rawValue), 0)
    _ = Glibc.listen(listening, 1)
    pool += [
      listening, socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0),
      socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0),
      socket(AF_INET6, CInt(SOCK_STREAM.rawValue), 0),
      // Netlink, packet, vsock, XDP and crypto sockets, where the attacker may have them.
      socket(16, CInt(SOCK_RAW.rawValue), 0), socket(17, CInt(SOCK_RAW.rawValue), 0),
      socket(40, CInt(SOCK_STREAM.rawValue), 0), socket(44, CInt(SOCK_RAW.rawValue), 0),
      socket(38, CInt(SOCK_SEQPACKET.rawValue), 0),
    ]
  }

  private func addFiles() {
    var ends: [CInt] = [-1, -1]
    clinux_pipe(&ends)
    pool += ends
    let oPath: CInt = 0o10000000
    let files: [(String, CInt)] = [
      ("/etc/passwd", oPath), ("/", oPath), ("/etc/passwd", O_RDONLY), ("/", O_RDONLY),
      ("/dev/zero", O_RDWR), ("/dev/null", O_RDWR), ("/dev/full", O_RDWR),
      ("/dev/urandom", O_RDONLY),
      ("/proc/self/mem", O_RDWR), ("/proc/self/maps", O_RDONLY), ("/proc/self/fd", O_RDONLY),
      ("/proc/self/pagemap", O_RDONLY), ("/proc/self/environ", O_RDONLY), ("/proc", O_RDONLY),
      ("/sys", O_RDONLY), ("/proc/self/mounts", O_RDONLY), ("/proc/kmsg", O_RDONLY | O_NONBLOCK),
    ]
    for (path, flags) in files { pool.append(open(path, flags)) }
    for name in ["net", "user", "mnt", "pid", "uts", "ipc", "cgroup", "time"] {
      pool.append(open("/proc/self/ns/\(name)", O_RDONLY))
    }
    cstorm_terminal(&ends)
    pool += ends
  }

  private func addNotifiers() {
    // The kernel refuses an epoll instance in itself, so this is a chain as long as it may be, and two instances
    // that watch the same socket pair.
    var event = epoll_event()
    event.events = CLINUX_EPOLLIN
    var chain = epoll_create1(0)
    pool.append(chain)
    for _ in 0..<5 {
      let outer = epoll_create1(0)
      epoll_ctl(outer, EPOLL_CTL_ADD, chain, &event)
      epoll_ctl(chain, EPOLL_CTL_ADD, outer, &event)
      epoll_ctl(outer, EPOLL_CTL_ADD, outer, &event)
      pool.append(outer)
      chain = outer
    }
    var mask = sigset_t()
    sigemptyset(&mask)
    pool += [
      eventfd(0, 0), eventfd(0, CInt(EFD_SEMAPHORE)), cstorm_timer(),
      signalfd(-1, &mask, 0), inotify_init1(0), cstorm_io_uring(), cstorm_userfaultfd(),
    ]
  }

  private func addMemory() {
    func memory(_ flags: UInt32, _ size: off_t, _ seals: CInt = 0) {
      let file = memfd_create("storm", flags)
      if size > 0 { _ = ftruncate(file, size) }
      if seals != 0 { _ = fcntl(file, CInt(CLINUX_F_ADD_SEALS), seals) }
      pool.append(file)
    }
    let allows = UInt32(CLINUX_MFD_ALLOW_SEALING)
    memory(0, 0)
    memory(allows, 4096)
    memory(allows, 1 << 40)
    memory(allows, .max)
    memory(allows, 1 << 20, 2 | 4)
    memory(allows, 1 << 20, 1 | 2 | 4 | 8)
    // MFD_HUGETLB
    memory(4, 2 << 20)
  }

  private func addProcesses(_ place: StormPlace) {
    pool += [clinux_pidfd_open(getpid()), clinux_pidfd_open(getppid()), clinux_pidfd_open(1)]
    if place.serving > 0 {
      pool.append(clinux_pidfd_open(place.serving))
      for name in ["status", "maps", "fd", "ns/net", "mem"] {
        pool.append(open("/proc/\(place.serving)/\(name)", O_RDONLY))
      }
    }
    // A module host has other threads, which may hold locks.
    guard place.peer != .module else { return }
    let child = clinux_fork()
    if child == 0 { _exit(0) }
    let dead = clinux_pidfd_open(child)
    _ = waitpid(child, nil, 0)
    pool.append(dead)
  }

  /// Keeps a descriptor that the daemon has sent, so that it can be sent back.
  func keep(_ file: CInt, _ random: inout StormRandom) {
    if received.count < Self.receivedMax {
      received.append(file)
    } else {
      let place = random.below(received.count)
      close(received[place])
      received[place] = file
    }
  }

  func closeReceived() {
    for file in received + peers { close(file) }
    received = []
    peers = []
  }

  /// A descriptor to send, and whether the caller closes it afterwards.
  ///
  /// - Parameters:
  ///   - random: The step's generator.
  ///   - own: Sockets of the attacker's conversations with the daemon.
  /// - Returns: The descriptor; -1 when there is none.
  func next(_ random: inout StormRandom, own: [CInt]) -> (file: CInt, isOwned: Bool) {
    let kind = random.below(100)
    switch kind {
    case 0..<12 where !own.isEmpty: return (random.pick(own), false)
    case 12..<20 where !received.isEmpty: return (random.pick(received), false)
    case 20..<23: return (lingering(&random), true)
    case 23..<26: return (memory(&random), true)
    case 26..<30: return (nest(&random, own), true)
    case 30..<31: return (open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), true)
    default: return (random.pick(pool), false)
    }
  }

  /// A TCP socket with unsent data.
  ///
  /// When netmapd has closed its copy already, the attacker itself waits.
  private func lingering(_ random: inout StormRandom) -> CInt {
    guard let (sender, peer) = try? LingeringSocket.pair(seconds: 1 + random.below(2)) else {
      return -1
    }
    peers.append(peer)
    if peers.count > Self.peersMax { close(peers.removeFirst()) }
    return sender
  }

  /// Memory whose size changes after it was sealed or sent.
  private func memory(_ random: inout StormRandom) -> CInt {
    let file = memfd_create("storm", UInt32(CLINUX_MFD_ALLOW_SEALING))
    _ = ftruncate(file, off_t(random.pick([0, 1, 4095, 4096, 65_536, 1 << 30])))
    if random.chance(500) {
      _ = fcntl(file, CInt(CLINUX_F_ADD_SEALS), CInt(1 << random.below(5)))
    }
    if random.chance(300) { _ = ftruncate(file, 0) }
    return file
  }

  /// A socket whose queue has descriptors in it: sockets of the attacker, of which one may be the socket itself.
  private func nest(_ random: inout StormRandom, _ own: [CInt]) -> CInt {
    var pair: [CInt] = [-1, -1]
    socketpair(CInt(AF_UNIX), CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0, &pair)
    guard pair[0] >= 0 else { return -1 }
    for _ in 0..<(1 + random.below(3)) {
      let files = (0..<(1 + random.below(3))).map { _ -> CInt in
        switch random.below(4) {
        case 0: pair[0]
        case 1 where !own.isEmpty: random.pick(own)
        default: random.pick(pool)
        }
      }
      let bytes: [UInt8] = [1, 2, 3]
      _ = clinux_send(pair[1], bytes, bytes.count, files, files.count, CInt(MSG_DONTWAIT))
    }
    close(pair[1])
    return pair[0]
  }
}
