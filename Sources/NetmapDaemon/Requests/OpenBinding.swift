internal import NetmapClient
internal import NetmapCore

/// The daemon's record of one open of a port.
final class OpenBinding {
  let registration: Registration
  /// How another process makes the rings of an interface; nil for other ports.
  var recipe: InterfaceRecipe?
  /// The network namespace in which an interface was opened; nil for the daemon's own.
  let namespace: NamespaceFile?
  /// The user who opened it.
  var user: UInt32 = 0
  /// Whether an untrusted user opened it.
  var isUntrusted = false
  /// For an isolated port: whether the worker still carries its packets, as it does for some time
  /// after the close.
  var isCarried = false
  /// For the worker's end of an isolated port: the process's end.
  var outside: BindingID?
  /// The process that opened the port; only for listings, logs and module hosts.
  let process: Int32
  /// The key of the connection that is its token; 0 for none.
  let tokenKey: UInt64
  /// The clients that may have its rings mapped.
  private(set) var viewers: Set<ClientTag> {
    didSet {
      for tag in viewers.subtracting(oldValue) { registration.segment.users?.add(tag) }
      for tag in oldValue.subtracting(viewers) { registration.segment.users?.remove(tag) }
    }
  }
  /// Those of the viewers that need not say that they no longer use the rings, once the last copy of the token is
  /// closed (``ViewEnd/withToken``).
  private(set) var viewersUntilClose: Set<ClientTag> = []
  /// Whether a copy of its token is still open.
  var isOpen = true
  /// Whether listings and quotas leave it out: the worker's end of an isolated port, or the port of
  /// a module host.
  var isHidden = false
  /// For an interface on a switch, and for the port that it has there: the port's name.
  ///
  /// No program has them open.
  var attachedAs: PortName?
  /// For an isolated port: the link that carries its packets, and the port behind it.
  var link: (number: UInt64, worker: Worker, inside: BindingID)?
  /// For an isolated port: the doorbells that the worker may ring.
  var bells: DoorbellTable?

  init(
    _ registration: Registration, in namespace: NamespaceFile?, process: Int32, tokenKey: UInt64,
    viewer: ClientTag, viewEnd: ViewEnd = .whenForgotten
  ) {
    self.registration = registration
    self.namespace = namespace
    self.process = process
    self.tokenKey = tokenKey
    viewers = [viewer]
    if case .withToken = viewEnd { viewersUntilClose = [viewer] }
    registration.segment.users?.add(viewer)
  }

  /// Records that a client has the binding's rings mapped.
  ///
  /// A client that has mapped them twice keeps the longer of its two views.
  func add(_ viewer: ClientTag, until end: ViewEnd) {
    let isKnown = viewers.contains(viewer)
    viewers.insert(viewer)
    switch end {
    case .whenForgotten: viewersUntilClose.remove(viewer)
    case .withToken where !isKnown: viewersUntilClose.insert(viewer)
    case .withToken: break
    }
  }

  /// Records that a client no longer has the binding's rings mapped.
  ///
  /// - Returns: Whether it had.
  @discardableResult
  func remove(_ viewer: ClientTag) -> Bool {
    viewersUntilClose.remove(viewer)
    return viewers.remove(viewer) != nil
  }

  deinit {
    for tag in viewers { registration.segment.users?.remove(tag) }
  }

  /// Wakes sleepers that wait for this binding's rings alone; other sleepers have doorbells.
  func ring() {
    let isIsolated = bells != nil || outside != nil
    unsafe registration.segment.bell(ofBinding: registration.bindingIndex)?.ring(
      atMost: isIsolated ? DoorbellTable.threadsWoken : .max)
  }

  /// The serial number of the switch that the port is on.
  var vale: UInt64? { registration.place?.serial }

  /// The sets of monitors that the port belongs to: the one that gets its packets, and, for a monitor, its own.
  var sets: [UInt64] { [registration.monitors] + (registration.monitored.map { [$0] } ?? []) }

  /// Whether the port's processes map the ports of a switch, or the monitors of a set.
  func isOn(_ serial: UInt64) -> Bool { vale == serial || sets.contains(serial) }

  /// The memory that the port may share with the port at the other end of a veth; nil when there is
  /// none.
  var sharedMemory: ObjectIdentifier? {
    recipe?.rings.lazy.compactMap(\.sharedMemory).first
  }

  /// The identity of the sync segment.
  ///
  /// All bindings of a port, and of both ends of a pipe, share it.
  var segment: ObjectIdentifier { ObjectIdentifier(registration.segment.memory) }
}
