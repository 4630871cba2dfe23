internal import CLinux
internal import Glibc
package import NetmapClient
package import NetmapCore

/// What a process does that netmapd has started to run a module.
///
/// It gives up netmapd's rights for those of the user who asked for the module, opens its port, and loads
/// the module.
package struct ModuleHostProcess {
  private let channel: MessageSocket
  private let address: DaemonAddress
  private let bridge: String
  private let path: String
  private let configuration: String
  private let fallback: SwitchModuleChoice.Fallback
  private let user: (user: UInt32, group: UInt32)

  /// How long a host that is not needed any more waits for stragglers, nanoseconds.
  private static let drainTime: UInt64 = 200_000_000
  /// How often what the module has counted is shown, and ports are looked at.
  private static let reportPause: UInt64 = 50_000_000
  /// How long a host whose daemon has gone goes on without packets.
  private static let orphanTime: UInt64 = 60_000_000_000
  /// Turns without anything to do before the thread sleeps.
  private static let idleTurns = 200

  /// - Parameters:
  ///   - channel: Where netmapd waits for a word; this object's from now on.
  ///   - address: netmapd's.
  ///   - bridge: The switch's name.
  ///   - path: Of the shared object.
  ///   - configuration: What the module is told.
  ///   - fallback: What the switch does when daemon and host have gone.
  ///   - user: Whose rights the module has.
  package init(
    channel: CInt, address: DaemonAddress, bridge: String, path: String, configuration: String,
    fallback: SwitchModuleChoice.Fallback, user: (user: UInt32, group: UInt32)
  ) {
    self.channel = MessageSocket(owning: channel)
    self.address = address
    self.bridge = bridge
    self.path = path
    self.configuration = configuration
    self.fallback = fallback
    self.user = user
  }

  /// Runs the module as long as its switch works by it.
  ///
  /// - Throws: ``NetmapError`` when it does not come to that; netmapd has been told.
  package func run() throws(NetmapError) {
    do throws(NetmapError) {
      try giveUpRights()
      // Until netmapd knows this process for what it is.
      guard let word = try channel.receive(waits: true), !word.bytes.isEmpty else { return }
      let connection = try DaemonConnection(address: address, starts: false)
      let opened = try connection.register(
        RegisterRequest(
          name: try PortName("\(bridge):.module\(getpid())"), flags: .moduleHost,
          hints: RingGeometryHints(transmitSlots: 64, receiveSlots: 4096)))
      let port = try opened.attach(connection)
      let sleeper = Sleeper(doorbells: connection.doorbells)
      let module = try LoadedModule(path: path, configuration: configuration)
      let forwarder = try HostedForwarder(port, module: module)
      try channel.send(Message.bytes(.done) { $0.put(module.name) })
      loop(forwarder, port, sleeper)
      withExtendedLifetime((connection, opened)) {}
    } catch {
      try? channel.send(Message.refusal(error))
      throw error
    }
  }

  /// Becomes the user who asked for the module, for good.
  private func giveUpRights() throws(NetmapError) {
    guard clinux_no_new_privileges() == 0 else { throw systemError("prctl", "module host") }
    guard geteuid() == 0, user.user != 0 else { return }
    // The groups of the user, as far as they can be found out.
    let name = unsafe getpwuid(user.user).map { unsafe String(cString: $0.pointee.pw_name) }
    let hasGroups =
      if let name { unsafe initgroups(name, user.group) == 0 } else {
        setgroups(0, nil) == 0
      }
    guard hasGroups, setgid(user.group) == 0, setuid(user.user) == 0 else {
      throw systemError("setuid", "module host")
    }
  }

  private func loop(_ forwarder: HostedForwarder, _ port: AttachedPort, _ sleeper: Sleeper) {
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
