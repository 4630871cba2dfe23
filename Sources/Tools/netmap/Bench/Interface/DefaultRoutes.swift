/// The interfaces that have a default route in the main routing table, from `/proc/net`.
enum DefaultRoutes {
  /// Whether an interface has a default route in the calling thread's network namespace.
  static func include(_ interface: String) -> Bool {
    let folder = "/proc/thread-self/net"
    return interfaces(
      ipv4: fileText("\(folder)/route") ?? "", ipv6: fileText("\(folder)/ipv6_route") ?? ""
    ).contains(interface)
  }

  /// - Parameters:
  ///   - ipv4: The contents of `/proc/net/route`: a header, and lines of interface, destination, gateway, flags,
  ///     three counters, and mask.
  ///   - ipv6: The contents of `/proc/net/ipv6_route`: lines that begin with destination and prefix length and end
  ///     with the interface.
  /// - Returns: The names of the interfaces.
  static func interfaces(ipv4: String, ipv6: String) -> Set<String> {
    var names: Set<String> = []
    for line in ipv4.split(separator: "\n").dropFirst() {
      let fields = line.split(whereSeparator: \.isWhitespace)
      guard fields.count > 7, isZero(fields[1]), isZero(fields[7]) else { continue }
      names.insert(String(fields[0]))
    }
    for line in ipv6.split(separator: "\n") {
      let fields = line.split(whereSeparator: \.isWhitespace)
      guard fields.count > 9, isZero(fields[0]), isZero(fields[1]), let name = fields.last else {
        continue
      }
      // The kernel has unreachable default routes on the loopback interface.
      if name != "lo" { names.insert(String(name)) }
    }
    return names
  }

  private static func isZero(_ digits: Substring) -> Bool { digits.allSatisfy { $0 == "0" } }
}
