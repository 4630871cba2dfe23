/// What carries the packets of a network interface, and why nothing better does.
public struct PortBackend: Hashable, Sendable, CustomStringConvertible {
  /// The backend, as `@backend:name=...` spells it: `xdp`, `packet`, ...
  public let name: String

  /// How the driver takes part, as `@backend:mode=...` spells it; empty where there is no choice.
  public let mode: String

  /// One line for each better choice that was tried first: which, and why it was refused.
  public let refusals: [String]

  /// What to know about it, one line each: that packets are shared with the host, for instance.
  public let remarks: [String]

  /// For one line of a log: `xdp copy (xdp zerocopy: not supported by the driver)`.
  public var description: String {
    let title = mode.isEmpty ? name : "\(name) \(mode)"
    let notes = refusals + remarks
    return notes.isEmpty ? title : "\(title) (\(notes.joined(separator: "; ")))"
  }
}
