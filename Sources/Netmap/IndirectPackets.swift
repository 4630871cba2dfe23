internal import NetmapCore

extension Port {
  /// Says from which memory of this process a port of a VALE switch may send where a slot says `NS_INDIRECT`.
  ///
  /// With an embedded engine all of it may be sent from, and nothing need be said. With netmapd every process
  /// on the switch can write to the slots of this port, and so could send what it likes from this process. So
  /// such packets are dropped, and counted as `indirect`, unless they lie within `bytes`. Whoever is on the
  /// switch can have every byte of these sent: pass what holds packets, and nothing else.
  ///
  /// - Parameter bytes: Must stay allocated until the port is closed or this is called again, which replaces
  ///   them; empty for none.
  @unsafe
  public func allowIndirect(from bytes: UnsafeRawBufferPointer) {
    unsafe attached.allowIndirect(IndirectMemory(bytes))
  }
}
