internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// An open netmap port: rings of packet buffers shared with the peer.
///
/// ```swift
/// let port = try NetmapPort("netmap:a{1")
/// while true {
///   try port.wait(for: .receive)
///   var ring = port.receiveRing(0)
///   while let packet = ring.next() { handle(packet.bytes) }
/// }
/// ```
///
/// A packet takes these steps. `wait(for:timeout:)` or ``sync(_:)`` makes packets that have arrived visible
/// in the receive rings; reading a packet moves the ring's head; the next sync returns the slots before the
/// head to the engine. Sending mirrors this: filling slots moves the head of a transmit ring, and the next sync
/// sends those slots.
///
/// Only one thread at a time uses a port, which the compiler checks (`NetmapPort` is not `Sendable`). To use the
/// rings of one port from several threads, open the port several times, each time with its own ring
/// (`netmap:a{1-0`, `netmap:a{1-1`). The memory stays mapped for the lifetime of the port object; the binding
/// ends with ``close()`` or with the object.
@safe
public final class NetmapPort {
  let binding: PortBinding
  /// Answers control requests about the port.
  let provider: any BindingProvider
  let mapped: MappedPort
  let registration: Registration
  private let extraBuffers: ExtraBufferPool?
  private let process = unsafe ForkGuard.Mark()

  // Plain data for every sync and every view, so that the packet path counts no references.
  private let path: UnsafePointer<SyncPath>
  @usableFromInline let rings: UnsafeMutablePointer<Ring>
  @usableFromInline let origins: UnsafeMutablePointer<RingOrigin>
  @usableFromInline let transmitCount: Int
  @usableFromInline let receiveCount: Int

  private var isOpen = true
  private var sleeper: Sleeper?
  /// The arrays of control blocks in CSB mode.
  var controlBlocks: ControlBlocks?
  /// The ring that `inject(_:)` tries first.
  var nextInjectRing = 0
  /// The number of asynchronous waits that found the port ready.
  var immediateWaits = 0

  /// The number of the region that holds the buffers (`nr_mem_id`).
  ///
  /// Ports of one engine that have the same number exchange packets without copying them; see
  /// ``sharesMemory(with:)``.
  public let memoryID: UInt16

  private let bufferBytes: Int

  /// The specification that the port was opened with.
  public let specification: PortSpecification

  /// Opens a port by name, such as `netmap:a{1`.
  ///
  /// - Parameters:
  ///   - name: A port name in libnetmap's grammar: `netmap:` and the name, optionally followed by a ring
  ///     selection and options. See ``PortSpecification``.
  ///   - flags: Flags in addition to those in the name.
  ///   - extraBuffers: Number of buffers wanted in addition to those in the rings, for packets that the program
  ///     keeps (``ReceiveRing/keepNext()``). The engine may give fewer; see ``extraBufferCount``.
  ///   - engine: The engine to open it on, an ``EmbeddedEngine`` or a ``HostEngine``; nil for
  ///     ``EmbeddedEngine/shared()``.
  /// - Throws: ``NetmapError`` with the `errno` that netmap(4) has for the refusal: `EINVAL` for a malformed
  ///   name, `ENXIO` when no such port exists, `EBUSY`, `ENOMEM`, ...
  public convenience init(
    _ name: String, flags: BindingFlags = [], extraBuffers: Int = 0,
    engine: (any PortEngine)? = nil
  ) throws(NetmapError) {
    guard PortSpecification.isPortSpecification(name) else {
      throw NetmapError(
        .invalidArgument, "open", "'\(name)'", reason: "a port name begins with netmap: or vale",
        remedy: "did you mean 'netmap:\(name)'?")
    }
    let specification = try PortSpecification.parse(
      name, enabling: PortOption.standard.union([.offset]),
      interfaceExists: LocalInterfaces.exists)
    try self.init(specification, flags: flags, extraBuffers: extraBuffers, engine: engine)
  }

  /// Opens the port that a specification describes.
  ///
  /// - Throws: As ``init(_:flags:extraBuffers:engine:)``.
  public convenience init(
    _ specification: PortSpecification, flags: BindingFlags = [], extraBuffers: Int = 0,
    engine: (any PortEngine)? = nil
  ) throws(NetmapError) {
    let owner: any PortEngine
    if let engine { owner = engine } else { owner = try EmbeddedEngine.shared() }
    let provider = owner.access.provider
    let request = try Self.request(specification, flags, extraBuffers, provider)
    self.init(
      binding: try provider.open(request), provider: provider, specification: specification)
  }

  init(
    binding: PortBinding, provider: any BindingProvider, specification: PortSpecification
  ) {
    self.binding = binding
    self.provider = provider
    mapped = binding.mapped
    registration = binding.registration
    unsafe path = mapped.syncPath
    transmitCount = mapped.transmitCount
    receiveCount = mapped.receiveCount
    let count = max(transmitCount + receiveCount, 1)
    if registration.extraBuffers > 0, transmitCount + receiveCount > 0 {
      let ring = unsafe transmitCount > 0 ? mapped.transmit(0) : mapped.receive(0)
      extraBuffers = unsafe ExtraBufferPool(binding, ring.ring, given: registration.extraBuffers)
    } else {
      extraBuffers = nil
    }
    unsafe rings = .allocate(capacity: count)
    unsafe origins = .allocate(capacity: count)
    for index in 0..<transmitCount {
      let ring = unsafe mapped.transmit(index)
      unsafe (rings + index).initialize(to: ring.ring)
      unsafe (origins + index).initialize(
        to: RingOrigin(ring.ring, mapped.region, mapped.exchangeOwner, note: nil))
    }
    for index in 0..<receiveCount {
      let (ring, place) = unsafe (mapped.receive(index), transmitCount + index)
      unsafe (rings + place).initialize(to: ring.ring)
      unsafe (origins + place).initialize(
        to: RingOrigin(
          ring.ring, mapped.region, mapped.exchangeOwner, note: ring.kring.exchangeNote,
          pool: extraBuffers))
    }
    memoryID = registration.memoryID
    bufferBytes =
      unsafe transmitCount + receiveCount > 0
      ? Int(rings[0].bufferSize) : registration.segment.bufferSize
    self.specification = specification
  }

  private static func request(
    _ specification: PortSpecification, _ flags: BindingFlags, _ extraBuffers: Int,
    _ provider: any BindingProvider
  ) throws(NetmapError) -> RegisterRequest {
    if specification.extmem != nil {
      throw NetmapError(
        .unsupported, "open", "\(specification)",
        reason: "memory of the program is for C programs, which find rings by their addresses",
        remedy: "leave '@extmem' out")
    }
    var request = RegisterRequest(
      name: specification.name, selection: specification.selection,
      flags: specification.flags.union(flags), memoryID: specification.memoryID ?? 0,
      hints: specification.conf, extraBuffers: ExtraBufferPool.request(for: extraBuffers),
      backend: specification.backend)
    if specification.backpressure { request.extensions.insert(.backpressure) }
    if specification.isIsolated { request.extensions.insert(.isolated) }
    if let offset = specification.offset {
      request.offsets = OffsetsOption(
        max: UInt64(offset.initial), initial: UInt64(offset.initial), bits: UInt32(offset.bits))
    }
    if let other = specification.sharedPort {
      let shared = try provider.memoryID(of: RegisterRequest(name: other))
      guard request.memoryID == 0 || request.memoryID == shared else {
        throw NetmapError(
          .invalidArgument, "open", "\(specification)",
          reason: "'@\(request.memoryID)' and '@share' name different memory regions",
          remedy: "leave one of them out")
      }
      request.memoryID = shared
    }
    return request
  }

  deinit {
    unsafe rings.deallocate()
    unsafe origins.deallocate()
    guard unsafe process.isThisProcess else { return }
    // Kept packets, which refer to the pool, may outlive the port. The pool finishes the binding.
    if extraBuffers == nil { binding.finish() } else { binding.close() }
  }

  /// A copy of the descriptor that keeps the port open, for another process; see ``HostEngine/port(token:)``.
  ///
  /// - Parameter survivesExec: Whether the copy stays open when this process calls execve(2).
  /// - Returns: The copy. The caller closes it.
  /// - Throws: ``NetmapError`` `EOPNOTSUPP` for a port of an embedded engine, `EBADF` after ``close()``.
  package func duplicateToken(survivesExec: Bool = false) throws(NetmapError) -> CInt {
    guard let token = binding.token else {
      throw NetmapError(
        .unsupported, "pass on", name,
        reason: "the port belongs to an engine of this process alone",
        remedy: "open it on HostEngine.shared")
    }
    return try token.duplicate(survivesExec: survivesExec)
  }

  /// Ends the binding: the rings are free for other programs, and every further sync or wait throws `EBADF`.
  ///
  /// Never blocks and never waits for a peer; the peer can still receive packets that were sent. The port's memory stays
  /// mapped until the object is deallocated and no ``KeptPacket`` of the port is left. Closing a port twice does nothing.
  public func close() {
    guard isOpen else { return }
    isOpen = false
    // A fork child must not close its parent's port.
    guard unsafe process.isThisProcess else { return }
    binding.close()
  }
}

extension NetmapPort {
  /// The port's name without `netmap:`, such as `a{1`.
  public var name: String { registration.name.rawValue }

  /// The numbers and sizes of all rings of the port, including rings that this binding does not hold.
  public var geometry: PortGeometry { registration.geometry }

  /// Bytes in a buffer. One slot holds a packet of at most this length minus the packet's offset in the buffer.
  ///
  /// Constant: read once when the port is opened, because other processes can write to the shared memory.
  public var bufferSize: Int { bufferBytes }

  /// Whether the two ports can swap buffers, so that ``ReceiveRing/forward(to:limit:_:)`` copies no packet.
  ///
  /// True if both ports lie in the same memory region of the same engine, however they were opened.
  public func sharesMemory(with other: NetmapPort) -> Bool {
    mapped.region.identity == other.mapped.region.identity
  }

  /// Number of transmit rings that this binding holds.
  public var transmitRingCount: Int { transmitCount }

  /// Number of receive rings that this binding holds.
  public var receiveRingCount: Int { receiveCount }

  /// The backend that moves the packets of a network interface or an isolated port; nil for other ports.
  public var backend: PortBackend? {
    registration.backend.map {
      PortBackend(name: $0.name, mode: $0.mode, refusals: $0.refusals, remarks: $0.remarks)
    }
  }

  /// Number of extra buffers that the engine gave at opening; at most the number requested.
  public var extraBufferCount: Int { extraBuffers?.capacity ?? 0 }

  /// Number of extra buffers without a packet: how many more packets ``ReceiveRing/keepNext()`` can keep.
  public var spareBufferCount: Int { extraBuffers?.count ?? 0 }

  /// A view of transmit ring `index` of this binding, in its current state.
  ///
  /// Take a new view after each sync or wait: a view keeps the amount of room that it found.
  ///
  /// - Parameter index: `0..<transmitRingCount`. An index out of range traps.
  /// - Returns: The free slots of the ring.
  @inlinable
  @_lifetime(borrow self)
  public borrowing func transmitRing(_ index: Int) -> TransmitRing {
    precondition(index >= 0 && index < transmitCount, "the port has no such transmit ring")
    let ring = unsafe TransmitRing(rings[index], origins + index)
    return unsafe _overrideLifetime(ring, borrowing: self)
  }

  /// A view of receive ring `index` of this binding, in its current state.
  ///
  /// Take a new view after each sync or wait: a view keeps the number of packets that it found.
  ///
  /// - Parameter index: `0..<receiveRingCount`. An index out of range traps.
  /// - Returns: The packets in the ring.
  @inlinable
  @_lifetime(borrow self)
  public borrowing func receiveRing(_ index: Int) -> ReceiveRing {
    precondition(index >= 0 && index < receiveCount, "the port has no such receive ring")
    let place = transmitCount + index
    let ring = unsafe ReceiveRing(rings[place], origins + place)
    return unsafe _overrideLifetime(ring, borrowing: self)
  }
}

extension NetmapPort {
  /// Sends the packets in the transmit rings, or makes arrived packets visible in the receive rings.
  ///
  /// This is netmap(4)'s `NIOCTXSYNC` or `NIOCRXSYNC` for all rings of one direction of this binding. Never
  /// blocks. Skips a ring that another thread or process is syncing through another binding. Resets a ring
  /// whose cursors are out of range, and counts the reset in ``statistics``.
  ///
  /// - Throws: ``NetmapError`` `EIO` when the port has failed for good: its interface is gone, its backend has failed,
  ///   or a wait has found that the netmapd of an isolated port has ended. `EBADF` after ``close()`` and in a fork
  ///   child. `EBUSY` after ``enableControlBlocks(requests:answers:)``.
  public func sync(_ direction: Direction) throws(NetmapError) {
    guard isOpen else { throw unusable() }
    let outcome = unsafe direction == .transmit ? SyncPath.transmit(path) : SyncPath.receive(path)
    if case .done = outcome { return }
    throw failure(outcome)
  }

  /// Why a sync has failed.
  @inline(never)
  private func failure(_ outcome: SyncPath.Outcome) -> NetmapError {
    switch outcome {
    case .forked: unusable()
    case .controlled: controlled()
    default: gone()
    }
  }

  /// Syncs, and sleeps until a receive ring has packets or a transmit ring has room: poll(2) on the port, with
  /// netmap's rules.
  ///
  /// Waiting for `.receive` also sends what the transmit rings hold, unless the port was opened with
  /// `NR_NO_TX_POLL`. A direction is ready when one of its rings has slots past its `cur`. A sleep uses no CPU;
  /// the peer's sync ends it.
  ///
  /// A port that has failed for good is always ready, with `.error`: the wait returns at once, and a loop around it never
  /// sleeps again. ``sync(_:)`` throws the reason. After the reset of a ring, `.error` is in the result of one wait, a
  /// sync throws nothing, and the port works.
  ///
  /// - Parameters:
  ///   - wanted: The directions to wait for.
  ///   - timeout: The longest time to sleep. Nil waits forever; zero does not sleep.
  /// - Returns: The ready directions; empty when the timeout has passed. Includes `.error` when a ring was reset or the
  ///   port has failed.
  /// - Throws: ``NetmapError`` `EINTR` when a signal handler ran, `EBADF` after ``close()`` and in a fork
  ///   child, `EMFILE` or `ENFILE` when there are no descriptors left.
  @discardableResult
  public func wait(
    for wanted: Readiness, timeout: Duration? = nil
  ) throws(NetmapError) -> Readiness {
    try checkUsable()
    let ready = mapped.scan(wanted)
    if !ready.isEmpty || timeout == .zero { return ready }
    let sleeper: Sleeper
    if let existing = self.sleeper {
      sleeper = existing
    } else {
      sleeper = Sleeper(doorbells: binding.doorbells)
      self.sleeper = sleeper
    }
    var items = [Sleeper.Item(port: mapped, wanted: wanted)]
    var none: [pollfd] = []
    _ = try sleeper.wait(for: &items, and: &none, timeout: timeout?.nanosecondsClamped)
    return items[0].ready
  }

  func checkUsable() throws(NetmapError) {
    guard unsafe isOpen && process.isThisProcess else { throw unusable() }
  }

  // Out of line, like `gone()`: a sync needs no stack space for the parts of an error.
  @inline(never)
  private func unusable() -> NetmapError {
    NetmapError(
      .badDescriptor, "sync", name,
      reason: isOpen ? "the port was opened before this process was forked" : "the port is closed",
      remedy: "open it again")
  }

  @inline(never)
  private func gone() -> NetmapError {
    NetmapError(
      .inputOutput, "sync", name,
      reason: mapped.isAbandoned
        ? "netmapd, which carried the port's packets, has ended"
        : "the interface was removed, or its backend failed",
      remedy: "close the port and open it again")
  }

  /// Counters of the rings of this binding, and of its waits.
  public var statistics: PortStatistics {
    var result = PortStatistics()
    for index in 0..<mapped.transmitCount {
      unsafe result.transmit += mapped.transmit(index).counters
    }
    for index in 0..<mapped.receiveCount {
      unsafe result.receive += mapped.receive(index).counters
    }
    result.sleeps = sleeper?.sleeps ?? 0
    result.waitSystemCalls = sleeper?.systemCalls ?? 0
    return result
  }
}

extension Duration {
  /// Whole nanoseconds, 0 for a negative duration, and at most 2^63 - 1 (292 years).
  var nanosecondsClamped: UInt64 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    let (product, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow, product <= .max / 2 else { return .max / 2 }
    return min(product + UInt64(attoseconds / 1_000_000_000), .max / 2)
  }
}
