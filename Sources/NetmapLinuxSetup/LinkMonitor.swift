internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// Reports when network interfaces are removed, or leave their network namespace.
///
/// One thread serves all watches. It starts with the first watch, and sleeps except when an interface changes. Each
/// watch has a netlink socket of its own (rtnetlink(7)), because a socket reports changes in one network namespace
/// only: that of the thread that opened it.
package final class LinkMonitor: Sendable {
  /// A watch that lasts until ``LinkMonitor/end(_:)``.
  package struct Watch: Sendable {
    fileprivate let socket: CInt
  }

  private struct Entry {
    /// The interface whose removal is reported; nil to report every message.
    let interface: UInt32?
    let notify: @Sendable () -> Void
  }

  private struct State {
    var entries: [CInt: Entry] = [:]
    var events: CInt = -1
    var process: pid_t = 0
  }

  private let state = Mutex(State())

  /// The process's monitor.
  package static let shared = LinkMonitor()

  private init() {}

  /// Opens a netlink socket that reports changes of interfaces in the calling thread's network namespace.
  ///
  /// - Returns: The socket, which the caller owns.
  /// - Throws: ``NetmapError`` when there are no descriptors left.
  static func events() throws(NetmapError) -> CInt {
    let socket = Glibc.socket(
      AF_NETLINK,
      CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        | CInt(SOCK_NONBLOCK.rawValue), NETLINK_ROUTE)
    guard socket >= 0 else {
      throw systemError("socket", "netlink", remedy: "raise the limit of open files (ulimit -n)")
    }
    var address = sockaddr_nl()
    address.nl_family = UInt16(AF_NETLINK)
    address.nl_groups = UInt32(RTMGRP_LINK)
    let bound = unsafe withUnsafePointer(to: address) { address in
      unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        unsafe bind(socket, address, socklen_t(MemoryLayout<sockaddr_nl>.size))
      }
    }
    guard bound == 0 else {
      let error = systemError("bind", "netlink")
      close(socket)
      throw error
    }
    return socket
  }

  /// Calls `notify`, on the monitor's thread, when an interface disappears.
  ///
  /// - Throws: ``NetmapError`` when there are no descriptors or threads left.
  package func watch(
    _ interface: LinuxInterface, _ notify: @escaping @Sendable () -> Void
  ) throws(NetmapError) -> Watch {
    try watch(try interface.rights.linkEvents(of: interface), interface.index, notify)
  }

  /// Calls `notify`, on the monitor's thread, after any change of an interface, or of its queueing disciplines and
  /// filters, in the interface's network namespace.
  ///
  /// - Throws: ``NetmapError`` when there are no descriptors or threads left.
  func watchChanges(
    _ interface: LinuxInterface, _ notify: @escaping @Sendable () -> Void
  ) throws(NetmapError) -> Watch {
    let socket = try interface.rights.linkEvents(of: interface)
    var group = CLINUX_RTNLGRP_TC
    guard
      unsafe setsockopt(socket, CLINUX_SOL_NETLINK, CLINUX_NETLINK_ADD_MEMBERSHIP, &group, 4) == 0
    else {
      let error = systemError("setsockopt", "netlink")
      close(socket)
      throw error
    }
    return try watch(socket, nil, notify)
  }

  private func watch(
    _ socket: CInt, _ interface: UInt32?, _ notify: @escaping @Sendable () -> Void
  ) throws(NetmapError) -> Watch {
    do throws(NetmapError) {
      try state.withLock { (state) throws(NetmapError) in
        try startThread(&state)
        var event = unsafe epoll_event()
        unsafe event.events = CLINUX_EPOLLIN
        unsafe event.data.fd = socket
        guard unsafe epoll_ctl(state.events, EPOLL_CTL_ADD, socket, &event) == 0 else {
          throw systemError("epoll_ctl", "netlink")
        }
        state.entries[socket] = Entry(interface: interface, notify: notify)
      }
    } catch {
      close(socket)
      throw error
    }
    return Watch(socket: socket)
  }

  /// Ends a watch. A notification that is under way may still arrive.
  package func end(_ watch: Watch) {
    state.withLock { state in
      guard state.entries.removeValue(forKey: watch.socket) != nil else { return }
      _ = epoll_ctl(state.events, EPOLL_CTL_DEL, watch.socket, nil)
      close(watch.socket)
    }
  }

  /// Starts the thread if this process does not have it yet. A thread does not survive fork(2), so a child that
  /// opens ports of its own gets a new one.
  private func startThread(_ state: inout State) throws(NetmapError) {
    if state.events >= 0, state.process == getpid() { return }
    let events = epoll_create1(CInt(EPOLL_CLOEXEC))
    guard events >= 0 else {
      throw systemError(
        "epoll_create1", "netlink", remedy: "raise the limit of open files (ulimit -n)")
    }
    state.events = events
    do throws(NetmapError) {
      pthread_detach(try EngineThread.start("link monitor") { [self] in run() })
    } catch {
      close(events)
      state.events = -1
      throw error
    }
    state.process = getpid()
  }

  private func run() -> Never {
    let events = state.withLock { $0.events }
    while true {
      var event = unsafe epoll_event()
      guard unsafe epoll_wait(events, &event, 1, -1) == 1 else { continue }
      let socket = unsafe event.data.fd
      let entry = state.withLock { state -> Entry? in
        guard let entry = state.entries[socket] else { return nil }
        guard let interface = entry.interface else {
          Self.drain(socket)
          return entry
        }
        return Self.reads(socket, removalOf: interface) ? entry : nil
      }
      entry?.notify()
    }
  }

  /// Whether the network namespace of `socket`, which need not be the calling thread's, has an interface
  /// with this index. netdevice(7), `SIOCGIFNAME`.
  private static func exists(_ interface: UInt32, for socket: CInt) -> Bool {
    var request = [UInt8](repeating: 0, count: CLINUX_IFREQ_SIZE)
    return unsafe request.withUnsafeMutableBytes { bytes in
      unsafe bytes.storeBytes(
        of: interface, toByteOffset: CLINUX_IFREQ_VALUE_OFFSET, as: UInt32.self)
      return unsafe clinux_ioctl(socket, CLINUX_SIOCGIFNAME, bytes.baseAddress) == 0
        || errno != ENODEV
    }
  }

  /// Discards the messages that wait on a socket.
  private static func drain(_ socket: CInt) {
    var byte: UInt8 = 0
    // A socket that lost messages says so once (ENOBUFS).
    while unsafe recv(socket, &byte, 1, 0) >= 0 || errno == ENOBUFS {}
  }

  /// Reads the messages that wait on a socket.
  ///
  /// - Returns: Whether the interface has disappeared. If messages were lost, it counts as present as long as its
  ///   index has a name.
  private static func reads(_ socket: CInt, removalOf interface: UInt32) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 32 << 10)
    var isGone = false
    while true {
      let count = unsafe recv(socket, &buffer, buffer.count, 0)
      guard count > 0 else {
        // The socket lost messages because its buffer was full. Only a lookup can tell now whether the interface
        // exists.
        if count < 0, errno == ENOBUFS {
          isGone = isGone || !exists(interface, for: socket)
          continue
        }
        return isGone
      }
      isGone = isGone || Self.tells(buffer[..<count], removalOf: interface)
    }
  }

  /// Whether messages of the kernel say that an interface has disappeared.
  static func tells(_ messages: ArraySlice<UInt8>, removalOf interface: UInt32) -> Bool {
    var rest = messages
    // struct nlmsghdr has 16 bytes; struct ifinfomsg, of 16 bytes too, follows, its index at byte 4.
    while rest.count >= 32 {
      let length = Int(rest.number() as UInt32)
      let type = rest.dropFirst(4).number() as UInt16
      let index = rest.dropFirst(20).number() as UInt32
      if type == UInt16(RTM_DELLINK), index == interface { return true }
      guard length >= 16 else { return false }
      rest = rest.dropFirst((length + 3) & ~3)
    }
    return false
  }
}
