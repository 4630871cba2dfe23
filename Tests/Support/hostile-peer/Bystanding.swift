import Glibc
import Netmap
import NetmapCore
import ProcessFiles
import StormAttack
import Synchronization

/// A page of words that two well-behaved processes share with their test.
///
/// Word 0: whether the sender must stop. Word 1: packets sent. Word 2: packets received. Word 3: the longest time
/// between two arrivals of packets, nanoseconds. Word 4: the longest such time less the time in which a process that
/// carries the packets waited for a CPU. The test may set both to 0. Word 5: the sender's process. Words 6 and 7: the
/// test's numbers of other processes that carry the packets, or 0.
@safe
struct BystanderBoard {
  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  init(_ path: String) throws {
    let file = unsafe open(path, O_RDWR | O_CLOEXEC)
    guard file >= 0,
      let memory = unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
      unsafe memory != MAP_FAILED
    else { throw AttackError("\(path): errno \(errno)") }
    unsafe words = memory.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  var isStopping: Bool { unsafe words[0].load(ordering: .acquiring) != 0 }

  var sent: UInt64 {
    get { unsafe words[1].load(ordering: .acquiring) }
    nonmutating set { unsafe words[1].store(newValue, ordering: .releasing) }
  }

  var received: UInt64 {
    get { unsafe words[2].load(ordering: .acquiring) }
    nonmutating set { unsafe words[2].store(newValue, ordering: .releasing) }
  }

  /// Records that no packet has arrived for some time.
  func noteGap(_ gap: UInt64, hold: UInt64) {
    for (word, value) in [(3, gap), (4, hold)]
    where unsafe value > words[word].load(ordering: .relaxed) {
      unsafe words[word].store(value, ordering: .relaxed)
    }
  }

  /// The longest gaps so far: a shorter gap needs no closer look.
  var longest: (gap: UInt64, hold: UInt64) {
    unsafe (words[3].load(ordering: .relaxed), words[4].load(ordering: .relaxed))
  }

  func noteSender() { unsafe words[5].store(UInt64(getpid()), ordering: .relaxed) }

  /// The other processes that carry the packets.
  var carriers: [Int32] {
    (5...7).map { unsafe Int32(truncatingIfNeeded: words[$0].load(ordering: .relaxed)) }
  }
}

/// Two processes that exchange numbered packets and attack nothing.
enum Bystanding {
  /// The maximum number of packets in flight, so that no ring can be too full for them.
  private static let window: UInt64 = 256

  private static func content(_ number: UInt64, _ place: Int) -> UInt8 {
    UInt8(truncatingIfNeeded: (number &* 0x9e37_79b9_7f4a_7c15) >> (UInt64(place) % 7 * 8))
  }

  /// Frames are broadcasts, so the switch need not learn any address.
  private static func frame(_ number: UInt64) -> [UInt8] {
    var bytes: [UInt8] = [255, 255, 255, 255, 255, 255, 2, 0, 0, 0x62, 0x79, 1, 0x88, 0xb5]
    for place in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: number >> (8 * UInt64(place)))) }
    while bytes.count < 60 { bytes.append(content(number, bytes.count)) }
    return bytes
  }

  static func send(_ name: String, _ path: String) throws {
    let (port, board) = (try NetmapPort(name, engine: HostEngine.shared), try BystanderBoard(path))
    board.noteSender()
    HostilePeer.say("ready")
    var number: UInt64 = 0
    while !board.isStopping {
      let room = Self.window - min(Self.window, number - min(number, board.received))
      for _ in 0..<min(room, 16) where (try? port.inject(frame(number))) != nil { number += 1 }
      try port.sync(.transmit)
      board.sent = number
      usleep(300)
    }
    HostilePeer.say("sent \(number)")
    HostilePeer.waitForEnd()
  }

  static func receive(_ name: String, _ path: String) throws {
    let (port, board) = (try NetmapPort(name, engine: HostEngine.shared), try BystanderBoard(path))
    HostilePeer.say("ready")
    var number: UInt64 = 0
    var gaps = GapRecorder(board)
    while true {
      try port.wait(for: .receive)
      var ring = port.receiveRing(0)
      while let packet = ring.next() {
        let bytes = (0..<packet.bytes.byteCount).map { packet.bytes[$0] }
        // Other processes on a switch may send broadcasts too.
        guard bytes.count >= 12, Array(bytes[6..<12]) == [2, 0, 0, 0x62, 0x79, 1] else { continue }
        guard bytes == frame(number) else {
          HostilePeer.fail("packet \(number) is \(bytes)")
        }
        number += 1
      }
      if number > board.received { gaps.noteArrival() }
      board.received = number
    }
  }
}

/// Measures the times between arrivals of packets.
private struct GapRecorder {
  private let board: BystanderBoard
  private var lastArrival: UInt64 = 0
  /// When ``waits`` was taken, monotonic nanoseconds.
  private var lastLook: UInt64 = 0
  private var waits = CPUWaits(of: [])

  /// How often to look at the times for which other processes waited for a CPU, nanoseconds.
  private static let lookPause: UInt64 = 10_000_000

  init(_ board: BystanderBoard) {
    self.board = board
  }

  mutating func noteArrival() {
    let now = monotonicNanoseconds()
    defer { lastArrival = monotonicNanoseconds() }
    if lastArrival > 0 {
      let gap = now - lastArrival
      let longest = board.longest
      if gap > longest.gap || gap > longest.hold {
        board.noteGap(gap, hold: gap - min(gap, waits.total))
      }
    }
    let carriers = board.carriers
    // Other tests do not look at the gaps.
    guard carriers[1] > 0, now >= lastLook + Self.lookPause else { return }
    lastLook = now
    waits = CPUWaits(of: [getpid()] + carriers)
  }
}
