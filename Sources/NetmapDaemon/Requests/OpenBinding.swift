internal import NetmapClient
internal import NetmapCore

/// What the daemon keeps of one open of a port.
final class OpenBinding {
  let registration: Registration
  /// How the rings of an interface are made in another process.
  var attachment: InterfaceAttachment?
  /// Where an interface was opened; nil for the daemon's own network namespace.
  let namespace: NamespaceFile?
  /// The user who opened it.
  var user: UInt32 = 0
  /// Whether it is a stranger's.
  var isStrangers = false
  /// Of an isolated port: whether the worker still carries its packets, as it does some time after the close.
  var isCarried = false
  /// Of the worker's end of an isolated port: the process's.
  var outside: BindingID?
  /// The process that asked for it, for people to read.
  let process: Int32
  /// The connection that is its token.
  let tokenKey: UInt64
  /// Processes that may have its rings mapped.
  var viewers: Set<ClientTag> {
    didSet {
      for tag in viewers.subtracting(oldValue) { registration.segment.users?.add(tag) }
      for tag in oldValue.subtracting(viewers) { registration.segment.users?.remove(tag) }
    }
  }
  /// Whether its token is still open somewhere.
  var isOpen = true
  /// Whether it is the worker's end of an isolated port, which is nobody's business.
  var isHidden = false
  /// Of an interface on a switch, and of the port that it has there: the port's name. No program has them
  /// open.
  var attachedAs: PortName?
  /// Of an isolated port: what carries its packets, and the port it stands for.
  var link: (number: UInt64, worker: Worker, inside: BindingID)?
  /// Of an isolated port: whom the worker wakes.
  var bells: DoorbellTable?

  init(
    _ registration: Registration, in namespace: NamespaceFile?, process: Int32, tokenKey: UInt64,
    viewer: ClientTag
  ) {
    self.registration = registration
    self.namespace = namespace
    self.process = process
    self.tokenKey = tokenKey
    viewers = [viewer]
    registration.segment.users?.add(viewer)
  }

  deinit {
    for tag in viewers { registration.segment.users?.remove(tag) }
  }

  /// Wakes whoever sleeps for this binding's rings alone. (For others there are doorbells.)
  func ring() {
    let isIsolated = bells != nil || outside != nil
    unsafe registration.segment.bell(ofBinding: registration.bindingIndex)?.ring(
      atMost: isIsolated ? DoorbellTable.threadsWoken : .max)
  }

  /// The switch that the port is on.
  var bridge: UInt64? { registration.place?.serial }

  /// Who shares the krings: the bindings of one port, and of a pipe's two ends.
  var segment: ObjectIdentifier { ObjectIdentifier(registration.segment.memory) }
}
