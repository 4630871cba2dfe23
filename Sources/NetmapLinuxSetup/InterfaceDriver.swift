package import NetmapCore

/// A backend candidate: a backend in one mode.
///
/// A port tries its candidates in order of preference.
package protocol BackendCandidate: Sendable {
  /// The value of `@backend:name=...` that selects it.
  var name: PortSpecification.BackendChoice.Name { get }

  /// The value of `@backend:mode=...` that selects it; nil when the backend has no modes.
  var mode: PortSpecification.BackendChoice.Mode? { get }

  /// Whether host rings cannot be used beside it.
  var excludesHostRings: Bool { get }

  /// Drives an interface this way.
  ///
  /// The driver need not do anything before its first ring pair is activated. The candidate may be refused here or
  /// at that activation.
  ///
  /// - Parameters:
  ///   - interface: The interface.
  ///   - isDemanded: Whether the user insists on this backend or mode. Otherwise a candidate that would pass
  ///     incomplete frames on is refused, because a later candidate completes them.
  /// - Returns: The driver.
  /// - Throws: ``NetmapError`` when it is already certain that this cannot work. If ``NetmapError/Code/endsSelection``
  ///   is true for its code, the user gets the refusal at once. Otherwise the port tries the next candidate.
  func drive(
    _ interface: LinuxInterface, isDemanded: Bool
  ) throws(NetmapError) -> any InterfaceDriver
}

/// Drives an interface by one candidate.
///
/// The calls are those of ``InterfaceBackend``, which documents them. They come one at a time.
package protocol InterfaceDriver: AnyObject, Sendable {
  func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError)
  func deactivate(pair index: Int)
  func start(_ ring: RingPlacement) throws(NetmapError)
  func stop(_ ring: RingPlacement)

  /// Whether packets to the host must be marked now (``AttachedHostLeg/connect(takesHostPackets:marks:)``).
  var needsMarks: Bool { get }

  /// Remarks for the user on the way the interface is driven, one line each.
  var remarks: [String] { get }

  /// Describes how to make the ring driver of a ring. The caller adds the alarm, which wakes sleepers when the
  /// interface disappears.
  func recipe(for ring: RingPlacement) throws(NetmapError) -> RingDriverRecipe
}

extension InterfaceDriver {
  package var needsMarks: Bool { false }
  package var remarks: [String] { [] }
}

extension BackendCandidate {
  package var excludesHostRings: Bool { false }

  /// Whether the user's choice allows this candidate.
  func matches(_ choice: PortSpecification.BackendChoice?) -> Bool {
    guard let choice else { return true }
    return (choice.name == nil || choice.name == name)
      && (choice.mode == nil || choice.mode == mode)
  }

  /// The candidate as messages call it: `xdp copy`, `packet`.
  var title: String {
    mode.map { "\(name.rawValue) \($0.rawValue)" } ?? name.rawValue
  }
}

extension NetmapError.Code {
  /// Whether another backend would only hide the cause of a refusal: the queue is taken, the interface has
  /// disappeared, or too many files are open.
  package var endsSelection: Bool {
    self == .busy || self == .noSuchDevice || self == .tooManyFiles
  }
}
