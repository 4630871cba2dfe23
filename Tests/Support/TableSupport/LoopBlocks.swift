import CLinux
import CNetmap
import Glibc
package import NetmapCore

/// The control blocks of a port with one transmit ring and one receive ring, in memory of their own, and the application's
/// side of a sync loop.
@safe
package final class LoopBlocks {
  package static let transmit = 0
  package static let receive = 1
  private static let count = 2
  private static let entry = NM_CSB_ENTRY_SIZE

  /// The requests of the application, then the answers of the loop.
  private let memory: SharedMemory

  /// Fills the blocks with the present state of the rings.
  ///
  /// - Parameters:
  ///   - name: The name of the memory.
  ///   - port: The port, which is in CSB mode afterwards.
  /// - Throws: ``TableError`` for a port with other rings.
  package init(_ name: String, of port: MappedPort) throws {
    guard port.transmitCount == 1, port.receiveCount == 1 else {
      throw TableError("a port with other rings than one of each direction")
    }
    memory = try SharedMemory(creating: name, byteCount: 2 * Self.count * Self.entry)
    unsafe port.fill(try view)
  }

  private var view: ControlBlocks {
    get throws {
      guard
        let blocks = unsafe ControlBlocks(
          requests: memory.base, answers: memory.base + Self.count * Self.entry)
      else { throw TableError("control blocks that are not aligned") }
      return unsafe blocks
    }
  }

  /// The words of the blocks: their names, and their offsets in the memory. All have 4 bytes.
  package static var words: [(name: String, offset: Int)] {
    [(transmit, "tx"), (receive, "rx")].flatMap { ring, name in
      let (request, answer) = (ring * entry, (count + ring) * entry)
      return [
        ("\(name).head", request + NM_CSB_ATOK_HEAD_OFFSET),
        ("\(name).cur", request + NM_CSB_ATOK_CUR_OFFSET),
        ("\(name).appl_need_kick", request + NM_CSB_ATOK_APPL_NEED_KICK_OFFSET),
        ("\(name).sync_flags", request + NM_CSB_ATOK_SYNC_FLAGS_OFFSET),
        ("\(name).hwcur", answer + NM_CSB_KTOA_HWCUR_OFFSET),
        ("\(name).hwtail", answer + NM_CSB_KTOA_HWTAIL_OFFSET),
        ("\(name).kern_need_kick", answer + NM_CSB_KTOA_KERN_NEED_KICK_OFFSET),
      ]
    }
  }

  /// The `head` of a ring: where the application's next slot is.
  package func head(_ ring: Int) -> UInt32 {
    unsafe (memory.base + ring * Self.entry).load(
      fromByteOffset: NM_CSB_ATOK_HEAD_OFFSET, as: UInt32.self)
  }

  /// Moves `cur` and `head` of a ring, as an application does.
  package func move(_ ring: Int, to slot: UInt32) {
    let request = unsafe memory.base + ring * Self.entry
    unsafe request.storeBytes(of: slot, toByteOffset: NM_CSB_ATOK_CUR_OFFSET, as: UInt32.self)
    unsafe request.storeBytes(of: slot, toByteOffset: NM_CSB_ATOK_HEAD_OFFSET, as: UInt32.self)
  }

  /// The cursors that the loop shows, 16 bits each: `hwcur` and `hwtail` of the transmit ring, then of the receive ring.
  package var shown: UInt64 {
    (0..<Self.count).reduce(0) { result, ring in
      let answer = unsafe memory.base + (Self.count + ring) * Self.entry
      let words = [NM_CSB_KTOA_HWCUR_OFFSET, NM_CSB_KTOA_HWTAIL_OFFSET]
      return words.reduce(result) {
        $0 << 16 | UInt64(unsafe answer.load(fromByteOffset: $1, as: UInt32.self) & 0xffff)
      }
    }
  }

  // MARK: - The loop

  /// The settings of a loop that looks again and again, or of one that the application wakes and that wakes it.
  package static func settings(
    of port: MappedPort, isNotified: Bool
  ) throws -> SyncLoop.Settings {
    var settings = SyncLoop.Settings()
    settings.isNotified = isNotified
    guard isNotified else { return settings }
    for _ in 0..<port.transmitCount + port.receiveCount {
      let file = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
      guard file >= 0 else { throw TableError("eventfd: errno \(errno)") }
      settings.signals.append(file)
    }
    return settings
  }

  /// Begins a loop.
  ///
  /// - Parameters:
  ///   - port: The port.
  ///   - tag: The client that it is mapped as.
  ///   - settings: How the loop and the application wake each other.
  /// - Returns: The loop.
  /// - Throws: An error as `SyncLoop`.
  package func loop(
    _ port: MappedPort, _ tag: ClientTag, _ settings: SyncLoop.Settings
  ) throws -> SyncLoop { unsafe try SyncLoop(port, tag, view, settings) }
}

extension SyncLoop {
  /// Looks at all rings once, and ends the loop.
  ///
  /// - Parameter sleeper: How the loop announces that it is going to sleep; nil for a loop that looks again and again.
  package func lookOnce(_ sleeper: Announcement?) {
    _ = turn(sleeper)
    if let sleeper { port.disarm([.transmit, .receive], as: sleeper) }
    end()
  }
}
