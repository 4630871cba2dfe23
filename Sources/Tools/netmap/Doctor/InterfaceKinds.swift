internal import Glibc
internal import Netmap
internal import NetmapCore
internal import NetworkTestbed
internal import ToolSupport

/// Which backend drives each kind of interface on this machine: what opens of new interfaces in a network namespace of
/// their own got.
struct InterfaceKinds {
  struct Row {
    let kind: String
    /// As in messages: `xdp copy`, `packet`; nil if every backend was refused.
    let backend: String?
    let backendWithHostRings: String?
    /// Why better backends were refused, or every one.
    let refusals: [String]
    /// Why an open with host rings was refused; nil if it was not.
    let hostRingRefusal: String?
  }

  private(set) var rows: [Row] = []
  /// The kinds for which this kernel has no driver.
  private(set) var missing: [String] = []

  /// Makes, opens and removes the interfaces.
  ///
  /// The calling thread is in another network namespace meanwhile. Takes about a second.
  ///
  /// - Throws: ``NetmapError`` `EPERM` without the right to make namespaces and interfaces.
  init() throws(NetmapError) {
    let namespace = try PrivateNamespace.enter()
    defer { namespace.leave() }
    let veth = try Link(kind: "veth", named: "veth")
    try veth.setUp()
    try add("veth", veth)
    try addTap("tap", hasHeaders: false)
    try addTap("tap with virtio-net headers", hasHeaders: true)
    for (kind, parent) in [
      ("bridge", nil), ("macvlan", veth), ("ifb", nil), ("dummy", nil), ("bond", nil),
    ] as [(String, Link?)] {
      let link: Link
      do throws(NetmapError) {
        link = try Link(kind: kind, named: "\(kind)_0", on: parent)
      } catch {
        guard error.code == .unsupported else { throw error }
        missing.append(kind)
        continue
      }
      try link.setUp()
      try add(kind, link)
    }
    let loopback = try Link(named: "lo")
    try loopback.setUp()
    try add("loopback", loopback)
  }

  private mutating func addTap(_ kind: String, hasHeaders: Bool) throws(NetmapError) {
    let tap: Tap
    do throws(NetmapError) {
      tap = try Tap("tap", hasHeaders: hasHeaders)
    } catch {
      guard error.code.rawValue == ENOENT else { throw error }
      missing.append(kind)
      return
    }
    let link = try Link(named: "tap")
    try link.setUp()
    try add(kind, link)
    withExtendedLifetime(tap) {}
  }

  private mutating func add(_ kind: String, _ link: Link) throws(NetmapError) {
    let engine = try EmbeddedEngine()
    let (backend, refusals, refusal) = Self.open("netmap:\(link.name)", engine)
    let (withHostRings, _, hostRingRefusal) = Self.open("netmap:\(link.name)*", engine)
    rows.append(
      Row(
        kind: kind, backend: backend, backendWithHostRings: withHostRings,
        refusals: refusal.map { [$0] } ?? refusals, hostRingRefusal: hostRingRefusal))
  }

  /// A table in Markdown, and a line about missing kinds.
  var text: String {
    var lines = [
      "| interface | backend | why not a better one | with host rings |", "|---|---|---|---|",
    ]
    for row in rows {
      let cells = [
        row.kind, row.backend ?? "none", Self.merged(row.refusals),
        row.backendWithHostRings ?? "no: \(row.hostRingRefusal ?? "")",
      ]
      lines.append("| \(cells.joined(separator: " | ")) |")
    }
    if !missing.isEmpty {
      lines.append("")
      lines.append("This kernel has no driver for: \(missing.joined(separator: ", ")).")
    }
    return lines.joined(separator: "\n")
  }

  /// `BACKEND: REASON` for several backends; those with the same reason stand together.
  private static func merged(_ refusals: [String]) -> String {
    var parts: [(backends: [Substring], reason: Substring)] = []
    for refusal in refusals {
      let backend = refusal.prefix { $0 != ":" }
      let reason = refusal.dropFirst(backend.count)
      if parts.last?.reason == reason {
        parts[parts.count - 1].backends.append(backend)
      } else {
        parts.append(([backend], reason))
      }
    }
    return parts.map { "\($0.backends.joined(separator: ", "))\($0.reason)" }
      .joined(separator: "; ")
  }

  /// One JSON object per kind and line.
  var json: String {
    let lines = rows.map { row in
      var line = JSONLine()
      line.add("kind", row.kind)
      line.add("backend", row.backend ?? "")
      line.add("refusals", row.refusals)
      line.add("backend_with_host_rings", row.backendWithHostRings ?? "")
      line.add("host_ring_refusal", row.hostRingRefusal ?? "")
      return line.text
    }
    return lines.joined(separator: "\n")
  }

  /// Opens and closes a port.
  ///
  /// - Returns: Its backend, why better ones were refused, and why the open failed.
  private static func open(
    _ name: String, _ engine: EmbeddedEngine
  ) -> (backend: String?, refusals: [String], refusal: String?) {
    do throws(NetmapError) {
      let port = try NetmapPort(name, engine: engine)
      defer { port.close() }
      let backend = port.backend.map { $0.mode.isEmpty ? $0.name : "\($0.name) \($0.mode)" }
      return (backend, port.backend?.refusals ?? [], nil)
    } catch {
      return (nil, [], error.reason)
    }
  }
}
