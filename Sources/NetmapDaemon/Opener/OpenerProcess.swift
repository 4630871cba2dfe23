internal import CLinux
internal import Glibc
package import Logging
internal import NetmapClient
package import NetmapCore

/// The first process of root's netmapd.
///
/// It keeps a broker running and performs privileged operations for it.
package final class OpenerProcess {
  private let options: [String]
  private let user: ConfinedUser
  private let current: CurrentListeners
  private let opener: Opener
  private let renew: (Listener) throws(NetmapError) -> Listener
  private let log: Logger
  /// Brokers that have ended except for a thread that hangs in the kernel.
  private var ghosts: [BrokerProcess] = []

  /// How long a broker may take to end when told to, nanoseconds.
  ///
  /// It first delivers the packets that are under way.
  private static let stopTime: UInt64 = 10_000_000_000
  /// The shortest and the longest pause before another broker is started, nanoseconds.
  private static let pauses: ClosedRange<UInt64> = 50_000_000...5_000_000_000
  /// The time after which a broker counts as healthy, nanoseconds: its successor will probably not
  /// fail at once for the same reason.
  private static let healthyTime: UInt64 = 10_000_000_000

  /// - Parameters:
  ///   - options: The arguments for the broker.
  ///   - user: The user that the broker becomes.
  ///   - listeners: The sockets on which the daemon listens. Processes that run modules connect to
  ///     the first.
  ///   - allowsModules: Whether users may load modules from shared objects.
  ///   - log: The log.
  ///   - renew: Makes a new listener in place of one that no longer listens.
  /// - Throws: ``NetmapError`` when descriptors have run out.
  package init(
    options: [String], user: ConfinedUser, listeners: [Listener], allowsModules: Bool, log: Logger,
    renew: @escaping (Listener) throws(NetmapError) -> Listener
  ) throws(NetmapError) {
    precondition(!listeners.isEmpty, "the daemon has no listener")
    let current = CurrentListeners(listeners)
    self.options = options
    self.user = user
    self.current = current
    self.log = log
    self.renew = renew
    opener = try Opener(listeners[0].address, allowsModules: allowsModules) {
      Departure(current.all).isGranted(evenIfAsked: $0)
    }
  }

  /// The current listeners, some of which may have been made again.
  private final class CurrentListeners {
    var all: [Listener]

    init(_ all: [Listener]) {
      self.all = all
    }
  }

  /// How a broker's life ended.
  private enum End {
    /// The broker was idle, or this process is to end.
    case orderly
    case early
  }

  /// Serves until a signal or idleness ends the daemon.
  ///
  /// - Parameter signals: A signalfd(2).
  /// - Throws: ``NetmapError`` when the first broker cannot be started, or when clients can no
  ///   longer connect.
  package func run(signals: CInt) throws(NetmapError) {
    var pause = Self.pauses.lowerBound
    var isFirst = true
    while true {
      let began = monotonicNanoseconds()
      do throws(NetmapError) {
        let broker = try BrokerProcess(
          options, user, listeners: current.all.map(\.descriptor))
        log.debug(
          "broker starts", metadata: ["process": "\(broker.process)", "user": "\(user.user)"])
        let end = serve(broker, signals)
        let status = broker.end()
        if status == nil { ghosts.append(broker) }
        opener.forgetEverything(ghost: status == nil ? broker.process : nil)
        if case .orderly = end { return }
        // The broker itself reports the reason.
        if isFirst, status == 1 << 8 {
          throw NetmapError(
            .inputOutput, "start", "netmapd", reason: "its broker could not start",
            remedy: "see the broker's messages")
        }
        log.error(
          "the broker has ended; starting another broker",
          metadata: [
            "process": "\(broker.process)",
            "status": "\(status.map(Self.describe) ?? "one of its threads hangs")",
          ])
      } catch {
        if isFirst { throw error }
        log.error("\(error)")
      }
      try renewListeners()
      isFirst = false
      if monotonicNanoseconds() - began >= Self.healthyTime { pause = Self.pauses.lowerBound }
      var waiting = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
      if unsafe poll(&waiting, 1, CInt(clamping: pause / 1_000_000)) > 0 {
        removeSockets()
        return
      }
      pause = min(pause * 2, Self.pauses.upperBound)
    }
  }

  private func removeSockets() { _ = Departure(current.all).isGranted(evenIfAsked: true) }

  /// Replaces listeners that no longer listen: a broker can shut a socket down for all processes,
  /// and no client can connect to it then.
  ///
  /// - Throws: ``NetmapError`` for a socket that netmapd did not make, and so cannot replace.
  private func renewListeners() throws(NetmapError) {
    for (index, listener) in current.all.enumerated() where !listener.isListening {
      log.error(
        "the broker has shut down the socket", metadata: ["socket": "\(listener.address.path)"])
      guard listener.removesSocket else {
        throw NetmapError(
          .inputOutput, "listen", listener.address.path,
          reason: "the broker has shut down this socket, which netmapd did not create",
          remedy: "restart the socket (systemctl restart netmapd.socket)")
      }
      do throws(NetmapError) {
        current.all[index] = try renew(listener)
      } catch {
        // Tried again after the next pause.
        log.error("\(error)")
      }
    }
  }

  /// Answers a broker's requests until it has ended.
  private func serve(_ broker: BrokerProcess, _ signals: CInt) -> End {
    var stopsAt: UInt64?
    var isToEnd = false
    while true {
      var entries =
        [
          pollfd(fd: broker.socket.descriptor, events: Int16(POLLIN), revents: 0),
          pollfd(fd: broker.death.descriptor, events: Int16(POLLIN), revents: 0),
          pollfd(fd: isToEnd ? -1 : signals, events: Int16(POLLIN), revents: 0),
        ] + opener.hosts.events.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      _ = unsafe poll(&entries, nfds_t(entries.count), timeout(stopsAt))
      opener.hosts.watch()
      ghosts.removeAll { $0.isGone(within: 0) }
      if entries[1].revents != 0 || (entries[0].revents == 0 && broker.isDead) {
        return isToEnd || opener.isLeaving ? .orderly : .early
      }
      if entries[2].revents != 0 {
        isToEnd = true
        stopsAt = min(stopsAt ?? .max, monotonicNanoseconds() + Self.stopTime)
        broker.stop()
      }
      if entries[0].revents != 0, !opener.serve(broker.socket.descriptor) {
        let isExpected = isToEnd || opener.isLeaving
        // The broker has hung up and is about to end, or it is no longer an honest broker.
        _ = broker.isGone(within: isExpected ? 1000 : 100)
        return isExpected ? .orderly : .early
      }
      // No client can connect any more, so bound the time that the broker takes.
      if opener.isLeaving, stopsAt == nil { stopsAt = monotonicNanoseconds() + Self.stopTime }
      if let stopsAt, monotonicNanoseconds() >= stopsAt {
        log.warning("the broker did not end in time; killing it")
        if !opener.isLeaving { removeSockets() }
        return .orderly
      }
    }
  }

  /// How long the opener may sleep, milliseconds.
  private func timeout(_ stopsAt: UInt64?) -> CInt {
    guard let time = [stopsAt, opener.hosts.deadline].compactMap({ $0 }).min() else {
      return BrokerProcess.lookPause
    }
    let now = monotonicNanoseconds()
    return time <= now
      ? 0 : min(BrokerProcess.lookPause, CInt(clamping: (time - now) / 1_000_000 + 1))
  }

  private static func describe(_ status: CInt) -> String {
    status & 0x7f == 0 ? "\(status >> 8 & 0xff)" : "signal \(status & 0x7f)"
  }
}
