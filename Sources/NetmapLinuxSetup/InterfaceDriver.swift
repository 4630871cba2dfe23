package import NetmapCore

/// One way to drive network interfaces: a backend in one mode. Tried in the order of a ladder.
package protocol BackendRung: Sendable {
  /// What `@backend:name=...` selects it by.
  var name: PortSpecification.BackendChoice.Name { get }

  /// What `@backend:mode=...` selects it by; nil when the backend has no modes.
  var mode: PortSpecification.BackendChoice.Mode? { get }

  /// Drives an interface this way.
  ///
  /// The driver need not do anything before its first ring pair is activated; a refusal may come from
  /// either.
  ///
  /// - Throws: ``NetmapError`` when it is certain already that this cannot work. The codes that
  ///   ``NetmapError/Code/endsLadder`` names are told to the user at once; after any other the next
  ///   rung is tried.
  func drive(_ interface: LinuxInterface) throws(NetmapError) -> any InterfaceDriver
}

/// An interface driven by one rung of the ladder.
///
/// The calls are those of ``InterfaceBackend``, which says what each means, and come one at a time.
package protocol InterfaceDriver: AnyObject, Sendable {
  func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError)
  func deactivate(pair index: Int)
  func start(_ ring: RingPlacement) throws(NetmapError)
  func stop(_ ring: RingPlacement)

  /// What a user should know of the way the interface is driven, one line each.
  var remarks: [String] { get }

  /// How the data half of a ring is made. What wakes sleepers when the interface goes is added by the
  /// caller.
  func attach(_ ring: RingPlacement) throws(NetmapError) -> BackendAttachment
}

extension InterfaceDriver {
  package var remarks: [String] { [] }
}

extension BackendRung {
  /// Whether the user's choice allows this rung.
  func matches(_ choice: PortSpecification.BackendChoice?) -> Bool {
    guard let choice else { return true }
    return (choice.name == nil || choice.name == name)
      && (choice.mode == nil || choice.mode == mode)
  }

  /// The rung as messages call it: `xdp copy`, `packet`.
  var title: String {
    mode.map { "\(name.rawValue) \($0.rawValue)" } ?? name.rawValue
  }
}

extension NetmapError.Code {
  /// Refusals that another backend would only hide: the queue is taken, or the interface has gone.
  package var endsLadder: Bool {
    self == .busy || self == .noSuchDevice || self == .tooManyFiles
  }
}
