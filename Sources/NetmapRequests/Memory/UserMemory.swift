/// The memory of the program whose request is being served.
///
/// The addresses come from the program and may point anywhere. Another thread of the program may change the memory at
/// any time, so this layer copies each structure once, and uses only its copy.
package protocol UserMemory {
  /// Copies memory of the program.
  ///
  /// - Parameters:
  ///   - address: Where the program's bytes begin. The last byte may lie beyond the end of the address space.
  ///   - bytes: Receives as many bytes as it has room for, at least one.
  /// - Returns: False if not all of the memory can be read; `bytes` is then undefined. Never traps.
  func copyIn(from address: UInt64, into bytes: inout MutableSpan<UInt8>) -> Bool

  /// Writes into the memory of the program.
  ///
  /// - Parameters:
  ///   - bytes: What to write, at least one byte.
  ///   - address: Where to. The last byte may lie beyond the end of the address space.
  /// - Returns: False if not all of the memory can be written. A part of it may have been written then. Never traps.
  func copyOut(_ bytes: Span<UInt8>, to address: UInt64) -> Bool
}
