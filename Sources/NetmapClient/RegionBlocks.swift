internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// The count of blocks of region numbers that the daemons at an address have taken, in a file beside their socket.
///
/// The file outlives the daemons, so a daemon does not give a region the number of a region that a process of a former
/// daemon may still have mapped. After 4095 blocks the count begins again.
package final class RegionBlocks: Sendable {
  private let file: OwnedFile
  private let counting = Mutex<Void>(())

  /// Opens the file, and makes it and its folder if they do not exist.
  ///
  /// - Throws: ``NetmapError`` `EPERM` when the folder or the file belongs to another user, or the error of open(2).
  package init(_ address: DaemonAddress) throws(NetmapError) {
    file = try DaemonLock.openFile("\(address.path).regions", of: address)
  }

  /// Takes the next block.
  ///
  /// - Returns: The block; nil when the count cannot be stored, because another daemon would then take the same one.
  package func take() -> UInt16? {
    counting.withLock { _ in
      let block = count
      return store((block + 1) % RegionNumbers.blockCount) ? block : nil
    }
  }

  /// Takes blocks for an engine.
  package var source: RegionNumbers.Source { { [self] in take() } }

  /// The count in the file.
  ///
  /// 0 for a new file: numbers begin at 2, as they do with netmap. Any number for a file that is not a count: then
  /// nothing is known of the numbers in use.
  private var count: UInt16 {
    var bytes = [UInt8](repeating: 0, count: 8)
    let count = unsafe pread(file.descriptor, &bytes, bytes.count, 0)
    guard count != 0 else { return 0 }
    let digits = bytes.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }
    guard let number = UInt16(String(decoding: digits, as: UTF8.self)),
      number < RegionNumbers.blockCount
    else { return .random(in: 0..<RegionNumbers.blockCount) }
    return number
  }

  private func store(_ number: UInt16) -> Bool {
    // Always of the same length, so that no longer text is left behind it.
    let digits = String(number)
    let text = Array((String(repeating: "0", count: 5 - digits.count) + digits + "\n").utf8)
    return unsafe pwrite(file.descriptor, text, text.count, 0) == text.count
  }
}
