import Glibc
import Netmap
import NetmapCore
import NetworkTestbed

/// A sender and a receiver on the two ends of a veth pair, in a network namespace of the soak's own.
///
/// The soak has both ports open as well, so the rings stay when a process dies: the next one finds them as the dead one
/// left them. Ports and interfaces count the packets for which there was no room.
final class InterfaceGroup: SoakGroup {
  var row = LedgerRow(group: "interface")
  private let bed: SoakBed
  private let sender: Int
  private let receiver: Int
  private let seed: UInt64
  private var staged: UInt64 = 0
  private let (near, far): (NetmapPort, NetmapPort)
  private let before: UInt64

  private static let names = ["soak0", "soak1"]
  private static let backend = "@backend:name=xdp,mode=copy"

  /// - Throws: ``SoakError`` when the kernel has no such interfaces, or netmapd cannot open them.
  init(_ bed: SoakBed, first: Int, seed: UInt64) throws {
    self.bed = bed
    (sender, receiver) = (first, first + 1)
    self.seed = seed
    do throws(NetmapError) {
      _ = try VethPair(Self.names[0], Self.names[1])
      near = try NetmapPort("netmap:\(Self.names[0])\(Self.backend)", engine: bed.engine)
      far = try NetmapPort("netmap:\(Self.names[1])\(Self.backend)", engine: bed.engine)
    } catch {
      throw SoakError("\(error)")
    }
    before = try Self.drops()
  }

  var stations: [Int] { [sender, receiver] }
  var victims: [[Int]] { [[sender], [receiver], [sender, receiver]] }
  var delivered: UInt64 { bed.board[receiver, from: sender].total }

  private func start(_ station: Int) throws {
    var settings = WorkerSettings()
    settings.seed = seed
    settings.batch = 16
    settings.pause = 500
    settings.isPipe = true
    settings.fault = bed.options.fault
    if station == sender { settings.targets = [receiver] }
    let name = Self.names[station == sender ? 0 : 1]
    try bed.start(station, "netmap:\(name)\(Self.backend)", settings)
  }

  func start() throws {
    try start(receiver)
    try start(sender)
  }

  func kill(_ stations: [Int]) throws {
    for station in stations { bed.kill(station) }
    if stations.contains(sender) {
      let board = bed.board
      staged += board[sender, .staged]
      row.unsentMax += board[sender, .staged] - board[sender, .confirmed]
    }
    for station in stations { try start(station) }
  }

  /// When the deliveries last grew, and how many there were.
  private var last: (count: UInt64, time: UInt64) = (0, 0)

  var isQuiet: Bool {
    guard bed.board.state(of: sender) == .drained else { return false }
    if delivered != last.count { last = (delivered, now()) }
    return now() - last.time > 500_000_000
  }

  func finish() throws {
    staged += bed.board[sender, .staged]
    row.sent = staged
    row.delivered = delivered
    row.drops = near.statistics.transmit.drops
    row.drops[.kernel] &+= try Self.drops() &- before
    let found = row.delivered &+ row.drops.total
    row.unsent = staged >= found ? staged - found : 0
    near.close()
    far.close()
  }

  /// Frames that the two interfaces have dropped: the sender's on the way out, the receiver's on arrival.
  private static func drops() throws -> UInt64 {
    guard let file = unsafe fopen("/proc/thread-self/net/dev", "r") else {
      throw SoakError("/proc/thread-self/net/dev: errno \(errno)")
    }
    defer { unsafe fclose(file) }
    var sum: UInt64 = 0
    var line = [CChar](repeating: 0, count: 512)
    while unsafe fgets(&line, CInt(line.count), file) != nil {
      let text = String(
        decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      let words = text.split { $0 == " " || $0 == ":" || $0 == "\n" }
      guard words.count == 17, let place = names.firstIndex(of: String(words[0])) else { continue }
      sum += UInt64(words[place == 0 ? 12 : 4]) ?? 0
    }
    return sum
  }
}
