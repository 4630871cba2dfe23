package import Netmap

/// Where a tool opens a port.
package enum ToolEngine {
  /// The engine for a port: the host's, so that it meets the ports of other processes.
  ///
  /// Pipes and ports of switches, that is. Network interfaces are driven by the process that opens them, for now: netmapd does
  /// not pass them on yet.
  ///
  /// - Parameters:
  ///   - specification: The port.
  ///   - embedded: Whether the user wants an engine of this process alone.
  /// - Returns: The engine; the host's connects when a port is opened.
  /// - Throws: ``NetmapError`` when there is no memory or descriptor left.
  package static func choose(
    for specification: PortSpecification, embedded: Bool
  ) throws(NetmapError) -> any PortEngine {
    let isShared = specification.name.pipe != nil || specification.name.isVale
    return isShared && !embedded ? HostEngine.shared : try EmbeddedEngine.shared()
  }
}
