internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import NetmapLinuxSetup

/// An open netmap port: rings of packet buffers shared with whoever is at the other end.
///
/// ```swift
/// let port = try Port("netmap:a{1")
/// while true {
///   try port.wait(for: .receive)
///   var ring = port.receiveRing(0)
///   while let packet = ring.next() { handle(packet.bytes) }
/// }
/// ```
///
/// The life of a packet: ``wait(for:timeout:)`` or ``sync(_:)`` makes what has arrived visible in the
/// receive rings; reading moves a ring's head; the next sync gives the slots before the head back.
/// Sending is the mirror image: filling slots moves the head of a transmit ring, the next sync takes
/// them over.
///
/// A port is used by one thread at a time, which the compiler checks (it is not `Sendable`). To use the
/// rings of one port from several threads open it several times, each with its own ring
/// (`netmap:a{1-0`, `netmap:a{1-1`). The memory stays mapped as long as the port object lives; the
/// binding ends with ``close()`` or with the object.
@safe
public final class Port {
  let binding: PortBinding
  /// Where requests about the port go.
  let provider: any BindingProvider
  let attached: AttachedPort
  private let registration: Registration
  private let process = unsafe ForkGuard.Mark()

  // What every sync and every view needs, as plain data: no reference is counted on the way.
  private let path: UnsafePointer<SyncPath>
  @usableFromInline let rings: UnsafeMutablePointer<Ring>
  @usableFromInline let origins: UnsafeMutablePointer<RingOrigin>
  @usableFromInline let transmitCount: Int
  @usableFromInline let receiveCount: Int

  private var isOpen = true
  private var sleeper: Sleeper?
  /// Where ``inject(_:)`` looks first.
  var nextInjectRing = 0

  /// The region the buffers lie in (`nr_mem_id`), a number of the port's engine. Ports of one engine that
  /// have the same number exchange packets without copying them; see ``sharesMemory(with:)``.
  public let memoryID: UInt16

  private let bufferBytes: Int

  /// The port as it was asked for.
  public let specification: PortSpecification

  /// Opens a port by name, such as `netmap:a{1`.
  ///
  /// - Parameters:
  ///   - name: A port name in libnetmap's grammar: `netmap:` and the name, then perhaps a ring
  ///     selection and options. See ``PortSpecification``.
  ///   - flags: Flags beyond those the name carries.
  ///   - extraBuffers: Buffers wanted beyond those in the rings; see ``extraBufferCount``.
  ///   - engine: Where to open it, an ``EmbeddedEngine`` or a ``HostEngine``; nil for
  ///     ``EmbeddedEngine/shared()``.
  /// - Throws: ``NetmapError`` with the `errno` netmap(4) has for the refusal: `EINVAL` for a
  ///   malformed name, `ENXIO` for one that nobody has, `EBUSY`, `ENOMEM`, ...
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
      interfaceExists: LinuxInterface.exists)
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
    attached = binding.attached
    registration = binding.registration
    unsafe path = attached.syncPath
    transmitCount = attached.transmitCount
    receiveCount = attached.receiveCount
    let count = max(transmitCount + receiveCount, 1)
    unsafe rings = .allocate(capacity: count)
    unsafe origins = .allocate(capacity: count)
    for index in 0..<transmitCount {
      let ring = unsafe attached.transmit(index)
      unsafe (rings + index).initialize(to: ring.ring)
      unsafe (origins + index).initialize(
        to: RingOrigin(attached.region, attached.exchangeOwner, note: nil))
    }
    for index in 0..<receiveCount {
      let (ring, place) = unsafe (attached.receive(index), transmitCount + index)
      unsafe (rings + place).initialize(to: ring.ring)
      unsafe (origins + place).initialize(
        to: RingOrigin(attached.region, attached.exchangeOwner, note: ring.kring.exchangeNote))
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
        reason: "external memory is not supported yet", remedy: "leave '@extmem' out")
    }
    var request = RegisterRequest(
      name: specification.name, selection: specification.selection,
      flags: specification.flags.union(flags), memoryID: specification.memoryID ?? 0,
      hints: specification.conf, extraBuffers: extraBuffers, backend: specification.backend)
    if specification.backpressure { request.flags.insert(.backpressure) }
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
    binding.finish()
  }

  /// A copy of the descriptor that keeps the port open, for another process: see
  /// ``HostEngine/port(token:)``.
  ///
  /// - Parameter survivesExec: Whether a program that this process becomes inherits the copy.
  /// - Returns: The copy, the caller's to close.
  /// - Throws: ``NetmapError`` `EOPNOTSUPP` for a port of an embedded engine, `EBADF` after ``close()``.
  package func duplicateToken(survivesExec: Bool = false) throws(NetmapError) -> CInt {
    guard let token = binding.token else {
      throw NetmapError(
        .unsupported, "pass on", name, reason: "it is of an engine of this process alone",
        remedy: "open it on HostEngine.shared")
    }
    return try token.duplicate(survivesExec: survivesExec)
  }

  /// Ends the binding: the rings become free for others, and every further sync or wait throws.
  ///
  /// Never blocks and never waits for a peer; packets already sent stay where the peer finds them.
  /// The port's memory stays as it is until the object goes. Closing twice does nothing.
  public func close() {
    guard isOpen else { return }
    isOpen = false
    // A fork child must not take the parent's port away.
    guard unsafe process.isThisProcess else { return }
    binding.close()
  }
}

extension Port {
  /// The port's name without `netmap:`, such as `a{1`.
  public var name: String { registration.name.rawValue }

  /// All rings of the port, whichever of them this binding holds.
  public var geometry: PortGeometry { registration.geometry }

  /// Bytes in the region (`nr_memsize`).
  public var memorySize: Int { registration.memorySize }

  /// Where the binding's `netmap_if` begins in the region, in bytes (`nr_offset`).
  public var interfaceOffset: Int { registration.interfaceOffset }

  /// Where a ring begins, in bytes after the binding's `netmap_if`: what `ring_ofs` says.
  ///
  /// - Parameters:
  ///   - direction: Which kind of ring.
  ///   - index: Counted from the first one this binding holds; anything else traps.
  /// - Returns: The distance in bytes.
  public func ringOffset(_ direction: Direction, _ index: Int) -> Int {
    let ring = unsafe direction == .transmit ? attached.transmit(index) : attached.receive(index)
    return unsafe ring.ring.base - attached.interface
  }

  /// Bytes in a buffer: the most that one slot holds, offsets apart.
  ///
  /// Constant, though other processes can write where the segment says it.
  public var bufferSize: Int { bufferBytes }

  /// Whether buffers of the two ports can change places: then ``ReceiveRing/forward(to:limit:_:)`` copies no
  /// packet. True for ports in one region of one engine, however they were opened.
  public func sharesMemory(with other: Port) -> Bool {
    attached.region.identity == other.attached.region.identity
  }

  /// Transmit rings that this binding holds.
  public var transmitRingCount: Int { transmitCount }

  /// Receive rings that this binding holds.
  public var receiveRingCount: Int { receiveCount }

  /// What drives the port's rings, when it is a network interface; nil for pipes and the like.
  public var backend: PortBackend? {
    registration.backend.map {
      PortBackend(name: $0.name, mode: $0.mode, refusals: $0.refusals, remarks: $0.remarks)
    }
  }

  /// How many extra buffers were given at opening; at most as many as were asked for.
  public var extraBufferCount: Int { registration.extraBuffers }

  /// Transmit ring `index` of this binding, as it stands now.
  ///
  /// Take it anew after each sync or wait: it remembers how much room there was.
  ///
  /// - Parameter index: `0..<transmitRingCount`; anything else traps.
  /// - Returns: The free slots of the ring.
  @inlinable
  @_lifetime(borrow self)
  public borrowing func transmitRing(_ index: Int) -> TransmitRing {
    precondition(index >= 0 && index < transmitCount, "the port has no such transmit ring")
    let ring = unsafe TransmitRing(rings[index], origins + index)
    return unsafe _overrideLifetime(ring, borrowing: self)
  }

  /// Receive ring `index` of this binding, as it stands now.
  ///
  /// Take it anew after each sync or wait: it remembers how many packets there were.
  ///
  /// - Parameter index: `0..<receiveRingCount`; anything else traps.
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

extension Port {
  /// Sends what the transmit rings hold, or shows what has arrived in the receive rings: the
  /// `NIOCTXSYNC` and `NIOCRXSYNC` of netmap(4), for all rings of one direction.
  ///
  /// Never blocks. A ring that another thread is syncing through another binding is left out. A ring
  /// whose cursors were out of place is reset, which ``statistics`` counts.
  ///
  /// - Throws: ``NetmapError`` `EIO` when the interface has gone, `EBADF` after ``close()`` and in a
  ///   fork child.
  public func sync(_ direction: Direction) throws(NetmapError) {
    guard isOpen else { throw unusable() }
    switch unsafe direction == .transmit ? SyncPath.transmit(path) : SyncPath.receive(path) {
    case .done: return
    case .failed: throw gone()
    case .forked: throw unusable()
    }
  }

  /// Syncs, and sleeps until a receive ring has packets or a transmit ring has room: poll(2) on the
  /// port, with its rules.
  ///
  /// Waiting for either direction also sends what the transmit rings hold. Ready means that some ring
  /// has slots past its `cur`. Sleeping uses no CPU; the sleeper is woken by the other end's sync.
  ///
  /// - Parameters:
  ///   - wanted: What to wait for.
  ///   - timeout: How long; nil waits for ever, zero only looks.
  /// - Returns: What is ready; empty when the time was up. `.error` says that a ring was reset.
  /// - Throws: ``NetmapError`` `EINTR` when a signal handler ran, `EBADF` after ``close()`` and in a
  ///   fork child.
  @discardableResult
  public func wait(
    for wanted: Readiness, timeout: Duration? = nil
  ) throws(NetmapError) -> Readiness {
    try checkUsable()
    let ready = attached.scan(wanted)
    if !ready.isEmpty || timeout == .zero { return ready }
    let sleeper: Sleeper
    if let existing = self.sleeper {
      sleeper = existing
    } else {
      sleeper = Sleeper(doorbells: binding.doorbells)
      self.sleeper = sleeper
    }
    var items = [Sleeper.Item(port: attached, wanted: wanted)]
    var none: [pollfd] = []
    _ = try sleeper.wait(for: &items, and: &none, timeout: timeout?.nanosecondsClamped)
    return items[0].ready
  }

  func checkUsable() throws(NetmapError) {
    guard unsafe isOpen && process.isThisProcess else { throw unusable() }
  }

  // Out of line, as is the next one: a sync should not make room for an error's parts.
  @inline(never)
  private func unusable() -> NetmapError {
    NetmapError(
      .badDescriptor, "sync", name,
      reason: isOpen ? "the port was opened before this process was forked" : "it is closed",
      remedy: "open it again")
  }

  @inline(never)
  private func gone() -> NetmapError {
    NetmapError(
      .inputOutput, "sync", name, reason: "the interface has gone or its backend failed",
      remedy: "close the port and open it again")
  }

  /// What has happened on the rings of this binding, and how often it had to wait.
  public var statistics: PortStatistics {
    var result = PortStatistics()
    for index in 0..<attached.transmitCount {
      unsafe result.transmit += attached.transmit(index).counters
    }
    for index in 0..<attached.receiveCount {
      unsafe result.receive += attached.receive(index).counters
    }
    result.sleeps = sleeper?.sleeps ?? 0
    result.waitSystemCalls = sleeper?.systemCalls ?? 0
    return result
  }
}

extension Duration {
  /// Whole nanoseconds, 0 for what is negative, the largest for what is beyond 584 years.
  var nanosecondsClamped: UInt64 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    let (product, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max / 2 : min(product + UInt64(attoseconds / 1_000_000_000), .max / 2)
  }
}
