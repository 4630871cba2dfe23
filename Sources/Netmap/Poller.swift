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
/// All ports must be open on one engine. One thread at a time.
public final class Poller {
  /// The sleeper, and whose doorbell it watches; made for the first ports that are waited for.
  private var sleeper: (sleeper: Sleeper, doorbells: DoorbellTable)?

  public init() {}

  /// Syncs every port, and sleeps until one of them or a descriptor is ready.
  ///
  /// Every port is synced at least once, so what is queued for sending leaves even if another item is
  /// ready at once.
  ///
  /// - Parameters:
  ///   - items: What to wait for; ``PollItem/ready`` is set on return.
  ///   - timeout: How long; nil waits for ever, zero only looks.
  /// - Returns: How many items are ready; 0 when the time was up.
  /// - Throws: ``NetmapError`` `EINVAL` for ports of several engines, `EINTR` when a signal handler
  ///   ran, `EBADF` for a port that is closed or was opened before a fork, `EMFILE` or `ENFILE` when
  ///   there are no descriptors left.
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
            reason: "the port is open on another engine than the ports before it",
            remedy: "wait for the ports of each engine with a poller, and thread, of its own")
        }
        doorbells = port.binding.doorbells
        ports.append(Sleeper.Item(port: port.attached, wanted: item.wanted))
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

/// One thing that a ``Poller`` waits for.
public struct PollItem {
  enum Source {
    case port(Port)
    case descriptor(CInt)
  }

  let source: Source

  /// What to wait for.
  public var wanted: Readiness

  /// What the last wait found.
  public internal(set) var ready: Readiness = []

  public init(_ port: Port, for wanted: Readiness) {
    source = .port(port)
    self.wanted = wanted
  }

  /// - Parameters:
  ///   - descriptor: Any descriptor that poll(2) takes. It stays the caller's.
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
