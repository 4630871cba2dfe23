internal import NetmapClient
internal import NetmapCore
internal import Synchronization

/// A dump between the engine and the file: the control thread makes it, lets the server look up who owns what in it, and
/// encodes it.
///
/// The control thread alone touches the copies of the ports' memory, and releases them.
final class CollectedDump: Sendable {
  private let dump: Mutex<EngineDump?>

  init(_ dump: EngineDump) {
    self.dump = Mutex(dump)
  }

  /// Writes the dump into memory of its own, and releases it. Runs once.
  ///
  /// - Returns: The memory; see ``DumpedBytes``.
  /// - Throws: ``NetmapError`` when there is no descriptor or memory left.
  func encode(with owners: [EngineDump.Owner]) throws(NetmapError) -> OwnedFile {
    guard var dump = dump.withLock({ $0.take() }) else {
      throw NetmapError(.invalidArgument, "encode", "dump", reason: "it has been encoded before")
    }
    dump.owners = owners
    let bytes = dump.bytes
    let memory = try SharedMemory(creating: "netmap-dump", byteCount: 8 + bytes.count)
    memory.write(DumpedBytes.header(bytes.count), at: 0)
    memory.write(bytes, at: 8)
    // The server sends the descriptor, and has nothing to unmap.
    return OwnedFile(try OwnedFile.duplicate(memory.descriptor))
  }
}
