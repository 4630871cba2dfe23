internal import Glibc
internal import NetmapCore
internal import Synchronization

/// The XDP sockets of an engine, by the memory that they use.
///
/// So an engine registers a region once for each mode and not once for each socket. Every registration locks the
/// whole region.
final class XDPMemory: Sendable {
  private struct Key: Hashable {
    let region: UInt
    let binding: XDPBinding
    let headroom: Int
  }

  private struct Entry {
    weak var socket: XDPSocket?
  }

  private struct Queue: Hashable {
    let interface: InterfaceIdentity
    let number: Int
  }

  /// How long the kernel may keep a queue after its last socket was closed, nanoseconds. The kernel keeps it until
  /// two RCU grace periods have passed: milliseconds, or several seconds where processors are busy.
  private static let releaseTime: UInt64 = 10_000_000_000
  /// How long a request waits for a queue that another program holds, nanoseconds.
  private static let patience: UInt64 = 500_000_000

  /// When this object's sockets were closed, by queue, for as long as the kernel may keep their queues.
  private let released = Mutex<[Queue: UInt64]>([:])
  /// The short cuts between veths of the engine.
  let shortCuts = ShortCuts()
  private let lock = Mutex<Void>(())
  /// Guarded by `lock`.
  private nonisolated(unsafe) var entries: [Key: [Entry]] = [:]

  init() {}

  /// Makes a socket on a queue. It shares memory that is registered already, where the kernel allows that.
  ///
  /// Only sockets with the same headroom share memory: where received frames lie is a property of the UMEM.
  ///
  /// - Throws: ``NetmapError``: `EBUSY` when the queue is taken, `EOPNOTSUPP` when the driver has no
  ///   zero-copy, and as ``XDPSocket``.
  func socket(
    on interface: LinuxInterface, queue: Int, slots: Int, region: Region, headroom: Int,
    zeroCopy: Bool
  ) throws(NetmapError) -> XDPSocket {
    try lock.withLock { (_) throws(NetmapError) -> Handover in
      // Linux before 6.6 and some zero-copy drivers do not take XDP_USE_SG, so try without it as well.
      var failure: Int32 = EOPNOTSUPP
      // A socket that could not be bound one way may be bound another.
      var unbound: XDPSocket?
      for isMultiBuffer in [true, false] {
        let binding = XDPBinding(isZeroCopy: zeroCopy, isMultiBuffer: isMultiBuffer)
        let key = Key(
          region: unsafe UInt(bitPattern: region.memory.base), binding: binding, headroom: headroom)
        if let other = unsafe entries[key]?.lazy.compactMap(\.socket).first {
          let socket = try XDPSocket(
            for: interface, slots: slots, registering: nil, headroom: headroom)
          switch socket.bind(to: interface, queue: queue, binding, sharing: other) {
          case .bound: return remember(socket, key)
          case .failed(EBUSY): throw refusal(EBUSY, interface, queue, zeroCopy)
          case .failed: break
          }
        }
        let socket: XDPSocket
        if let unbound {
          socket = unbound
        } else {
          socket = try XDPSocket(
            for: interface, slots: slots, registering: region, headroom: headroom)
        }
        unbound = socket
        switch socket.bind(to: interface, queue: queue, binding, sharing: nil) {
        case .bound: return remember(socket, key)
        case .failed(let code):
          failure = code
          guard code == EINVAL || code == EOPNOTSUPP else {
            throw refusal(code, interface, queue, zeroCopy)
          }
        }
      }
      throw refusal(failure, interface, queue, zeroCopy)
    }.socket
  }

  /// Records that a socket on a queue is about to be closed.
  func noteRelease(of interface: LinuxInterface, queue: Int) {
    let now = monotonicNanoseconds()
    released.withLock { released in
      released = released.filter { now &- $0.value < Self.releaseTime }
      released[Queue(interface: interface.identity, number: queue)] = now
    }
  }

  private func remember(_ socket: XDPSocket, _ key: Key) -> Handover {
    let living = unsafe (entries[key] ?? []).filter { $0.socket != nil }
    unsafe entries[key] = living + [Entry(socket: socket)]
    return Handover(socket: socket)
  }

  private struct Handover: @unchecked Sendable {
    let socket: XDPSocket
  }

  private func refusal(
    _ code: Int32, _ interface: LinuxInterface, _ queue: Int, _ zeroCopy: Bool
  ) -> NetmapError {
    switch code {
    case EBUSY:
      let ours = released.withLock { $0[Queue(interface: interface.identity, number: queue)] }
      let age = ours.map { monotonicNanoseconds() &- $0 } ?? .max
      var error = NetmapError(
        .busy, "open", interface.name,
        reason: "queue \(queue) is in use by another program's XDP socket",
        remedy: "end that program, or open another queue (netmap:\(interface.name)-N)")
      error.patience = age < Self.releaseTime ? Self.releaseTime : Self.patience
      return error
    case EOPNOTSUPP where zeroCopy:
      return NetmapError(
        .unsupported, "open", interface.name, reason: "its driver does not support zero-copy",
        remedy: "choose another mode (@backend:name=xdp,mode=copy)")
    case ENODEV, ENXIO:
      return NetmapError(
        .noSuchDevice, "open", interface.name, reason: "the interface has been removed")
    default:
      return NetmapError(
        .init(rawValue: code), "open", interface.name,
        reason: "cannot bind an XDP socket to queue \(queue):"
          + " \(unsafe String(cString: strerror(code)))")
    }
  }
}
