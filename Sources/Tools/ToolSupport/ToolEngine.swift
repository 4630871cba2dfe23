package import Netmap

/// Selects the engine on which a tool opens its port.
package enum ToolEngine {
  /// The host's engine by default, so that a port meets the ports of other processes.
  ///
  /// - Parameter embedded: Whether to use an engine that belongs to this process alone.
  /// - Returns: The engine. The host's engine connects when a port is opened.
  /// - Throws: ``NetmapError`` when memory or descriptors run out.
  package static func choose(embedded: Bool) throws(NetmapError) -> any PortEngine {
    embedded ? try EmbeddedEngine.shared() : HostEngine.shared
  }
}
