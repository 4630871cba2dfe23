internal import CLinux
internal import Glibc

/// How many objects the region has that all interfaces share: settings of the user, like netmap's `buf_num`, `ring_num`
/// and `if_num`.
///
/// An interface and the pipes on it take their rings and buffers from this region, and AF_XDP locks all of its memory.
package struct SharedRegionCounts: Hashable, Sendable {
  /// Packet buffers; nil for the default.
  package var buffers: Int?
  /// Ring objects; nil for the default.
  package var rings: Int?
  /// `netmap_if` objects, one for each open; nil for the default.
  package var interfaces: Int?

  package init(buffers: Int? = nil, rings: Int? = nil, interfaces: Int? = nil) {
    self.buffers = buffers
    self.rings = rings
    self.interfaces = interfaces
  }

  /// The counts that the environment names: `$NETMAP_BUFFERS`, `$NETMAP_RINGS` and `$NETMAP_INTERFACES`.
  ///
  /// Ignores the environment in a program that has more rights than the process that started it.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` for a value that is not a number in range.
  package static func fromEnvironment() throws(NetmapError) -> SharedRegionCounts {
    let counts = SharedRegionCounts(
      buffers: try number(Variable.buffers), rings: try number(Variable.rings),
      interfaces: try number(Variable.interfaces))
    _ = try RegionParameters.global(counts)
    return counts
  }

  private static func number(_ name: String) throws(NetmapError) -> Int? {
    guard let value = unsafe secure_getenv(name), unsafe value.pointee != 0 else { return nil }
    let text = unsafe String(cString: value)
    guard let number = Int(text) else {
      throw NetmapError(
        .invalidArgument, "read", "$\(name)", reason: "'\(text)' is not a number",
        remedy: "set it to a number of objects, or unset it")
    }
    return number
  }

  /// The counts with those of `other` where this value has none.
  package func or(_ other: SharedRegionCounts) -> SharedRegionCounts {
    SharedRegionCounts(
      buffers: buffers ?? other.buffers, rings: rings ?? other.rings,
      interfaces: interfaces ?? other.interfaces)
  }

  private enum Variable {
    static let buffers = "NETMAP_BUFFERS"
    static let rings = "NETMAP_RINGS"
    static let interfaces = "NETMAP_INTERFACES"
  }

  /// The counts that have a value, as variables for ``fromEnvironment()``.
  package var variables: [(name: String, value: Int)] {
    [
      (Variable.buffers, buffers), (Variable.rings, rings), (Variable.interfaces, interfaces),
    ].compactMap { name, value in value.map { (name, $0) } }
  }

  /// The counts as command line options of netmapd.
  package var options: [String] {
    [("--buffers", buffers), ("--rings", rings), ("--interfaces", interfaces)].flatMap {
      name, value in value.map { [name, "\($0)"] } ?? []
    }
  }
}
