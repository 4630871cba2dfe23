/// The ring driver of one ring: a function and the data that it works on.
///
/// This is a plain C function pointer, not a protocol value. Each sync calls it once, from code that must not count
/// references. Any process that syncs the ring can make its own.
@unsafe
package struct RingDriverFunction {
  /// Moves packets. A sync calls it with the ring's lock held, after it has checked head and cur.
  ///
  /// Parameters: the `context`; the ring, as ``MappedRing/init(calledWith:)`` takes it; the checked head; the raw
  /// ``SyncFlags``. The function takes over (transmit) or releases (receive) the slots from `hwcur` up to head, as
  /// far as it can. It then stores in `hwcur` and `hwtail` of the kring how far it got. The caller shows `hwtail`
  /// to the application. Returns 0 or an `errno`.
  package typealias Synchronize =
    @convention(c) (UnsafeMutableRawPointer?, UnsafeRawPointer, UInt32, UInt32) -> Int32

  package var context: UnsafeMutableRawPointer?
  package var synchronize: Synchronize

  /// The descriptor that a sleeper adds to its set. The events in ``pollEvents``, as in poll(2), mean progress on
  /// this ring. -1 for a ring whose peer rings a doorbell.
  package var pollDescriptor: CInt = -1
  package var pollEvents: Int16 = 0

  /// A descriptor that becomes readable, and stays readable, when the ring has stopped for good. Every sleeper
  /// watches it, whichever events it waits for. -1 for a ring that cannot stop by itself.
  package var alarmDescriptor: CInt = -1

  /// Whether a sleeper has to look for progress: no doorbell rings and no descriptor becomes readable when slots
  /// come back.
  ///
  /// A sleeper looks again after a pause of 50 microseconds, which it doubles up to 10 milliseconds.
  package var isPolled = false

  /// The wait word of a peer that shares memory with the ring: a sleeper announces itself there, and the peer wakes it.
  /// Nil for a ring without such a peer.
  package var waitWord: WaitWord?

  /// Where the peer says that it makes progress at present without waking sleepers; nil where it never does.
  package var briefSleep: BriefSleep?

  package init(context: UnsafeMutableRawPointer?, synchronize: @escaping Synchronize) {
    unsafe self.context = context
    unsafe self.synchronize = synchronize
  }

  /// For rings whose packets the core itself moves: a function that does nothing.
  package static var none: RingDriverFunction {
    unsafe RingDriverFunction(context: nil) { _, _, _, _ in 0 }
  }
}

/// The control side of a backend: one network interface, opened by the engine.
///
/// It lives in the engine's process and may need privileges. The engine makes one call at a time, under its lock.
/// ``driverSource(for:)`` describes how any process that syncs a ring makes the ring driver.
package protocol InterfaceBackend: AnyObject, Sendable {
  /// Which backend drives the interface, in which mode, and why better ones were refused. For people to read.
  var backendDescription: BackendDescription { get }

  /// Which interface it is; nil where a name alone identifies an interface.
  var identity: InterfaceIdentity? { get }

  /// Whether its ring drivers follow the offsets in slots; if not, an open that asks for offsets is refused.
  var supportsOffsets: Bool { get }

  /// Rings and slots of the interface. Host rings are counted separately.
  var geometry: PortGeometry { get }

  /// Makes ring pair `index` (host pairs follow the hardware pairs) ready to move packets.
  ///
  /// The engine calls it when a binding takes the first ring of the pair. The region and its ring objects exist by
  /// then.
  func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError)

  /// Undoes ``activate(pair:of:)`` when the last ring of the pair is released.
  ///
  /// When it returns, the backend must not use any buffer of the pair's rings any more. The ring objects still
  /// exist.
  func deactivate(pair index: Int)

  /// Begins to move the packets of one ring of an active pair, which no binding held until now.
  ///
  /// A binding may hold one direction only. Packets that arrive for a receive ring that was not started belong to
  /// the host.
  func start(_ ring: RingPlacement) throws(NetmapError)

  /// Ends ``start(_:)``: the last binding has released the ring.
  ///
  /// The ring object and its buffers stay until the pair is deactivated. Until then the engine may start the ring
  /// again, in the state in which it was stopped.
  func stop(_ ring: RingPlacement)

  /// Describes how to make the ring driver of one ring of an active pair.
  ///
  /// Processes may use the ring driver until the ring is stopped.
  func driverSource(for ring: RingPlacement) throws(NetmapError) -> RingDriverSource
}

extension InterfaceBackend {
  package var identity: InterfaceIdentity? { nil }
  package var supportsOffsets: Bool { false }
  package func start(_ ring: RingPlacement) throws(NetmapError) {}
  package func stop(_ ring: RingPlacement) {}
}

/// Finds interfaces and chooses how to drive them.
///
/// An engine gets its provider when it is created. The core itself knows no network interfaces.
package protocol InterfaceProvider: Sendable {
  /// Looks up which interface a name means in the calling thread's network namespace, without opening it.
  ///
  /// - Returns: Nil where a name alone identifies an interface.
  /// - Throws: ``NetmapError`` when the lookup fails.
  func identity(of name: String) throws(NetmapError) -> InterfaceIdentity?

  /// Opens an interface.
  ///
  /// - Parameters:
  ///   - name: The interface's name in the caller's network namespace.
  ///   - backend: The backend the user insists on, or nil for the best one that works.
  /// - Returns: Nil when there is no interface of that name.
  /// - Throws: ``NetmapError`` when there is one but it cannot be driven.
  func open(_ name: String, backend: PortSpecification.BackendChoice?) throws(NetmapError)
    -> (any InterfaceBackend)?

  /// Opens an interface, as ``open(_:backend:)`` does.
  ///
  /// - Parameters:
  ///   - name: The interface's name in the caller's network namespace.
  ///   - backend: The backend the user insists on, or nil for the best one that works.
  ///   - hints: The rings that the user wishes for. A provider may ignore them.
  /// - Returns: Nil when there is no interface of that name.
  /// - Throws: ``NetmapError`` when there is one but it cannot be driven.
  func open(
    _ name: String, backend: PortSpecification.BackendChoice?, hints: RingGeometryHints
  ) throws(NetmapError) -> (any InterfaceBackend)?

  /// The maker of ring drivers for ``RingDriverSource/anywhere(_:)`` in this process.
  ///
  /// - Parameters:
  ///   - memory: The memory of the port that the rings belong to.
  ///   - name: The port's name, for messages.
  /// - Returns: The maker, for the rings of this port only.
  /// - Throws: ``NetmapError`` `EOPNOTSUPP` where every ring driver is ``RingDriverSource/here(_:)``.
  func ringDriverMaker(in memory: PortMemory, named name: String) throws(NetmapError)
    -> any RingDriverMaker
}

extension InterfaceProvider {
  package func open(
    _ name: String, backend: PortSpecification.BackendChoice?, hints: RingGeometryHints
  ) throws(NetmapError) -> (any InterfaceBackend)? { try open(name, backend: backend) }

  package func ringDriverMaker(
    in memory: PortMemory, named name: String
  ) throws(NetmapError) -> any RingDriverMaker {
    throw NetmapError(
      .unsupported, "attach", name, reason: "this engine cannot make its ring drivers")
  }

  package func identity(of name: String) throws(NetmapError) -> InterfaceIdentity? { nil }
}

/// The identity of a network interface.
///
/// A name does not identify an interface: names are reused, and mean different interfaces in different network
/// namespaces.
package struct InterfaceIdentity: Hashable, Sendable {
  /// The network namespace's number. No other namespace has it, not even one that no longer exists.
  package let namespace: UInt64
  /// The interface's index in that namespace; 0 when no interface has the name.
  package let index: UInt32

  package init(namespace: UInt64, index: UInt32) {
    self.namespace = namespace
    self.index = index
  }
}

/// A backend's description of itself.
package struct BackendDescription: Hashable, Sendable {
  /// `xdp`, `packet`, `netmap`, ...; ``isolated``.
  package var name: String
  /// `zerocopy`, `copy`, `generic`, or empty.
  package var mode: String
  /// One line for each better choice that was refused: which, and why.
  package var refusals: [String]
  /// Remarks for the user, one line each. Example: the host's network stack sees the packets as well.
  package var remarks: [String] = []

  /// The ``name`` that an isolated port reports. The engine's worker carries the packets of such a port.
  package static let isolated = "isolated"

  package init(name: String, mode: String, refusals: [String] = []) {
    self.name = name
    self.mode = mode
    self.refusals = refusals
  }
}

/// Where a port's memory lies, for the control side of a backend.
@unsafe
package struct PortPlacement {
  package let region: Region
  package let segment: SyncSegment
  package let geometry: PortGeometry
  /// Whether the binding for which a pair is activated holds receive rings.
  package let receives: Bool
  /// Whether that binding holds host rings.
  package let holdsHostRings: Bool
  /// The number in the segment of the first receive ring that ``geometry`` counts.
  package var firstReceiveRing = 0
}

extension PortPlacement {
  /// The placement of the host rings alone, as the rings of a port of their own.
  package var hostRings: PortPlacement {
    var result = unsafe PortPlacement(
      region: region, segment: segment,
      geometry: PortGeometry(
        transmitRings: geometry.hostTransmitRings, receiveRings: geometry.hostReceiveRings,
        transmitSlots: geometry.transmitSlots, receiveSlots: geometry.receiveSlots),
      receives: receives, holdsHostRings: false)
    unsafe result.firstReceiveRing = geometry.receiveRings
    return unsafe result
  }
}

extension RingPlacement {
  /// The placement of a host ring as a ring of a port of its own (``PortPlacement/hostRings``).
  ///
  /// - Parameter pairs: The number of hardware ring pairs of the port.
  /// - Returns: The placement, with the number that the ring has among the host rings.
  package func hostRing(after pairs: Int) -> RingPlacement {
    unsafe RingPlacement(
      index: index - pairs, direction: direction, ring: ring, kring: kring, ownership: ownership)
  }
}

/// Where one ring lies: its pair, its memory, and the owner bytes of its buffers.
@unsafe
package struct RingPlacement {
  package let index: Int
  package let direction: Direction
  package let ring: Ring
  package let kring: KRing
  package let ownership: BufferOwnership
}
