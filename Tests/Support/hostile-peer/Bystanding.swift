import Glibc
import Netmap
import Synchronization

/// A page of words that two well-behaved processes share with their test.
///
/// Word 0: whether the sender must stop. Word 1: packets sent. Word 2: packets received.
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
      board.received = number
    }
  }
}
