/// What a user sees of the networking of the calling thread's namespace: interfaces, addresses, XDP programs, queueing
/// disciplines, filters, tcx programs, and the features of one interface.
///
/// Two pictures are equal if nothing has changed between them. Takes some 10 milliseconds, since it runs ip(8), tc(8)
/// and ethtool(8).
public struct NetworkPicture: Equatable, CustomStringConvertible {
  private var parts: [String] = []

  /// - Parameter interface: The interface whose programs, filters and features to show; nil for none.
  /// - Throws: ``ProgramError`` when one of the programs fails.
  public init(_ interface: String?) throws {
    try show("ip", "-d", "link", "show")
    try show("ip", "-4", "address", "show")
    // The kernel makes the others itself, seconds after an interface comes up.
    try show("ip", "-6", "address", "show", "scope", "global")
    try show("ip", "-4", "route", "show")
    try show("tc", "qdisc", "show")
    guard let interface else { return }
    for hook in ["ingress", "egress"] { try show("tc", "filter", "show", "dev", interface, hook) }
    try show("ethtool", "-k", interface)
    parts.append(InterfaceState(interface).description)
  }

  private mutating func show(_ arguments: String...) throws {
    // tc(8) fails where the interface has no discipline for filters.
    let result = try TestProgram(arguments).finish()
    guard result.status == 0 || arguments.starts(with: ["tc", "filter"]) else {
      throw ProgramError(text: "\(arguments.joined(separator: " ")): \(result.output)")
    }
    parts.append(result.output)
  }

  /// The lines that are in one of two pictures only.
  public func difference(to other: NetworkPicture) -> String {
    let (own, others) = (lines, other.lines)
    return
      (own.filter { !others.contains($0) }.map { "- \($0)" }
      + others.filter { !own.contains($0) }.map { "+ \($0)" }).joined(separator: "\n")
  }

  private var lines: [Substring] { parts.flatMap { $0.split(separator: "\n") } }

  public var description: String { parts.joined(separator: "\n") }
}
