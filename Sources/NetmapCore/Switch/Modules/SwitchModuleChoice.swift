/// Which module a switch is to have.
public enum SwitchModuleChoice: Hashable, Sendable {
  /// None: the switch's own learning bridge, which every switch begins with.
  case learning
  /// Every packet goes to every other port.
  case hub
  /// Packets from other ports go to one of these, the same for both directions of a flow.
  ///
  /// Ports are named without their switch. One that is not there gets nothing until it comes.
  case balancer(outputs: [String])
  /// A stateless filter before the learning bridge; ``parse(_:_:fallback:)`` says how rules look.
  case filter(rules: String)
  /// A module from a shared object.
  case loaded(path: String, configuration: String = "", fallback: Fallback = .learning)

  /// What a switch does when the process that runs its module has ended.
  public enum Fallback: String, Hashable, Sendable, CaseIterable {
    case learning
    case stop
  }

  /// Longest configuration, and longest path, bytes.
  private static let configurationLengthMax = 32_000
  private static let pathLengthMax = 4095

  /// Refuses what cannot be passed on.
  ///
  /// - Throws: ``NetmapError`` `E2BIG` for a text that is too long, `EINVAL` for one with a NUL.
  package func check() throws(NetmapError) {
    var texts = [(configuration, Self.configurationLengthMax)]
    if case .loaded(let path, _, _) = self { texts.append((path, Self.pathLengthMax)) }
    for (text, limit) in texts {
      guard text.utf8.count <= limit else {
        throw NetmapError(
          .tooLarge, "configure", name, reason: "the text has more than \(limit) bytes",
          remedy: "have the module read a file")
      }
      guard !text.utf8.contains(0) else {
        throw NetmapError(.invalidArgument, "configure", name, reason: "the text has a NUL in it")
      }
    }
  }

  /// A choice as command lines have it.
  ///
  /// - Parameters:
  ///   - name: `learning`, `hub`, `balancer`, `filter`, or, with a slash in it, the path of a shared object.
  ///   - configuration: Of a balancer the outputs, separated by commas. Of a filter its rules, separated
  ///     by `;` or line ends: `allow|deny [arp|ip|ip6|icmp|icmp6|tcp|udp|sctp|proto N] [from
  ///     any|ADDRESS[/BITS] [port N[-M]]] [to any|ADDRESS[/BITS] [port N[-M]]]`, and `default allow|deny`.
  ///   - fallback: Of a shared object.
  /// - Returns: The choice; rules of a filter have not been looked at yet.
  /// - Throws: ``NetmapError`` `EINVAL` for another name, or a configuration that is not one.
  public static func parse(
    _ name: String, _ configuration: String = "", fallback: Fallback = .learning
  ) throws(NetmapError) -> SwitchModuleChoice {
    func plain(_ choice: SwitchModuleChoice) throws(NetmapError) -> SwitchModuleChoice {
      guard configuration.isEmpty else {
        throw NetmapError(
          .invalidArgument, "configure", name, reason: "it has no configuration",
          remedy: "leave it out")
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
          remedy: "use learning, hub, balancer or filter, or a path with a slash in it")
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

  /// What the module was told; see ``parse(_:_:fallback:)``.
  public var configuration: String {
    switch self {
    case .learning, .hub: ""
    case .balancer(let outputs): outputs.joined(separator: ",")
    case .filter(let rules): rules
    case .loaded(_, let configuration, _): configuration
    }
  }
}

/// A switch's module, and what is known of it.
public struct SwitchModuleReport: Hashable, Sendable {
  /// What was asked for last.
  public var choice = SwitchModuleChoice.learning
  /// What works now: the name of the choice, of a loaded module its own, or `learning` or `stopped` when
  /// the process of a loaded one has ended.
  public var active = "learning"
  /// The process that runs a loaded module; 0 where it is none of its own.
  public var process: Int32 = 0
  /// Numbers, in the order in which they are shown.
  ///
  /// `changes`: how often the module or its configuration was changed. `failures`: how often the process
  /// of a module ended by itself or was ended because it did not go on. `lost`: packets that were on
  /// their way through it then. `refused`: packets for which its ring had no room. `packets` and `dropped`: since the module was chosen, not counted by
  /// `learning`. Others are the module's own.
  public var statistics: [SwitchModuleStatistic] = []

  public init() {}

  /// A number by its name.
  public subscript(name: String) -> UInt64? { statistics.first { $0.name == name }?.value }
}
