/// What a port's syncs do although its rings do not ask for it, or only if they ask.
///
/// The engine decides it when it binds rings (tunables `no_timestamp` and `fwd`). Every process that attaches the binding
/// gets it with the ``Registration``.
package struct SyncDefaults: OptionSet, Hashable, Sendable {
  package let rawValue: UInt8

  package init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Receive syncs stamp a ring only if it asks for it (`NR_TIMESTAMP`).
  package static let stampsOnRequest = Self(rawValue: 1)
  /// Receive syncs pass on all packets that the application releases, as if it had set `NR_FORWARD` on the ring and
  /// `NS_FORWARD` on each slot.
  package static let forwardsReleased = Self(rawValue: 2)

  package static let known: Self = [.stampsOnRequest, .forwardsReleased]
}
