import Glibc
import Netmap
import NetmapCore

/// A sender and a receiver at the two ends of a pipe, each with an isolated port, whose packets netmapd's worker carries.
///
/// A process that dies takes the rings between itself and the worker with it, and the soak cannot read them: the ledger
/// bounds what was in them by their slots.
final class IsolatedGroup: SoakGroup {
  var row = LedgerRow(group: "isolated")
  private let bed: SoakBed
  private let sender: Int
  private let receiver: Int
  private let seed: UInt64
  private var staged: UInt64 = 0

  /// The packets that a ring can hold.
  private static let ringPackets: UInt64 = 1023

  init(_ bed: SoakBed, first: Int, seed: UInt64) {
    self.bed = bed
    (sender, receiver) = (first, first + 1)
    self.seed = seed
    row.unreadMax = 0
  }

  var stations: [Int] { [sender, receiver] }
  var victims: [[Int]] { [[sender], [receiver], [sender, receiver]] }
  var delivered: UInt64 { bed.board[receiver, from: sender].total }

  private func start(_ station: Int) throws {
    var settings = WorkerSettings()
    settings.seed = seed
    settings.batch = 32
    settings.pause = 300
    settings.isStrict = true
    settings.mayMiss = true
    settings.fault = bed.options.fault
    if station == sender { settings.targets = [receiver] }
    try bed.start(
      station, "netmap:apart\(sender)\(station == sender ? "{" : "}")1/i", settings)
  }

  func start() throws {
    try start(receiver)
    try start(sender)
  }

  func kill(_ stations: [Int]) throws {
    for station in stations { bed.kill(station) }
    let board = bed.board
    var rings = 0
    if stations.contains(sender) {
      staged += board[sender, .staged]
      row.unsentMax += board[sender, .staged] - board[sender, .confirmed]
      // The worker carries what the sender has handed over, for two seconds at most.
      rings += 1
      // A gap before the next process is not one that the receiver can judge.
      board[sender, .count2] = 0
    }
    if stations.contains(receiver) { rings += 1 }
    // The pipe between the two carried ports ends when both are closed.
    if stations.count == 2 { rings += 1 }
    row.unreadMax = (row.unreadMax ?? 0) + UInt64(rings) * Self.ringPackets
    for station in stations.reversed() { try start(station) }
  }

  var isQuiet: Bool {
    bed.board.state(of: sender) == .drained && bed.hasArrived(at: receiver, from: sender)
  }

  func finish() throws {
    staged += bed.board[sender, .staged]
    row.sent = staged
    row.delivered = delivered
    let missing = staged >= row.delivered ? staged - row.delivered : 0
    row.unsent = min(missing, row.unsentMax)
    row.unread = missing - row.unsent
  }
}
