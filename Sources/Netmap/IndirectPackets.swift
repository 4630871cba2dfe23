internal import NetmapCore

extension NetmapPort {
  /// Declares the memory of this process that a port of a VALE switch may send from where a slot says
  /// `NS_INDIRECT`.
  ///
  /// On an embedded engine a port may send from all of the process's memory, without a declaration. With
  /// netmapd, every process on the switch can write to the slots of this port, and so could make it send arbitrary
  /// memory of this process. Syncs by this process therefore drop indirect packets until it has declared memory, and
  /// count them as `indirect`. Afterwards they drop packets outside the declared memory, and count them as
  /// `bad_length`. Every process on the switch can make this port send any of the declared bytes: declare memory that
  /// holds packets, and nothing else.
  ///
  /// No other thread may sync the port during the call.
  ///
  /// - Parameter bytes: The memory, which replaces memory declared before; empty for none. It must stay allocated until
  ///   the port is closed or other memory is declared.
  @unsafe
  public func allowIndirect(from bytes: UnsafeRawBufferPointer) {
    unsafe mapped.allowIndirect(IndirectMemory(bytes))
  }
}
