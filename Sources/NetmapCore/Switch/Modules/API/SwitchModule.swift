/// A module that decides where a VALE switch sends packets, in place of the switch's learning
/// bridge.
///
/// A module decides for each packet of a batch which port receives it (``lookup(_:)``); the switch
/// copies the packets. The switch makes the module from the user's configuration text, and uses it
/// until another module replaces it or the switch goes away.
///
/// `lookup` is on the data path. It runs in the sending thread, and in several threads at once. All
/// mutable state of a module must therefore be an `Atomic` or be protected by a `Mutex`. `lookup`
/// should neither allocate nor block. A module may be a noncopyable structure, so that it can hold
/// atomics.
public protocol SwitchModule: ~Copyable, Sendable {
  /// The module's name in listings: letters, digits, `-` and `_`.
  static var name: String { get }

  /// Whether verdicts depend only on a packet's two Ethernet addresses, its port and its ring;
  /// false by default.
  ///
  /// A module in the sender's process then sees only one of several consecutive packets with the
  /// same addresses, which are typical of a flow. Its verdict holds for all of them.
  static var decidesByAddresses: Bool { get }

  /// Makes a module for one switch, and may allocate and block.
  ///
  /// - Parameter configuration: The user's text; empty when there is none.
  /// - Throws: ``NetmapError`` for an invalid configuration. The switch then goes on as before.
  init(configuration: String) throws(NetmapError)

  /// Decides on packets of one port; ``SwitchBatch/route(_:)`` goes through them.
  ///
  /// The switch drops packets without a verdict, packets for a port that does not exist, and
  /// packets for the port that sends them.
  func lookup(_ batch: borrowing SwitchBatch)

  /// Takes another configuration, while packets flow.
  ///
  /// - Throws: ``NetmapError``; the former configuration must then still be in force. After
  ///   `EOPNOTSUPP`, which the default implementation throws, the switch makes a new module
  ///   instead.
  func configure(_ configuration: String) throws(NetmapError)

  /// Called when a port has left the switch; another port may get its index later.
  func portLeft(_ index: Int)

  /// The module's own statistics.
  var statistics: [SwitchModuleStatistic] { get }
}

/// A number that a module reports, with its name.
public struct SwitchModuleStatistic: Hashable, Sendable {
  /// One word of letters, digits and `_`.
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
      .unsupported, "configure", Self.name, reason: "the module accepts no new configuration")
  }

  public static var decidesByAddresses: Bool { false }

  public func portLeft(_ index: Int) {}

  public var statistics: [SwitchModuleStatistic] { [] }
}
