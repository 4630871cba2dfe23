internal import CLinux
internal import Glibc
internal import NetmapCore

/// Waits for several ports and foreign descriptors at once, as poll(2) does.
///
/// ```swift
/// let poller = Poller()
/// var items = [PollItem(a, for: .receive), PollItem(b, for: .receive), PollItem(descriptor: 0)]
/// while try poller.wait(for: &items) > 0 { ... }
/// ```
///
/// All ports must be open on one engine. Only one thread at a time may use a poller.
public final class Poller {
  /// The sleeper and the doorbell table that it watches; made at the first wait.
  private var sleeper: (sleeper: Sleeper, doorbells: DoorbellTable)?

  public init() {}

  /// Syncs every port, and sleeps until one of the ports or descriptors is ready.
  ///
  /// Syncs every port at least once, so queued packets leave even if another item is ready at once.
  ///
  /// - Parameters:
  ///   - items: The ports and descriptors to wait for; sets ``PollItem/ready`` of each.
  ///   - timeout: The longest time to sleep. Nil waits forever; zero does not sleep.
  /// - Returns: The number of ready items; 0 when the timeout has passed.
  /// - Throws: ``NetmapError`` `EINVAL` for ports of several engines, `EINTR` when a signal handler
  ///   ran, `EBADF` for a port that is closed or was opened before a fork, `EMFILE` or `ENFILE`
  ///   when there are no descriptors left.
  public func wait(
    for items: inout [PollItem], timeout: Duration? = nil
  ) throws(NetmapError) -> Int {
    var ports: [Sleeper.Item] = []
    var descriptors: [pollfd] = []
    var doorbells: DoorbellTable?
    for item in items {
      switch item.source {
      case .port(let port):
        try port.checkUsable()
        guard doorbells == nil || doorbells === port.binding.doorbells else {
          throw NetmapError(
            .invalidArgument, "wait", port.name,
            reason: "the port belongs to another engine than the ports before it",
            remedy: "use one poller and one thread for the ports of each engine")
        }
        doorbells = port.binding.doorbells
        ports.append(Sleeper.Item(port: port.mapped, wanted: item.wanted))
      case .descriptor(let file):
        descriptors.append(pollfd(fd: file, events: item.wanted.pollEvents, revents: 0))
      }
    }
    let count = try sleeper(watching: doorbells).wait(
      for: &ports, and: &descriptors, timeout: timeout?.nanosecondsClamped)
    var (nextPort, nextDescriptor) = (0, 0)
    for index in items.indices {
      switch items[index].source {
      case .port:
        items[index].ready = ports[nextPort].ready
        nextPort += 1
      case .descriptor:
        items[index].ready = Readiness(pollEvents: descriptors[nextDescriptor].revents)
        nextDescriptor += 1
      }
    }
    return count
  }

  private func sleeper(watching doorbells: DoorbellTable?) throws(NetmapError) -> Sleeper {
    if let sleeper, doorbells == nil || sleeper.doorbells === doorbells { return sleeper.sleeper }
    let table = if let doorbells { doorbells } else { try DoorbellTable() }
    let made = Sleeper(doorbells: table)
    sleeper = (made, table)
    return made
  }
}

/// A port or a descriptor that a ``Poller`` waits for.
public struct PollItem {
  enum Source {
    case port(NetmapPort)
    case descriptor(CInt)
  }

  let source: Source

  /// What to wait for.
  public var wanted: Readiness

  /// The result of the last wait.
  public internal(set) var ready: Readiness = []

  public init(_ port: NetmapPort, for wanted: Readiness) {
    source = .port(port)
    self.wanted = wanted
  }

  /// - Parameters:
  ///   - descriptor: Any descriptor that poll(2) takes. The caller keeps ownership.
  ///   - wanted: What to wait for.
  public init(descriptor: CInt, for wanted: Readiness = .receive) {
    source = .descriptor(descriptor)
    self.wanted = wanted
  }
}

extension Readiness {
  var pollEvents: Int16 {
    (contains(.receive) ? Int16(POLLIN) : 0) | (contains(.transmit) ? Int16(POLLOUT) : 0)
  }

  init(pollEvents events: Int16) {
    self = []
    if events & Int16(POLLIN) != 0 { insert(.receive) }
    if events & Int16(POLLOUT) != 0 { insert(.transmit) }
    if events & Int16(POLLERR | POLLHUP | POLLNVAL) != 0 { insert(.error) }
  }
}
