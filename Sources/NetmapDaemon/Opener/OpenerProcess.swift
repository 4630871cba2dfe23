internal import CLinux
internal import Glibc
package import Logging
internal import NetmapClient
package import NetmapCore

/// Root's netmapd: keeps a broker running, and does for it what takes privileges.
package final class OpenerProcess {
  private let options: [String]
  private let user: ConfinedUser
  private let listeners: [Listener]
  private let opener: Opener
  private let mayLeave: (_ evenIfAsked: Bool) -> Bool
  private let log: Logger

  /// How long a broker has to end when it is to, nanoseconds: packets that are under way go first.
  private static let stopTime: UInt64 = 10_000_000_000
  /// The first pause before another broker is started, and the longest, nanoseconds.
  private static let pauses: ClosedRange<UInt64> = 50_000_000...5_000_000_000
  /// A broker that has lived so long has not ended for a reason that its successor meets at once, nanoseconds.
  private static let healthyTime: UInt64 = 10_000_000_000

  /// - Parameters:
  ///   - options: The broker's command line.
  ///   - user: Who the broker is.
  ///   - listeners: Where the daemon listens; the first is what processes that run modules connect to.
  ///   - log: Where to tell what happens.
  /// - Throws: ``NetmapError`` when descriptors have run out.
  package init(
    options: [String], user: ConfinedUser, listeners: [Listener], log: Logger
  ) throws(NetmapError) {
    precondition(!listeners.isEmpty, "a daemon listens somewhere")
    let leaving = Departure(listeners)
    let mayLeave = { leaving.isGranted(evenIfAsked: $0) }
    self.options = options
    self.user = user
    self.listeners = listeners
    self.log = log
    self.mayLeave = mayLeave
    opener = try Opener(user: user.user, listeners[0].address, mayLeave: mayLeave)
  }

  /// How a broker's life ended.
  private enum End {
    /// As it was to: it has been idle, or this process is to end.
    case orderly
    case early
  }

  /// Serves until a signal or idleness ends it.
  ///
  /// - Parameter signals: A signalfd(2).
  /// - Throws: ``NetmapError`` when the first broker cannot be started.
  package func run(signals: CInt) throws(NetmapError) {
    var pause = Self.pauses.lowerBound
    var isFirst = true
    while true {
      let began = monotonicNanoseconds()
      do throws(NetmapError) {
        let broker = try BrokerProcess(options, user, listeners: listeners.map(\.descriptor))
        log.debug(
          "broker starts", metadata: ["process": "\(broker.process)", "user": "\(user.user)"])
        let end = serve(broker, signals)
        let status = broker.end()
        opener.forgetEverything()
        if case .orderly = end { return }
        // It says by itself why.
        if isFirst, status == 1 << 8 {
          throw NetmapError(
            .inputOutput, "start", "netmapd", reason: "its other process could not begin",
            remedy: "see what that has said")
        }
        log.error(
          "the broker has ended; another one is started",
          metadata: ["process": "\(broker.process)", "status": "\(Self.describe(status))"])
      } catch {
        if isFirst { throw error }
        log.error("\(error)")
      }
      isFirst = false
      if monotonicNanoseconds() - began >= Self.healthyTime { pause = Self.pauses.lowerBound }
      var waiting = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
      if unsafe poll(&waiting, 1, CInt(clamping: pause / 1_000_000)) > 0 {
        _ = mayLeave(true)
        return
      }
      pause = min(pause * 2, Self.pauses.upperBound)
    }
  }

  /// Answers a broker until it has ended.
  private func serve(_ broker: BrokerProcess, _ signals: CInt) -> End {
    var stopsAt: UInt64?
    while true {
      var entries =
        [
          pollfd(fd: broker.socket.descriptor, events: Int16(POLLIN), revents: 0),
          pollfd(fd: broker.death.descriptor, events: Int16(POLLIN), revents: 0),
          pollfd(fd: stopsAt == nil ? signals : -1, events: Int16(POLLIN), revents: 0),
        ] + opener.hostDeaths.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      let timeout = stopsAt.map { time -> CInt in
        let now = monotonicNanoseconds()
        return time <= now ? 0 : CInt(clamping: (time - now) / 1_000_000 + 1)
      }
      _ = unsafe poll(&entries, nfds_t(entries.count), timeout ?? -1)
      opener.reapHosts()
      if entries[1].revents != 0 {
        return stopsAt != nil || opener.isLeaving ? .orderly : .early
      }
      if entries[2].revents != 0 {
        stopsAt = monotonicNanoseconds() + Self.stopTime
        broker.stop()
      }
      if entries[0].revents != 0, !opener.serve(broker.socket.descriptor) {
        let isExpected = stopsAt != nil || opener.isLeaving
        // It has hung up, so it is about to end; or it is no broker of ours any more.
        var waiting = pollfd(fd: broker.death.descriptor, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&waiting, 1, isExpected ? 1000 : 100)
        return isExpected ? .orderly : .early
      }
      if let stopsAt, monotonicNanoseconds() >= stopsAt {
        log.warning("the broker does not end; killed")
        _ = mayLeave(true)
        return .orderly
      }
    }
  }

  private static func describe(_ status: CInt) -> String {
    status & 0x7f == 0 ? "\(status >> 8 & 0xff)" : "signal \(status & 0x7f)"
  }
}
