package import Netmap

/// Where a tool opens a port.
package enum ToolEngine {
  /// The host's engine, so that a port meets those of other processes.
  ///
  /// - Parameter embedded: Whether the user wants an engine of this process alone.
  /// - Returns: The engine; the host's connects when a port is opened.
  /// - Throws: ``NetmapError`` when there is no memory or descriptor left.
  package static func choose(embedded: Bool) throws(NetmapError) -> any PortEngine {
    embedded ? try EmbeddedEngine.shared() : HostEngine.shared
  }
}
