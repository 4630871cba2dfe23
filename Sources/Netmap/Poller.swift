internal import CLinux
internal import Glibc
internal import NetmapCore

/// Waits for several ports and foreign descriptors at once, as poll(2) does.
///
/// ```swift
/// let poller = try Poller()
/// var items = [PollItem(a, for: .receive), PollItem(b, for: .receive), PollItem(descriptor: 0)]
/// while try poller.wait(for: &items) > 0 { ... }
/// ```
///
/// All ports must be open on the poller's engine. One thread at a time.
public final class Poller {
  private let sleeper: Sleeper
  private let engine: EmbeddedEngine

  /// - Parameter engine: The engine of the ports; nil for ``EmbeddedEngine/shared()``.
  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE` when there are no descriptors left.
  public init(engine: EmbeddedEngine? = nil) throws(NetmapError) {
    if let engine { self.engine = engine } else { self.engine = try .shared() }
    sleeper = try Sleeper(doorbells: self.engine.engine.doorbells)
  }

  /// Syncs every port, and sleeps until one of them or a descriptor is ready.
  ///
  /// Every port is synced at least once, so what is queued for sending leaves even if another item is
  /// ready at once.
  ///
  /// - Parameters:
  ///   - items: What to wait for; ``PollItem/ready`` is set on return.
  ///   - timeout: How long; nil waits for ever, zero only looks.
  /// - Returns: How many items are ready; 0 when the time was up.
  /// - Throws: ``NetmapError`` `EINVAL` for a port of another engine, `EINTR` when a signal handler
  ///   ran, `EBADF` for a port that is closed or was opened before a fork.
  public func wait(
    for items: inout [PollItem], timeout: Duration? = nil
  ) throws(NetmapError) -> Int {
    var ports: [Sleeper.Item] = []
    var descriptors: [pollfd] = []
    for item in items {
      switch item.source {
      case .port(let port):
        try port.checkUsable()
        guard port.engine === engine else {
          throw NetmapError(
            .invalidArgument, "wait", port.name, reason: "the port is open on another engine",
            remedy: "make the poller with the engine of its ports")
        }
        ports.append(Sleeper.Item(port: port.attached, wanted: item.wanted))
      case .descriptor(let file):
        descriptors.append(pollfd(fd: file, events: item.wanted.pollEvents, revents: 0))
      }
    }
    let count = try sleeper.wait(
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
