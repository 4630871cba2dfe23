internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// A network interface that an engine has opened.
///
/// Opening an interface changes nothing on the host: a program may only ask about it, or hang a pipe on it. The
/// port chooses a backend when the first ring pair is activated. It chooses again when a pair is activated after
/// the last one has been deactivated. Host rings come with the first host pair, whatever the backend.
package final class LinuxPort: InterfaceBackend {
  package var supportsOffsets: Bool { true }

  @safe
  private struct State {
    /// The driver of the interface, and the description of its candidate, while any pair is active.
    var driver: (any InterfaceDriver)?
    var description = BackendDescription(name: "", mode: "")
    /// Whether host rings cannot be used beside the driver.
    var excludesHostRings = false
    /// The host rings, while any host pair is active.
    var host: HostRings?
    /// The active pairs, host pairs included.
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
  private let memory: XDPMemory
  private let monitor: LinkMonitor
  private let lock = Mutex<Void>(())
  /// Guarded by `lock`.
  private nonisolated(unsafe) var state = State()

  package let geometry: PortGeometry

  package var identity: InterfaceIdentity? { interface.identity }

  /// The most host ring pairs of a port.
  private static let hostPairsMax = 64

  /// - Parameters:
  ///   - interface: The interface.
  ///   - candidates: The backends to try, in this order.
  ///   - isDemanded: Whether the user insists on one of these.
  ///   - memory: The memory of the port's region, for the host rings.
  ///   - hints: The numbers of rings and slots that the user asks for.
  ///   - monitor: Reports when the interface disappears.
  init(
    _ interface: LinuxInterface, candidates: [any BackendCandidate], isDemanded: Bool,
    memory: XDPMemory, hints: RingGeometryHints, monitor: LinkMonitor
  ) {
    self.interface = interface
    self.candidates = candidates
    self.isDemanded = isDemanded
    self.memory = memory
    self.monitor = monitor
    let pairs = max(interface.receiveQueues, interface.transmitQueues)
    // All interfaces share region 1, so an interface with many queues gets shorter rings.
    let usual = pairs <= 4 ? 1024 : pairs <= 8 ? 512 : 256
    let slots = hints.receiveSlots > 0 ? Int(hints.receiveSlots) : usual
    geometry = PortGeometry(
      transmitRings: interface.transmitQueues, receiveRings: interface.receiveQueues,
      transmitSlots: slots, receiveSlots: slots,
      hostTransmitRings: min(max(Int(hints.hostTransmitRings), 1), Self.hostPairsMax),
      hostReceiveRings: min(max(Int(hints.hostReceiveRings), 1), Self.hostPairsMax))
  }

  package var backendDescription: BackendDescription {
    lock.withLock { _ in
      var description = unsafe state.description
      if unsafe state.driver == nil, unsafe state.host != nil {
        // Only host rings are open.
        description.name = "host"
      }
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
      if unsafe state.pairs.isEmpty { try watchInterface() }
      do throws(NetmapError) {
        if index >= geometry.hardwarePairs {
          unsafe try activateHost(pair: index, placement)
        } else if let driver = unsafe state.driver {
          unsafe try driver.activate(pair: index, of: placement)
        } else {
          unsafe try select(pair: index, placement)
        }
      } catch {
        if unsafe state.pairs.isEmpty { forget() }
        throw error
      }
      unsafe state.pairs.insert(index)
    }
  }

  package func deactivate(pair index: Int) {
    lock.withLock { _ in
      guard unsafe state.pairs.remove(index) != nil else { return }
      if index >= geometry.hardwarePairs {
        unsafe state.host?.deactivate(pair: index)
        if unsafe !state.pairs.contains(where: isHost) { unsafe state.host = nil }
      } else {
        unsafe state.driver?.deactivate(pair: index)
        if unsafe state.pairs.allSatisfy(isHost) { forgetDriver() }
      }
      if unsafe state.pairs.isEmpty { forget() }
    }
  }

  package func start(_ ring: RingPlacement) throws(NetmapError) {
    try lock.withLock { (_) throws(NetmapError) in
      // When the interface has disappeared, nothing would stop this ring any more.
      guard unsafe !state.hasGone else { throw gone() }
      let key = unsafe RingKey(direction: ring.direction, index: ring.index)
      if isHost(key.index) {
        unsafe try state.host?.start(ring)
      } else {
        unsafe try state.driver?.start(ring)
      }
      unsafe state.krings[key] = ring.kring
      do throws(NetmapError) {
        try connectHost()
      } catch {
        unsafe stopLocked(ring)
        throw error
      }
    }
  }

  package func stop(_ ring: RingPlacement) {
    lock.withLock { _ in unsafe stopLocked(ring) }
  }

  private func stopLocked(_ ring: RingPlacement) {
    let key = unsafe RingKey(direction: ring.direction, index: ring.index)
    unsafe state.krings[key] = nil
    // The host first: its packets must not go to a ring that no binding holds. If the kernel refuses, they are lost
    // there until the next start or stop of a ring.
    try? connectHost()
    if isHost(key.index) {
      unsafe state.host?.stop(ring)
    } else {
      unsafe state.driver?.stop(ring)
    }
  }

  package func driverSource(for ring: RingPlacement) throws(NetmapError) -> RingDriverSource {
    let recipe = try lock.withLock { (_) throws(NetmapError) -> RingDriverRecipe in
      var result: RingDriverRecipe
      if unsafe isHost(ring.index), let host = unsafe state.host {
        result = unsafe try host.recipe(for: ring)
      } else if let driver = unsafe state.driver {
        result = unsafe try driver.recipe(for: ring)
      } else {
        throw gone()
      }
      unsafe result.alarm = state.alarm
      // Also with the interface's own rings: which of the two a process opens first must not matter.
      if let host = unsafe state.host { result.held += host.held }
      return result
    }
    return unsafe .anywhere(recipe)
  }
}

// MARK: - Host rings

extension LinuxPort {
  /// Whether a pair is one of host rings.
  private func isHost(_ pair: Int) -> Bool { pair >= geometry.hardwarePairs }

  private func activateHost(pair: Int, _ placement: PortPlacement) throws(NetmapError) {
    guard unsafe !state.excludesHostRings else {
      throw NetmapError(
        .unsupported, "open", interface.name,
        reason: "it is open with generic XDP, which would take the packets sent to the host for"
          + " packets from the wire",
        remedy: "close it, and open it with its host rings from the start, or with"
          + " @backend:name=packet")
    }
    let isNew = unsafe state.host == nil
    if isNew { unsafe state.host = try HostRings(of: interface, geometry, memory) }
    do throws(NetmapError) {
      unsafe try state.host?.activate(pair: pair, of: placement)
    } catch {
      if isNew { unsafe state.host = nil }
      throw error
    }
  }

  /// Connects the host to its rings, or disconnects it, as the started rings require.
  ///
  /// The host's packets come to the host rings while a transmit ring of the interface is bound, as in netmap: until then
  /// they go to the wire (`netmap_transmit`).
  private func connectHost() throws(NetmapError) {
    guard let host = unsafe state.host, unsafe !state.hasGone else { return }
    let started = unsafe Array(state.krings.keys)
    let hearsHost = started.contains { $0.direction == .receive && isHost($0.index) }
    let ownsWire = started.contains { $0.direction == .transmit && !isHost($0.index) }
    let marks = unsafe state.driver?.needsMarks ?? false
    try host.connect(takesHostPackets: hearsHost && ownsWire, marks: marks)
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
        if candidate.excludesHostRings, unsafe placement.holdsHostRings || state.host != nil {
          throw NetmapError(
            .unsupported, "open", interface.name,
            reason: "it would take the packets sent to the host for packets from the wire",
            remedy: "choose another backend (@backend:name=packet), or open it without '^' and '*'")
        }
        let driver = try candidate.drive(interface, isDemanded: isDemanded)
        unsafe try driver.activate(pair: pair, of: placement)
        unsafe state.driver = driver
        unsafe state.excludesHostRings = candidate.excludesHostRings
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

  private func forgetDriver() {
    unsafe state.driver = nil
    unsafe state.excludesHostRings = false
    unsafe state.description = BackendDescription(name: "", mode: "")
  }

  private func forget() {
    forgetDriver()
    unsafe state.host = nil
    unsafe state.krings = [:]
    if let watch = unsafe state.watch { monitor.end(watch) }
    unsafe state.watch = nil
    if unsafe state.alarm >= 0 { unsafe close(state.alarm) }
    unsafe state.alarm = -1
    unsafe state.hasGone = false
  }

  /// Stops every ring, wakes all sleepers on its rings, and detaches the programs.
  ///
  /// An interface that was deleted has no programs any more. One that has moved to another network namespace keeps them:
  /// they would take the packets of its new host.
  private func interfaceHasGone() {
    lock.withLock { _ in
      // The notification may arrive when no pair is active any more.
      guard unsafe state.watch != nil else { return }
      unsafe state.hasGone = true
      unsafe state.krings.values.forEach { unsafe $0.stop() }
      var one: UInt64 = 1
      if unsafe state.alarm >= 0 { _ = unsafe write(state.alarm, &one, 8) }
    }
    // The kernel takes some milliseconds to detach a program, and the monitor's thread has other ports to tell. Without
    // another thread the programs stay until the port is closed.
    let thread = try? EngineThread.start(interface.name) { [weak self] in self?.leaveInterface() }
    if let thread { pthread_detach(thread) }
  }

  /// Detaches the programs, unless the port has been closed meanwhile.
  private func leaveInterface() {
    lock.withLock { _ in
      guard unsafe state.hasGone else { return }
      // The kernel refuses nothing here: it detaches a link.
      try? unsafe state.host?.connect(takesHostPackets: false, marks: false)
      unsafe state.driver?.leaveInterface()
    }
  }

  private func gone() -> NetmapError {
    NetmapError(
      .noSuchDevice, "open", interface.name, reason: "the interface has been removed",
      remedy: "close all ports on it, and open it again when the interface is back")
  }
}
