/// What this implementation can do with a binding beyond netmap(4).
///
/// A register request carries these bits in a word of their own, so that every bit of `nr_flags` keeps the
/// meaning, or the lack of one, that it has in netmap.
package struct PortExtensions: OptionSet, Hashable, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// Give the process separate memory, and let the engine carry the packets (`/i`): for untrusted processes.
  package static let isolated = PortExtensions(rawValue: 1)

  /// Make senders on a switch keep packets that do not fit in the receive rings, instead of dropping them
  /// (`@backpressure`).
  package static let backpressure = PortExtensions(rawValue: 2)

  /// The port belongs to a module host: it receives the packets that senders on a switch redirect, and no
  /// broadcasts.
  package static let moduleHost = PortExtensions(rawValue: 4)

  /// The engine rejects the name unless it denotes a network interface.
  package static let interfaceOnly = PortExtensions(rawValue: 8)

  /// Every bit that has a name here.
  package static let known: PortExtensions = [
    .isolated, .backpressure, .moduleHost, .interfaceOnly,
  ]
}
