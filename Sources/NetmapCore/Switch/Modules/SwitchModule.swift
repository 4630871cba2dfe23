/// What a VALE switch does with packets, in place of its learning bridge.
///
/// A module says for each packet of a batch which port gets it (``lookup(_:)``); the switch copies the
/// packets. It is made when a switch begins to use it, from a text that the user wrote, and used until
/// another one takes its place or the switch goes.
///
/// `lookup` runs in the data path, in the thread that sends, and in several threads at once: whatever
/// changes in a module is an `Atomic` or behind a `Mutex`. It should neither allocate nor wait. A module
/// may be a structure that cannot be copied, so that it can hold atomics.
public protocol SwitchModule: ~Copyable, Sendable {
  /// What it is called in listings: letters, digits, `-` and `_`.
  static var name: String { get }

  /// Whether verdicts depend on nothing of a packet but its two Ethernet addresses, on the port and on the
  /// ring; false where a module does not say.
  ///
  /// Of packets side by side with the same addresses, which is what a flow looks like, a module in the
  /// sender's process is then shown one, and its verdict holds for all of them.
  static var decidesByAddresses: Bool { get }

  /// Makes a module for one switch. May allocate and block.
  ///
  /// - Parameter configuration: What the user wrote, empty when nothing.
  /// - Throws: ``NetmapError`` when that makes no sense. The switch goes on as before.
  init(configuration: String) throws(NetmapError)

  /// Decides on packets of one port: ``SwitchBatch/route(_:)`` goes through them.
  ///
  /// Packets without a verdict are dropped. So are those for a port that does not exist, and for the port
  /// they come from.
  func lookup(_ batch: borrowing SwitchBatch)

  /// Takes another configuration, while packets flow.
  ///
  /// - Throws: ``NetmapError``; then the old one must still hold. `EOPNOTSUPP`, which is what a module that
  ///   does not implement this throws, has the switch make another module instead.
  func configure(_ configuration: String) throws(NetmapError)

  /// A port has left the switch. Another one may get its index.
  func portLeft(_ index: Int)

  /// What the module has counted.
  var statistics: [SwitchModuleStatistic] { get }
}

/// A number that a module shows.
public struct SwitchModuleStatistic: Hashable, Sendable {
  /// A word: letters, digits, `_`.
  public let name: String
  public let value: UInt64

  public init(_ name: String, _ value: UInt64) {
    self.name = name
    self.value = value
  }
}

extension SwitchModule where Self: ~Copyable {
  public func configure(_ configuration: String) throws(NetmapError) {
    throw NetmapError(
      .unsupported, "configure", Self.name, reason: "the module cannot be changed in place")
  }

  public static var decidesByAddresses: Bool { false }

  public func portLeft(_ index: Int) {}

  public var statistics: [SwitchModuleStatistic] { [] }
}
