extension Engine {
  /// Ring counts and memory of a port: `NETMAP_REQ_PORT_INFO_GET`.
  ///
  /// The port is looked up as if it were opened: a pipe is made from the hints and is gone again
  /// when the answer has been given.
  ///
  /// - Parameters:
  ///   - request: Name, memory number and hints count. Nil asks about memory only.
  ///   - memoryID: The region to ask about when there is no request; 0 for the global one.
  /// - Returns: What the request would get.
  /// - Throws: ``NetmapError`` as a register request would.
  package func portInfo(
    _ request: RegisterRequest?, memoryID: UInt16 = 0
  ) throws(NetmapError) -> PortInfo {
    try exclusively { (state) throws(NetmapError) in
      guard let request else {
        let region = try state.region(memoryID == 0 ? 1 : memoryID, for: "memory")
        return PortInfo(
          memorySize: region.memory.byteCount, memoryID: region.id, geometry: nil)
      }
      let port = try state.findPort(request)
      defer { state.dropIfUnused(port) }
      return PortInfo(
        memorySize: port.region.memory.byteCount, memoryID: port.region.id,
        geometry: port.geometry)
    }
  }

  /// The pools of a port's region: `NETMAP_REQ_POOLS_INFO_GET`.
  package func poolsInfo(_ request: RegisterRequest) throws(NetmapError) -> PoolsInfo {
    try exclusively { (state) throws(NetmapError) in
      let port = try state.findPort(request)
      defer { state.dropIfUnused(port) }
      return PoolsInfo(
        memorySize: port.region.memory.byteCount, memoryID: port.region.id,
        layout: port.region.layout)
    }
  }
}
