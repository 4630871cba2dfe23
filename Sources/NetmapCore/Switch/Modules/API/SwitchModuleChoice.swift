/// The module that a switch is to use.
public enum SwitchModuleChoice: Hashable, Sendable {
  /// No module: the switch's own learning bridge, with which every switch begins.
  case learning
  /// A hub: every packet goes to every other port.
  case hub
  /// A load balancer: packets from other ports go to one of these outputs, the same one for both
  /// directions of a flow.
  ///
  /// Outputs are named without their switch. An output that is not on the switch gets packets when
  /// it joins.
  case balancer(outputs: [String])
  /// A stateless filter before the learning bridge; see ``parse(_:_:fallback:)`` for the rules.
  case filter(rules: String)
  /// A module from a shared object.
  case loaded(path: String, configuration: String = "", fallback: Fallback = .learning)

  /// What a switch does when the process that runs its module has ended.
  public enum Fallback: String, Hashable, Sendable, CaseIterable {
    case learning
    case stop
  }

  /// The longest configuration and the longest path, bytes.
  private static let configurationLengthMax = 32_000
  private static let pathLengthMax = 4095

  /// Refuses a text that cannot be passed on.
  ///
  /// - Throws: ``NetmapError`` `E2BIG` for a text that is too long, `EINVAL` for a text with a NUL.
  package func check() throws(NetmapError) {
    var texts = [(configuration, Self.configurationLengthMax)]
    if case .loaded(let path, _, _) = self { texts.append((path, Self.pathLengthMax)) }
    for (text, limit) in texts {
      guard text.utf8.count <= limit else {
        throw NetmapError(
          .tooLarge, "configure", name, reason: "the text has more than \(limit) bytes",
          remedy: "let the module read a file")
      }
      guard !text.utf8.contains(0) else {
        throw NetmapError(
          .invalidArgument, "configure", name, reason: "the text contains a NUL byte")
      }
    }
  }

  /// Parses a choice as given on a command line.
  ///
  /// - Parameters:
  ///   - name: `learning`, `hub`, `balancer`, `filter`, or the path of a shared object, which has a
  ///     slash in it.
  ///   - configuration: For a balancer, the outputs, separated by commas. For a filter, its rules,
  ///     separated by `;` or line ends: `allow|deny [arp|ip|ip6|icmp|icmp6|tcp|udp|sctp|proto N]
  ///     [from any|ADDRESS[/BITS] [port N[-M]]] [to any|ADDRESS[/BITS] [port N[-M]]]`, and `default
  ///     allow|deny`.
  ///   - fallback: The fallback for a shared object.
  /// - Returns: The choice. The rules of a filter have not been checked yet.
  /// - Throws: ``NetmapError`` `EINVAL` for an unknown name, or for a configuration of a module
  ///   that takes none.
  public static func parse(
    _ name: String, _ configuration: String = "", fallback: Fallback = .learning
  ) throws(NetmapError) -> SwitchModuleChoice {
    func plain(_ choice: SwitchModuleChoice) throws(NetmapError) -> SwitchModuleChoice {
      guard configuration.isEmpty else {
        throw NetmapError(
          .invalidArgument, "configure", name, reason: "the module takes no configuration",
          remedy: "leave the configuration out")
      }
      return choice
    }
    switch name {
    case "learning": return try plain(.learning)
    case "hub": return try plain(.hub)
    case "balancer":
      return .balancer(
        outputs: configuration.split(separator: ",").map {
          String($0.drop { $0.isWhitespace }.prefix { !$0.isWhitespace })
        })
    case "filter": return .filter(rules: configuration)
    default:
      guard name.contains("/") else {
        throw NetmapError(
          .invalidArgument, "load", name, reason: "there is no module of that name",
          remedy: "use learning, hub, balancer or filter, or a path with a slash")
      }
      return .loaded(path: name, configuration: configuration, fallback: fallback)
    }
  }

  /// `learning`, `hub`, `balancer`, `filter` or a path.
  public var name: String {
    switch self {
    case .learning: "learning"
    case .hub: "hub"
    case .balancer: "balancer"
    case .filter: "filter"
    case .loaded(let path, _, _): path
    }
  }

  /// The module's configuration text; see ``parse(_:_:fallback:)``.
  public var configuration: String {
    switch self {
    case .learning, .hub: ""
    case .balancer(let outputs): outputs.joined(separator: ",")
    case .filter(let rules): rules
    case .loaded(_, let configuration, _): configuration
    }
  }
}

/// A switch's module and its statistics.
public struct SwitchModuleReport: Hashable, Sendable {
  /// The module that was requested last.
  public var choice = SwitchModuleChoice.learning
  /// The module in use: a built-in module by the name of its choice, a loaded module by its own
  /// name.
  ///
  /// `learning` or `stopped` after the process of a loaded module has ended.
  public var active = "learning"
  /// The process that runs a loaded module; 0 when the module has no process of its own.
  public var process: Int32 = 0
  /// Statistics, in display order.
  ///
  /// - `changes`: how often the module or its configuration was changed.
  /// - `failures`: how often the process of a module ended by itself, or was ended because it made
  ///   no progress.
  /// - `lost`: packets that were on their way through the process when it ended.
  /// - `refused`: packets for which the ring of the process had no room.
  /// - `packets` and `dropped`: packets since the module was chosen; `learning` does not count
  ///   them.
  ///
  /// All others are the module's own.
  public var statistics: [SwitchModuleStatistic] = []

  public init() {}

  /// The value of a statistic, by its name.
  public subscript(name: String) -> UInt64? { statistics.first { $0.name == name }?.value }
}
