internal import CLinux
internal import Glibc

/// Doorbells that cross a process boundary: pairs of connected Unix stream sockets.
///
/// A word sent on one end rings the process that watches the other end. The word names the ring that has made progress
/// (``RingName``), so that the sleeper need not look at all of its rings.
///
/// Ringing never blocks on another process. MSG_DONTWAIT applies whatever flags a peer sets on an open file that
/// it has a copy of, and the kernel takes no lock for the send that a peer can hold. Receiving takes such a lock,
/// so no process receives on an end of which a peer has a copy.
package enum BellSocket {
  /// Creates a pair.
  ///
  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE`.
  package static func pair() throws(NetmapError) -> (CInt, CInt) {
    var files: [CInt] = [-1, -1]
    let kind =
      CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    guard unsafe socketpair(AF_UNIX, kind, 0, &files) == 0 else {
      throw systemError(
        "socketpair", "doorbell", remedy: "raise the limit of open files (ulimit -n)")
    }
    return (files[0], files[1])
  }

  /// Makes the kernel reject sends to this end of a pair from now on, so that its queue is empty when it is
  /// closed.
  package static func refuseRings(on file: CInt) { shutdown(file, CInt(SHUT_RD)) }

  /// Rings the process that watches the other end.
  ///
  /// - Parameters:
  ///   - file: The end through which to ring.
  ///   - name: The ring that has made progress.
  ///
  /// A socket full of pending rings rejects another ring; every watcher has already been notified of the pending
  /// ones (see ``DoorbellTable/makeRoom(leaving:)``). If the other end is closed, there is no process to wake.
  package static func ring(_ file: CInt, _ name: RingName = .unknown) {
    _ = clinux_send_word(file, name.rawValue)
  }

  /// Bytes of a ring.
  private static let size = MemoryLayout<UInt64>.size
  /// The bytes of a number of rings that every socket has room for, however small a peer makes its buffer (SO_SNDBUF
  /// is at least 4608, and one ring takes at most 1280).
  private static let fewest = 3 * size
  /// From these bytes on, the socket may have been too full for further rings: its buffer has room for at least 166.
  private static let many = 128 * size
  /// The most bytes taken per call and the most calls: together more than a well-behaved process can have sent.
  private static let chunk = 4096
  private static let rounds = 64

  /// Takes rings out of a socket on which only this thread receives, so that other processes have room to ring.
  ///
  /// - Parameters:
  ///   - file: The watched end.
  ///   - left: The least number of rings to leave, 0 or 1.
  /// - Returns: False when there still is no room, because a peer sends more than rings.
  static func makeRoom(in file: CInt, leaving left: Int) -> Bool {
    unsafe withUnsafeTemporaryAllocation(byteCount: chunk, alignment: 8) { buffer in
      for _ in 0..<rounds {
        var hasFiles: CInt = 0
        let count = unsafe clinux_peek(file, buffer.baseAddress, buffer.count, &hasFiles)
        // Taking bytes with descriptors closes those descriptors, which blocks for as long as their owner likes.
        guard hasFiles == 0 else { return false }
        guard count > (left == 0 ? 0 : fewest) else { return true }
        let end = count - left * size
        guard end > 0 else { return true }
        guard unsafe clinux_take(file, buffer.baseAddress, end) > 0 else { return false }
        if count < chunk { return true }
      }
      return false
    }
  }

  /// Reports the rings in a socket on which only this thread receives, and makes room like
  /// ``makeRoom(in:leaving:)``, leaving at least one ring.
  ///
  /// - Parameters:
  ///   - file: The watched end.
  ///   - known: The bytes at the beginning of the queue that an earlier call has reported; updated.
  ///   - body: Gets names of rings, which no process has checked. Nil stands for all rings: the queue does not consist
  ///     of names, or there may have been no room for some.
  /// - Returns: False when there still is no room, because a peer sends more than rings.
  static func takeNames(
    in file: CInt, known: inout Int, _ body: (UnsafeBufferPointer<UInt64>?) -> Void
  ) -> Bool {
    unsafe withUnsafeTemporaryAllocation(of: UInt64.self, capacity: chunk / size) { buffer in
      for _ in 0..<rounds {
        var hasFiles: CInt = 0
        let count = unsafe clinux_peek(file, buffer.baseAddress, chunk, &hasFiles)
        guard count > 0 || hasFiles != 0 else { return true }
        if hasFiles != 0 || count % size != 0 || known % size != 0 || count >= many {
          body(nil)
        } else if count > known {
          unsafe body(UnsafeBufferPointer(rebasing: buffer[(known / size)..<(count / size)]))
        }
        known = max(count, 0)
        guard hasFiles == 0 else { return false }
        guard count > fewest else { return true }
        guard unsafe clinux_take(file, buffer.baseAddress, count - size) > 0 else { return false }
        known = size
        if count < chunk { return true }
      }
      return false
    }
  }
}

/// The end of a doorbell through which this process rings another process.
///
/// If that process is untrusted, its rings of the worker arrive at this end too.
///
/// The descriptor stays open for the lifetime of the object.
@safe
package final class PeerBell: @unchecked Sendable {
  /// The process's doorbell number.
  package let number: UInt32
  package let file: CInt
  private let owner: any AnyObject & Sendable

  /// Limits needless wake-ups by the process.
  ///
  /// Only the thread that watches the doorbell uses it.
  var throttle = RingThrottle()

  /// - Parameters:
  ///   - number: The process's doorbell number.
  ///   - file: The end through which to ring it.
  ///   - owner: An object that closes `file` when its last reference goes away.
  package init(_ number: UInt32, _ file: CInt, owner: any AnyObject & Sendable) {
    self.number = number
    self.file = file
    self.owner = owner
  }

  /// Wakes every sleeper of the process.
  package func ring() { BellSocket.ring(file) }
}

/// Counts consecutive wake-ups after which there was nothing to do.
///
/// From the eighth on, the watching thread ignores the doorbell for a pause, which doubles each time, from 1 to
/// 16 milliseconds.
struct RingThrottle {
  private static let patience = 8
  private static let shortestPause: UInt64 = 1_000_000
  private static let longestPause: UInt64 = 16_000_000

  private var count = 0
  private var pause: UInt64 = 0
  /// The end of the pause, in monotonic nanoseconds.
  private(set) var until: UInt64 = 0

  /// Whether there was a needless wake-up since the last useful one.
  var hasDoubts: Bool { count > 0 }

  /// Records a needless wake-up.
  ///
  /// - Returns: Whether to ignore the doorbell until ``until``.
  mutating func noteNothing(at now: UInt64) -> Bool {
    count += 1
    guard count >= Self.patience else { return false }
    pause = min(max(pause * 2, Self.shortestPause), Self.longestPause)
    until = now &+ pause
    return true
  }

  /// Records a useful wake-up.
  mutating func forget() { self = RingThrottle() }
}
