internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// A network interface that an engine has opened.
///
/// Opening an interface changes nothing on the host: a program may only ask about it, or hang a pipe on it. The
/// port chooses a backend when the first ring pair is activated. It chooses again when a pair is activated after
/// the last one has been deactivated.
package final class LinuxPort: InterfaceBackend {
  package var supportsOffsets: Bool { true }

  @safe
  private struct State {
    /// The driver of the interface, and the description of its candidate, while any pair is active.
    var driver: (any InterfaceDriver)?
    var description = BackendDescription(name: "", mode: "")
    var pairs: Set<Int> = []
    /// The krings to be stopped when the interface disappears.
    var krings: [RingKey: KRing] = unsafe [:]
    /// A descriptor that is readable when the interface has disappeared; -1 while no pair is active.
    var alarm: CInt = -1
    var watch: LinkMonitor.Watch?
    var hasGone = false
  }

  private struct RingKey: Hashable {
    let direction: Direction
    let index: Int
  }

  private let interface: LinuxInterface
  private let candidates: [any BackendCandidate]
  private let isDemanded: Bool
  private let monitor: LinkMonitor
  private let lock = Mutex<Void>(())
  /// Guarded by `lock`.
  private nonisolated(unsafe) var state = State()

  package let geometry: PortGeometry

  package var identity: InterfaceIdentity? { interface.identity }

  /// - Parameters:
  ///   - interface: The interface.
  ///   - candidates: The backends to try, in this order.
  ///   - isDemanded: Whether the user insists on one of these.
  ///   - monitor: Reports when the interface disappears.
  init(
    _ interface: LinuxInterface, candidates: [any BackendCandidate], isDemanded: Bool,
    monitor: LinkMonitor
  ) {
    self.interface = interface
    self.candidates = candidates
    self.isDemanded = isDemanded
    self.monitor = monitor
    let pairs = max(interface.receiveQueues, interface.transmitQueues)
    // All interfaces share region 1, so an interface with many queues gets shorter rings.
    let slots = pairs <= 4 ? 1024 : pairs <= 8 ? 512 : 256
    geometry = PortGeometry(
      transmitRings: interface.transmitQueues, receiveRings: interface.receiveQueues,
      transmitSlots: slots, receiveSlots: slots)
  }

  package var backendDescription: BackendDescription {
    lock.withLock { _ in
      var description = unsafe state.description
      description.remarks = unsafe state.driver?.remarks ?? []
      if !interface.isUp {
        description.remarks.append(
          "it is down, and packets wait until it is up: ip link set \(interface.name) up")
      }
      return description
    }
  }

  package func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError) {
    try lock.withLock { (_) throws(NetmapError) in
      guard unsafe !state.hasGone else { throw gone() }
      if let driver = unsafe state.driver {
        unsafe try driver.activate(pair: index, of: placement)
      } else {
        try watchInterface()
        do throws(NetmapError) {
          unsafe try select(pair: index, placement)
        } catch {
          forget()
          throw error
        }
      }
      unsafe state.pairs.insert(index)
    }
  }

  package func deactivate(pair index: Int) {
    lock.withLock { _ in
      guard unsafe state.pairs.remove(index) != nil else { return }
      unsafe state.driver?.deactivate(pair: index)
      if unsafe state.pairs.isEmpty { forget() }
    }
  }

  package func start(_ ring: RingPlacement) throws(NetmapError) {
    try lock.withLock { (_) throws(NetmapError) in
      // When the interface has disappeared, nothing would stop this ring any more.
      guard unsafe !state.hasGone else { throw gone() }
      guard let driver = unsafe state.driver else { return }
      unsafe try driver.start(ring)
      unsafe state.krings[RingKey(direction: ring.direction, index: ring.index)] = ring.kring
    }
  }

  package func stop(_ ring: RingPlacement) {
    lock.withLock { _ in
      unsafe state.krings[RingKey(direction: ring.direction, index: ring.index)] = nil
      unsafe state.driver?.stop(ring)
    }
  }

  package func driverSource(for ring: RingPlacement) throws(NetmapError) -> RingDriverSource {
    let recipe = try lock.withLock { (_) throws(NetmapError) -> RingDriverRecipe in
      guard let driver = unsafe state.driver else { throw gone() }
      var result = unsafe try driver.recipe(for: ring)
      unsafe result.alarm = state.alarm
      return result
    }
    return unsafe .anywhere(recipe)
  }
}

// MARK: - Choosing a backend

extension LinuxPort {
  /// Tries the candidates in order of preference, and keeps the first that works.
  ///
  /// - Throws: ``NetmapError`` with the code of the first candidate that had a better reason than "not supported".
  private func select(
    pair: Int, _ placement: PortPlacement
  ) throws(NetmapError) {
    var refusals: [(title: String, error: NetmapError)] = []
    for candidate in candidates {
      do throws(NetmapError) {
        let driver = try candidate.drive(interface, isDemanded: isDemanded)
        unsafe try driver.activate(pair: pair, of: placement)
        unsafe state.driver = driver
        unsafe state.description = BackendDescription(
          name: candidate.name.rawValue, mode: candidate.mode?.rawValue ?? "",
          refusals: refusals.map { "\($0.title): \($0.error.reason)" })
        return
      } catch {
        if error.code.endsSelection { throw error }
        refusals.append((candidate.title, error))
      }
    }
    let telling = refusals.first { $0.error.code != .unsupported } ?? refusals[0]
    guard refusals.count > 1 else { throw telling.error }
    throw NetmapError(
      telling.error.code, "open", interface.name,
      reason: "no backend can drive it: "
        + refusals.map { "\($0.title): \($0.error.reason)" }.joined(separator: "; "),
      remedy: telling.error.remedy)
  }
}

// MARK: - When the interface disappears

extension LinuxPort {
  private func watchInterface() throws(NetmapError) {
    let alarm = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
    guard alarm >= 0 else {
      throw systemError(
        "eventfd", interface.name, remedy: "raise the limit of open files (ulimit -n)")
    }
    do throws(NetmapError) {
      unsafe state.watch = try monitor.watch(interface) { [weak self] in
        self?.interfaceHasGone()
      }
      unsafe state.alarm = alarm
    } catch {
      close(alarm)
      throw error
    }
  }

  private func forget() {
    unsafe state.driver = nil
    unsafe state.description = BackendDescription(name: "", mode: "")
    unsafe state.krings = [:]
    if let watch = unsafe state.watch { monitor.end(watch) }
    unsafe state.watch = nil
    if unsafe state.alarm >= 0 { unsafe close(state.alarm) }
    unsafe state.alarm = -1
    unsafe state.hasGone = false
  }

  /// Stops every ring, and wakes all sleepers on its rings.
  private func interfaceHasGone() {
    lock.withLock { _ in
      // The notification may arrive when no pair is active any more.
      guard unsafe state.watch != nil else { return }
      unsafe state.hasGone = true
      unsafe state.krings.values.forEach { unsafe $0.stop() }
      var one: UInt64 = 1
      if unsafe state.alarm >= 0 { _ = unsafe write(state.alarm, &one, 8) }
    }
  }

  private func gone() -> NetmapError {
    NetmapError(
      .noSuchDevice, "open", interface.name, reason: "the interface has been removed",
      remedy: "close all ports on it, and open it again when the interface is back")
  }
}
