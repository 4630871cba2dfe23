/// The backend that moves the packets of a network interface or an isolated port, and why better ones were refused.
public struct PortBackend: Hashable, Sendable, CustomStringConvertible {
  /// The backend, as `@backend:name=...` spells it: `xdp`, `packet`, ...; `isolated` for an isolated port.
  public let name: String

  /// How the network driver takes part, as `@backend:mode=...` spells it; empty for a backend with
  /// one mode only.
  public let mode: String

  /// One line for each better backend that was tried before: its name, and why it was refused.
  public let refusals: [String]

  /// Notes about the backend in use, one line each, such as that it shares packets with the host.
  public let remarks: [String]

  /// Text for one line of a log: `xdp copy (xdp zerocopy: not supported by the driver)`.
  public var description: String {
    let title = mode.isEmpty ? name : "\(name) \(mode)"
    let notes = refusals + remarks
    return notes.isEmpty ? title : "\(title) (\(notes.joined(separator: "; ")))"
  }
}
