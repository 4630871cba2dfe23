internal import CLinux
internal import Glibc

/// Doorbells that cross a process boundary: pairs of connected Unix stream sockets. A byte that is sent on one
/// end is a ring of whoever watches the other.
///
/// Ringing waits for nobody. MSG_DONTWAIT holds whatever flags a peer sets on an open file that it has a copy of,
/// and the kernel takes no lock for it that a peer can keep. Receiving takes one, so nobody receives on an end
/// of which a peer has a copy.
package enum BellSocket {
  /// Makes a pair.
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

  /// Nothing can be sent to this end of a pair from now on: whoever closes it finds nothing in its queue.
  package static func refuseRings(on file: CInt) { shutdown(file, CInt(SHUT_RD)) }

  /// Rings whoever watches the other end.
  ///
  /// A socket that is full of rings which nobody has taken refuses another one: all who watch it have been told
  /// of those (see ``DoorbellTable/makeRoom(leaving:)``). One whose other end has gone has nobody to wake.
  package static func ring(_ file: CInt) { _ = clinux_send_byte(file) }

  /// As many bytes have room in any socket, however small a peer makes it (SO_SNDBUF is at least 4608, and
  /// none takes more than 1280).
  private static let fewest = 3
  /// Bytes that are taken at once, and how often: more than an honest process can have sent.
  private static let chunk = 4096
  private static let rounds = 64

  /// Takes rings out of a socket that only this thread receives on, so that others have room.
  ///
  /// - Parameters:
  ///   - file: The watched end.
  ///   - left: How many stay at least, 0 or 1.
  /// - Returns: False when there is no room all the same: a peer sends more than rings.
  static func makeRoom(in file: CInt, leaving left: Int) -> Bool {
    unsafe withUnsafeTemporaryAllocation(byteCount: chunk, alignment: 8) { buffer in
      for _ in 0..<rounds {
        var hasFiles: CInt = 0
        let count = unsafe clinux_peek(file, buffer.baseAddress, buffer.count, &hasFiles)
        // To take descriptors is to close them, which takes as long as their owner likes.
        guard hasFiles == 0 else { return false }
        guard count > (left == 0 ? 0 : fewest) else { return true }
        guard unsafe clinux_take(file, buffer.baseAddress, count - left) > 0 else { return false }
        if count < chunk { return true }
      }
      return false
    }
  }
}

/// One end of a doorbell on which this process rings one other process; of a stranger's, also where that rings
/// the worker.
///
/// The descriptor is open for as long as the object lives.
@safe
package final class PeerBell: @unchecked Sendable {
  /// The process's doorbell number.
  package let number: UInt32
  package let file: CInt
  private let owner: any AnyObject & Sendable

  /// What it is worth to be woken by it. Used by the thread alone that watches it.
  var throttle = RingThrottle()

  /// - Parameters:
  ///   - number: The process's doorbell number.
  ///   - file: The end on which it is rung.
  ///   - owner: What closes that with its last reference.
  package init(_ number: UInt32, _ file: CInt, owner: any AnyObject & Sendable) {
    self.number = number
    self.file = file
    self.owner = owner
  }

  /// Wakes every sleeper of the process.
  package func ring() { BellSocket.ring(file) }
}

/// Counts rings in a row that brought nothing to do. From the eighth on whoever rings is not listened to for a
/// while, which doubles each time.
struct RingThrottle {
  private static let patience = 8
  private static let shortestPause: UInt64 = 1_000_000
  private static let longestPause: UInt64 = 16_000_000

  private var count = 0
  private var pause: UInt64 = 0
  /// Until when nobody listens, monotonic nanoseconds.
  private(set) var until: UInt64 = 0

  /// Whether there was a ring for nothing since the last one for something.
  var hasDoubts: Bool { count > 0 }

  /// - Returns: Whether not to listen until ``until``.
  mutating func noteNothing(at now: UInt64) -> Bool {
    count += 1
    guard count >= Self.patience else { return false }
    pause = min(max(pause * 2, Self.shortestPause), Self.longestPause)
    until = now &+ pause
    return true
  }

  /// Something has been done for whoever rings.
  mutating func forget() { self = RingThrottle() }
}
