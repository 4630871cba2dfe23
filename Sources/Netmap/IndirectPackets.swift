internal import NetmapCore

extension NetmapPort {
  /// Declares the memory of this process that a port of a VALE switch may send from where a slot says
  /// `NS_INDIRECT`.
  ///
  /// On an embedded engine a port may send from all of the process's memory, without a declaration. With
  /// netmapd, every process on the switch can write to the slots of this port, and could so send arbitrary
  /// memory of this process. Syncs by this process therefore drop an indirect packet and count it as `indirect`
  /// until the process declares memory, and as `bad_length` if it lies outside of the declared memory. Every
  /// process on the switch can make this port send any of these bytes: declare memory that holds packets, and
  /// nothing else.
  ///
  /// No other thread may sync the port during the call.
  ///
  /// - Parameter bytes: Must stay allocated until the port is closed or the next call, which replaces them;
  ///   empty for none.
  @unsafe
  public func allowIndirect(from bytes: UnsafeRawBufferPointer) {
    unsafe mapped.allowIndirect(IndirectMemory(bytes))
  }
}
