internal import CNetmap

/// A `netmap_if`: the description of a binding's rings for the application.
///
/// Each binding has one.
///
/// `ring_ofs` lists hardware transmit rings, host transmit rings, hardware receive rings, host receive rings,
/// each as a byte distance from the `netmap_if`; 0 for a ring that the binding does not hold. A port without host
/// rings shows one host ring of each direction, at distance 0, because the macros of netmap(4) rely on it.
package struct InterfaceObject {
  let memory: SharedMemory
  package let offset: Int

  package init(memory: SharedMemory, offset: Int) {
    self.memory = memory
    self.offset = offset
  }

  static func byteCount(ringCount: Int) -> Int {
    NETMAP_IF_RING_OFS_OFFSET + 8 * ringCount
  }

  /// The number of `ring_ofs` entries of a port with this geometry.
  static func ringCount(_ port: PortGeometry) -> Int {
    port.transmitRings + max(port.hostTransmitRings, 1) + port.receiveRings
      + max(port.hostReceiveRings, 1)
  }

  /// Fills the object, whose memory must be zero.
  ///
  /// - Parameters:
  ///   - name: The port's name; truncated to 15 bytes.
  ///   - geometry: The port's rings.
  ///   - isPrivate: Whether the region belongs to the port alone.
  ///   - ringOffset: Returns the offset in the region of ring `index` of a direction; nil if the binding does not
  ///     hold the ring.
  func write(
    name: [UInt8], geometry: PortGeometry, isPrivate: Bool,
    ringOffset: (Direction, Int) -> Int?
  ) {
    // 15 bytes and a NUL, like every name in the legacy interface.
    for (index, byte) in name.prefix(EngineLimits.interfaceNameLength).enumerated() {
      memory.store(byte, at: offset + NETMAP_IF_NAME_OFFSET + index)
    }
    let hostTransmit = max(geometry.hostTransmitRings, 1)
    let hostReceive = max(geometry.hostReceiveRings, 1)
    store(isPrivate ? UInt32(NI_PRIV_MEM) : 0, NETMAP_IF_FLAGS_OFFSET)
    store(UInt32(geometry.transmitRings), NETMAP_IF_TX_RINGS_OFFSET)
    store(UInt32(geometry.receiveRings), NETMAP_IF_RX_RINGS_OFFSET)
    store(UInt32(hostTransmit), NETMAP_IF_HOST_TX_RINGS_OFFSET)
    store(UInt32(hostReceive), NETMAP_IF_HOST_RX_RINGS_OFFSET)
    let firstReceive = geometry.transmitRings + hostTransmit
    for index in 0..<geometry.rings(.transmit) {
      storeRing(index, ringOffset(.transmit, index))
    }
    for index in 0..<geometry.rings(.receive) {
      storeRing(firstReceive + index, ringOffset(.receive, index))
    }
  }

  /// The head of the binding's list of extra buffers, which the application can change.
  package var extraBuffersHead: UInt32 {
    get { memory.load(at: offset + NETMAP_IF_BUFS_HEAD_OFFSET, as: UInt32.self) }
    nonmutating set { store(newValue, NETMAP_IF_BUFS_HEAD_OFFSET) }
  }

  private func store(_ value: UInt32, _ field: Int) {
    memory.store(value, at: offset + field)
  }

  private func storeRing(_ index: Int, _ ringOffset: Int?) {
    guard let ringOffset else { return }
    memory.store(
      Int64(ringOffset - offset), at: offset + NETMAP_IF_RING_OFS_OFFSET + 8 * index)
  }
}
