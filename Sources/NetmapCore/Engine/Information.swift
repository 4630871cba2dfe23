extension Engine {
  /// Ring counts and memory of a port: `NETMAP_REQ_PORT_INFO_GET`.
  ///
  /// The engine looks the port up as if it opened it: it creates a pipe from the hints, and removes
  /// it again before it answers.
  ///
  /// - Parameters:
  ///   - request: The port, as a request to open it names it. Nil asks about memory only.
  ///   - memoryID: The region to ask about when there is no request; 0 for the global one.
  /// - Returns: The memory and the ring counts that the request would get.
  /// - Throws: ``NetmapError`` as a request to open the port would.
  package func portInfo(
    _ request: RegisterRequest?, memoryID: UInt16 = 0
  ) throws(NetmapError) -> PortInfo {
    try exclusively { (state) throws(NetmapError) in
      guard let request else {
        let region = try state.region(memoryID == 0 ? 1 : memoryID, for: "memory")
        return PortInfo(
          memorySize: region.layout.shownByteCount, memoryID: region.id, geometry: nil)
      }
      let port = try state.findPort(request)
      defer { state.dropIfUnused(port) }
      return PortInfo(
        memorySize: port.region.layout.shownByteCount, memoryID: port.region.id,
        geometry: port.geometry)
    }
  }

  /// The pools of a port's region: `NETMAP_REQ_POOLS_INFO_GET`.
  package func poolsInfo(_ request: RegisterRequest) throws(NetmapError) -> PoolsInfo {
    try exclusively { (state) throws(NetmapError) in
      let port = try state.findPort(request)
      defer { state.dropIfUnused(port) }
      let layout = port.region.layout
      return PoolsInfo(
        memorySize: port.region.layout.shownByteCount, memoryID: port.region.id,
        interfaces: layout.interfaces, rings: layout.rings,
        buffers: .init(
          offset: layout.bufferBase, size: layout.buffers.size, count: layout.buffers.count))
    }
  }
}
