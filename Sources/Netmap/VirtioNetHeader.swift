public import NetmapCore

extension NetmapPort {
  /// Bytes of the virtio-net header before each frame of the port, sent or received: 0, 10 or 12
  /// (`PORT_HDR_GET`).
  ///
  /// 0 for a port that is not on a switch.
  ///
  /// - Returns: The current length; any process that may manage the switch can change it.
  /// - Throws: ``NetmapError`` `ENXIO` when the port is gone.
  public func virtioNetHeader() throws(NetmapError) -> Int {
    try provider.answer(.header(try PortName(name))).headerLength
  }

  /// Puts a virtio-net header before every frame of the port (`PORT_HDR_SET`), in all processes that have it
  /// open; see ``Switches/setVirtioNetHeader(_:of:)``.
  ///
  /// - Parameter length: Bytes of the header: 0 for no header, 10, or 12.
  /// - Throws: ``NetmapError`` `EINVAL` for other lengths, `ENXIO` for a port that is not on a switch.
  public func setVirtioNetHeader(_ length: Int) throws(NetmapError) {
    _ = try provider.answer(.setHeader(try PortName(name), length: length))
  }
}
