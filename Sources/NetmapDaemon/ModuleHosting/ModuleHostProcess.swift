internal import CLinux
internal import Glibc
package import NetmapClient
package import NetmapCore

/// What a process does that netmapd has started to run a module.
///
/// It gives up netmapd's rights for those of the user who asked for the module, opens its port, and loads
/// the module.
package struct ModuleHostProcess {
  /// Where such a process finds what to run.
  package enum Errand {
    /// netmapd's word.
    case told(HostedModule, user: UInt32, group: UInt32)
    /// A socket in which the user's own request lies, and another on which to report that it has been read; both
    /// this object's from now on.
    case sealed(CInt, report: CInt)
  }

  /// What to run.
  package struct HostedModule {
    let bridge: String
    let path: String
    let configuration: String
    let fallback: SwitchModuleChoice.Fallback

    package init(
      bridge: String, path: String, configuration: String, fallback: SwitchModuleChoice.Fallback
    ) {
      self.bridge = bridge
      self.path = path
      self.configuration = configuration
      self.fallback = fallback
    }
  }

  private let channel: MessageSocket
  private let address: DaemonAddress
  private let errand: Errand
  private let report: MessageSocket?

  /// How long a host that is not needed any more waits for stragglers, nanoseconds.
  private static let drainTime: UInt64 = 200_000_000
  /// How often what the module has counted is shown, and ports are looked at.
  private static let reportPause: UInt64 = 50_000_000
  /// How long a host whose daemon has gone goes on without packets.
  private static let orphanTime: UInt64 = 60_000_000_000
  /// Turns without anything to do before the thread sleeps.
  private static let idleTurns = 200
  /// How long the log of modules may become by a user's module, bytes; no file that it writes becomes longer.
  private static let fileSizeMax: rlim_t = 256 << 20

  /// - Parameters:
  ///   - channel: Where netmapd waits for a word; this object's from now on.
  ///   - address: netmapd's.
  ///   - errand: What to run, and for whom.
  package init(channel: CInt, address: DaemonAddress, _ errand: Errand) {
    self.channel = MessageSocket(owning: channel)
    self.address = address
    self.errand = errand
    if case .sealed(_, let report) = errand {
      self.report = MessageSocket(owning: report)
    } else {
      report = nil
    }
  }

  /// Runs the module as long as its switch works by it.
  ///
  /// - Throws: ``NetmapError`` when it does not come to that; netmapd has been told.
  package func run() throws(NetmapError) {
    do throws(NetmapError) {
      let order = try begin()
      // Until netmapd knows this process for what it is.
      guard let word = try channel.receive(waits: true), !word.bytes.isEmpty else { return }
      let connection = try DaemonConnection(address: address, starts: false)
      let opened = try connection.register(
        RegisterRequest(
          name: try PortName("\(order.bridge):.module\(getpid())"), flags: .moduleHost,
          hints: RingGeometryHints(transmitSlots: 64, receiveSlots: 4096)))
      let port = try opened.attach(connection)
      let sleeper = Sleeper(doorbells: connection.doorbells)
      let module = try LoadedModule(path: order.path, configuration: order.configuration)
      let forwarder = try HostedForwarder(port, module: module)
      try channel.send(Message.bytes(.done) { $0.put(module.name) })
      loop(forwarder, port, sleeper, order.fallback)
      withExtendedLifetime((connection, opened)) {}
    } catch {
      try? channel.send(Message.refusal(error))
      throw error
    }
  }

  /// Becomes the user who has asked, for good.
  ///
  /// - Returns: What to run.
  private func begin() throws(NetmapError) -> HostedModule {
    guard clinux_no_new_privileges() == 0 else { throw systemError("prctl", "module host") }
    switch errand {
    case .told(let order, let user, let group):
      try giveUpRights(user, group)
      return order
    case .sealed(let file, _):
      // Every call on it may take for ever, by the doing of whoever has a copy. That ends this process at worst,
      // which its parent kills when it does not report in time.
      for own in [channel.descriptor, report?.descriptor ?? -1, file] {
        _ = fcntl(own, F_SETFD, FD_CLOEXEC)
      }
      let seal = try SealedRequest(receivedFrom: OwnedFile(file))
      try seal.checkSender()
      try giveUpRights(seal.user, seal.group)
      try report?.send([1], waits: false)
      // What the user wrote is read with the user's rights.
      return try seal.order()
    }
  }

  private func giveUpRights(_ user: UInt32, _ group: UInt32) throws(NetmapError) {
    guard geteuid() == 0, user != 0 else { return }
    var limit = rlimit(rlim_cur: Self.fileSizeMax, rlim_max: Self.fileSizeMax)
    signal(SIGXFSZ, SIG_IGN)
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
    // The groups of the user, as far as they can be found out.
    let name = unsafe getpwuid(user).map { unsafe String(cString: $0.pointee.pw_name) }
    let hasGroups =
      if let name { unsafe initgroups(name, group) == 0 } else {
        setgroups(0, nil) == 0
      }
    guard hasGroups, setgid(group) == 0, setuid(user) == 0 else {
      throw systemError("setuid", "module host")
    }
  }

  private func loop(
    _ forwarder: HostedForwarder, _ port: AttachedPort, _ sleeper: Sleeper,
    _ fallback: SwitchModuleChoice.Fallback
  ) {
    var idle = 0
    var (lastMove, lastReport) = (monotonicNanoseconds(), UInt64(0))
    var hasBeenInUse = false
    var hasDaemon = true
    while true {
      idle = forwarder.turn() > 0 ? 0 : idle + 1
      if idle > 0 && idle < Self.idleTurns { continue }
      // Busy or not, the clock is looked at seldom.
      let now = monotonicNanoseconds()
      if idle == 0 { lastMove = now }
      if now - lastReport >= Self.reportPause {
        lastReport = now
        forwarder.notePorts()
        forwarder.report()
        if isToLeave { return forwarder.leave(fallback) }
      }
      if forwarder.isInUse {
        hasBeenInUse = true
      } else if hasBeenInUse, now - min(now, lastMove) >= Self.drainTime {
        return
      }
      if !hasDaemon, now - min(now, lastMove) >= Self.orphanTime {
        return forwarder.leave(fallback)
      }
      guard idle >= Self.idleTurns else { continue }
      hasDaemon = sleep(port, sleeper, watchesDaemon: hasDaemon)
    }
  }

  /// Whether the process that started this one has said that its time is over.
  private var isToLeave: Bool {
    guard let report, let word = try? report.receive(waits: false) else { return false }
    return !word.bytes.isEmpty
  }

  /// Sleeps until packets come, or some time has passed.
  ///
  /// - Returns: Whether netmapd is still there.
  private func sleep(_ port: AttachedPort, _ sleeper: Sleeper, watchesDaemon: Bool) -> Bool {
    var items = [Sleeper.Item(port: port, wanted: .receive)]
    var descriptors =
      watchesDaemon
      ? [pollfd(fd: channel.descriptor, events: Int16(POLLIN), revents: 0)] : []
    do throws(NetmapError) {
      _ = try sleeper.wait(for: &items, and: &descriptors, timeout: 100_000_000)
    } catch {
      usleep(1000)
    }
    return watchesDaemon && descriptors.allSatisfy { $0.revents == 0 }
  }
}
