public import NetmapCore

extension Port {
  /// Bytes of the virtio-net header before each frame of the port, sent or received: 0, 10 or 12
  /// (`PORT_HDR_GET`). 0 for ports that are on no switch.
  ///
  /// - Returns: The length in force now; whoever may manage the switch can change it.
  /// - Throws: ``NetmapError`` `ENXIO` when the port has gone.
  public func virtioNetHeader() throws(NetmapError) -> Int {
    try provider.answer(.header(try PortName(name))).headerLength
  }

  /// Has every frame of the port begin with a virtio-net header (`PORT_HDR_SET`), in all processes that have
  /// it open; see ``Switches/setVirtioNetHeader(_:of:)``.
  ///
  /// - Parameter length: Bytes: 0 for none, 10, or 12.
  /// - Throws: ``NetmapError`` `EINVAL` for other lengths, `ENXIO` for ports that are on no switch.
  public func setVirtioNetHeader(_ length: Int) throws(NetmapError) {
    _ = try provider.answer(.setHeader(try PortName(name), length: length))
  }
}
