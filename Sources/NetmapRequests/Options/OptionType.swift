/// The type of an option that netmap knows: `nro_reqtype`, `NETMAP_REQ_OPT_*` in netmap(4).
enum OptionType: UInt32, Hashable, Sendable, CaseIterable {
  case externalMemory = 1
  case eventDescriptors = 2
  case controlBlocks = 3
  case loopMode = 4
  case offsets = 5

  /// How many bytes follow the header of an option.
  ///
  /// - Parameter size: `nro_size`, which matters only for options without a fixed size. A size below that of the
  ///   header stands for no bytes.
  /// - Returns: The number of bytes, which may be larger than any request.
  func bodyByteCount(size: UInt64) -> UInt64 {
    let header = UInt64(RequestLayout.Option.byteCount)
    return switch self {
    case .externalMemory: UInt64(RequestLayout.ExternalMemory.byteCount)
    case .eventDescriptors: size >= header ? size - header : 0
    case .controlBlocks: UInt64(RequestLayout.ControlBlocks.byteCount)
    case .loopMode: UInt64(RequestLayout.LoopMode.byteCount)
    case .offsets: UInt64(RequestLayout.Offsets.byteCount)
    }
  }
}
