import Glibc
import Netmap
import NetmapClient
import NetmapCore

/// A sender and a receiver at the two ends of a pipe.
///
/// A pipe drops nothing. What a dead sender has not handed over stays in its ring: the next sender's first sync hands over
/// the slots before the ring's head, and overwrites the others. What a dead receiver has not taken stays for the next
/// receiver, unless both are dead.
final class PipeGroup: SoakGroup {
  var row = LedgerRow(group: "pipe")
  private let bed: SoakBed
  private let connection: DaemonConnection
  private let sender: Int
  private let receiver: Int
  private let seed: UInt64
  private var watch: PortWatch?
  /// Packets that earlier senders had put in their rings.
  private var staged: UInt64 = 0

  init(_ bed: SoakBed, _ connection: DaemonConnection, first: Int, seed: UInt64) {
    self.bed = bed
    self.connection = connection
    (sender, receiver) = (first, first + 1)
    self.seed = seed
  }

  var stations: [Int] { [sender, receiver] }
  var victims: [[Int]] { [[sender], [receiver], [sender, receiver]] }
  var delivered: UInt64 { bed.board[receiver, from: sender].total }
  private var name: String { "pipe\(sender)" }

  private func start(_ station: Int) throws {
    var settings = WorkerSettings()
    settings.seed = seed
    settings.batch = 64
    settings.pause = 300
    settings.isPipe = true
    settings.isStrict = true
    settings.fault = bed.options.fault
    if station == sender { settings.targets = [receiver] }
    try bed.start(station, "netmap:\(name)\(station == sender ? "{" : "}")1", settings)
  }

  func start() throws {
    try start(receiver)
    try start(sender)
    watch = try PortWatch(connection, "\(name){1")
  }

  func kill(_ stations: [Int]) throws {
    for station in stations { bed.kill(station) }
    if stations.contains(sender) { noteSender() }
    if stations.count == 2, let watch {
      let end = now() + 20_000_000_000
      while !watch.isClosed {
        if now() > end { try bed.fail("netmapd has not closed the pipe of dead processes in 20 s") }
        usleep(200)
      }
      try watch.forEachInPipe(noteUnread)
      watch.forget()
      return try start()
    }
    for station in stations { try start(station) }
  }

  private func noteSender() {
    let board = bed.board
    staged += board[sender, .staged]
    row.unsentMax += board[sender, .staged] - board[sender, .confirmed]
    board[sender, .count2] = board[sender, .confirmed]
  }

  /// Counts a packet in the ring of a dead receiver, unless the receiver had recorded it.
  private func noteUnread(_ bytes: RawSpan) throws {
    guard let packet = SoakPacket(bytes), packet.sender == sender else {
      try bed.fail("pipe: a damaged packet was in the ring of a dead receiver")
    }
    var cell = bed.board[receiver, from: sender]
    if packet.incarnation > cell.incarnation {
      (cell.before, cell.count, cell.end) = (cell.total, 0, 0)
      cell.incarnation = packet.incarnation
    }
    if packet.incarnation < cell.incarnation || packet.number < cell.end { return }
    guard packet.number == cell.end else {
      try bed.fail("pipe: packet \(packet.number) was in the ring instead of \(cell.end)")
    }
    // Not `count`: nobody has received it.
    cell.end = packet.number + 1
    bed.board[receiver, from: sender] = cell
    row.unread += 1
  }

  var isQuiet: Bool {
    bed.board.state(of: sender) == .drained && watch?.isPipeEmpty == true
      && bed.hasArrived(at: receiver, from: sender)
  }

  func finish() throws {
    staged += bed.board[sender, .staged]
    row.sent = staged
    row.delivered = delivered
    // What is missing must have been in the rings of dead senders: the row checks that no more is missing.
    let found = row.delivered &+ row.unread
    row.unsent = staged >= found ? staged - found : 0
  }
}
