/// The data half of a backend, for one ring: a function and what it works on.
///
/// A plain C function pointer rather than a protocol value: it is called once a sync from code that
/// may not count references, and it can be made in whichever process syncs the ring.
@unsafe
package struct BackendRing {
  /// Moves packets. Called with the ring's lock held, after head and cur have been checked.
  ///
  /// Parameters: the `context`; the ring, as ``AttachedRing/init(calledWith:)`` takes it; the checked
  /// head; the raw ``SyncFlags``. It takes over (transmit) or releases (receive) the slots from `hwcur`
  /// up to head, as far as it can, and leaves `hwcur` and `hwtail` of the kring saying how far that was.
  /// The caller shows `hwtail` to the application. Returns 0 or an `errno`.
  package typealias Synchronize =
    @convention(c) (UnsafeMutableRawPointer?, UnsafeRawPointer, UInt32, UInt32) -> Int32

  package var context: UnsafeMutableRawPointer?
  package var synchronize: Synchronize

  /// What a sleeper adds to its set of descriptors: a descriptor and the poll(2) events that mean
  /// progress on this ring. -1 for a ring whose peer rings a doorbell.
  package var pollDescriptor: CInt = -1
  package var pollEvents: Int16 = 0

  /// A descriptor that becomes readable, and stays so, when the ring has stopped for good: every
  /// sleeper watches it, whatever it waits for. -1 for a ring that cannot stop by itself.
  package var alarmDescriptor: CInt = -1

  /// Whether progress shows only by looking: nothing rings or becomes readable when slots come back.
  ///
  /// A sleeper looks again after a pause, 50 microseconds at first, doubled up to 10 milliseconds.
  package var isPolled = false

  package init(context: UnsafeMutableRawPointer?, synchronize: @escaping Synchronize) {
    unsafe self.context = context
    unsafe self.synchronize = synchronize
  }

  /// For rings whose packets the core moves itself.
  package static var none: BackendRing { unsafe BackendRing(context: nil) { _, _, _, _ in 0 } }
}

/// The control half of a backend: one network interface, opened by the engine.
///
/// Lives in the engine's process and may need privileges. Calls come one at a time, under the
/// engine's lock. ``attach(_:)`` says how the data half of a ring is made, wherever the ring is synced.
package protocol InterfaceBackend: AnyObject, Sendable {
  /// Which backend, in which mode, and why better ones were refused, for people to read.
  var backendDescription: BackendDescription { get }

  /// Which interface it is; nil where the name says it all.
  var identity: InterfaceIdentity? { get }

  /// Rings and slots the interface has. Host rings are counted apart.
  var geometry: PortGeometry { get }

  /// Makes ring pair `index` (host pairs follow the hardware pairs) ready to move packets.
  ///
  /// Called when the first ring of the pair is bound; the region and its ring objects exist.
  func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError)

  /// Undoes ``activate(pair:of:)`` when the last ring of the pair is released: no buffer of the
  /// pair's rings may be in use when it returns. The ring objects still exist.
  func deactivate(pair index: Int)

  /// Begins to move packets of one ring of an active pair, which nobody held until now.
  ///
  /// A binding may hold one direction only: what arrives for a receive ring that was not started
  /// belongs to the host.
  func start(_ ring: RingPlacement) throws(NetmapError)

  /// Ends ``start(_:)``: the last binding lets go of the ring. The ring object and its buffers stay
  /// until the pair is deactivated; the ring may be started again before that, as it was left.
  func stop(_ ring: RingPlacement)

  /// How to come by the data half of one ring of an active pair. It may be used until the ring is
  /// stopped.
  func attach(_ ring: RingPlacement) throws(NetmapError) -> RingAttachment
}

extension InterfaceBackend {
  package var identity: InterfaceIdentity? { nil }
  package func start(_ ring: RingPlacement) throws(NetmapError) {}
  package func stop(_ ring: RingPlacement) {}
}

/// Finds interfaces and chooses how to drive them. The engine is given one when it is created;
/// the core itself knows no network interface.
package protocol InterfaceProvider: Sendable {
  /// Which interface a name means to the calling thread, without opening it.
  ///
  /// - Returns: Nil where names say it all.
  /// - Throws: ``NetmapError`` when it cannot be found out.
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

  /// What makes data halves of ``RingAttachment/anywhere(_:)`` in this process.
  ///
  /// - Parameters:
  ///   - memory: Of the port whose rings they are.
  ///   - name: The port's.
  /// - Returns: The maker; for the rings of this port only.
  /// - Throws: ``NetmapError`` `EOPNOTSUPP` where all data halves are ``RingAttachment/here(_:)``.
  func dataHalves(in memory: PortMemory, named name: String) throws(NetmapError) -> any DataHalves
}

extension InterfaceProvider {
  package func dataHalves(
    in memory: PortMemory, named name: String
  ) throws(NetmapError) -> any DataHalves {
    throw NetmapError(
      .unsupported, "attach", name, reason: "its backend is made in another way")
  }

  package func identity(of name: String) throws(NetmapError) -> InterfaceIdentity? { nil }
}

/// Which interface a name means: names are used again, and mean other interfaces in other network
/// namespaces.
package struct InterfaceIdentity: Hashable, Sendable {
  /// A number that no other network namespace has, nor any that exists no more.
  package let namespace: UInt64
  /// The interface's index in it; 0 when no interface has the name.
  package let index: UInt32

  package init(namespace: UInt64, index: UInt32) {
    self.namespace = namespace
    self.index = index
  }
}

/// What a backend says of itself.
package struct BackendDescription: Hashable, Sendable {
  /// `xdp`, `packet`, `netmap`, ...; ``isolated``.
  package var name: String
  /// `zerocopy`, `copy`, `generic`, or empty.
  package var mode: String
  /// One line for each better choice that was refused: which, and why.
  package var refusals: [String]
  /// What a user should know, one line each: that the host sees the packets as well, for one.
  package var remarks: [String] = []

  /// The ``name`` of a port whose packets the engine's worker carries.
  package static let isolated = "isolated"

  package init(name: String, mode: String, refusals: [String] = []) {
    self.name = name
    self.mode = mode
    self.refusals = refusals
  }
}

/// Where a port's memory is, for the control half of a backend.
@unsafe
package struct PortPlacement {
  package let region: Region
  package let segment: SyncSegment
  package let geometry: PortGeometry
  /// Whether the binding for which a pair is activated holds receive rings.
  package let receives: Bool
}

/// Where one ring is, for the data half of a backend: which pair, and its buffers' owner bytes.
@unsafe
package struct RingPlacement {
  package let index: Int
  package let direction: Direction
  package let ring: Ring
  package let kring: KRing
  package let ownership: BufferOwnership
}
