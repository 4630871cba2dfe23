import Netmap
import NetmapCore

/// What happened to the packets of one group of processes.
struct LedgerRow {
  let group: String
  /// Packets that senders sent. On a switch: copies for receivers, as the senders' rings count them.
  var sent: UInt64 = 0
  /// Copies that reached a ring or a counter in a sync that a kill cut off, and that the dead sender's ring did not count.
  var cutOff: UInt64 = 0
  /// The most that ``cutOff`` can be: the packets in the last syncs of the dead senders, times the receivers.
  var cutOffMax: UInt64 = 0
  var delivered: UInt64 = 0
  var drops = DropCounters()
  /// Packets that were in the rings of senders when these died.
  var unsent: UInt64 = 0
  /// The most that ``unsent`` can be: the packets of which the dead senders had not seen the end of the sync.
  var unsentMax: UInt64 = 0
  /// Packets that were in the rings of receivers when these died.
  var unread: UInt64 = 0
  /// The most that ``unread`` can be, where the rings cannot be read: their slots.
  var unreadMax: UInt64?
  var kills = 0
  var stops = 0

  var incoming: UInt64 { sent &+ cutOff }
  var outgoing: UInt64 { delivered &+ drops.total &+ unsent &+ unread }

  /// What is wrong with the row; nil when it adds up.
  var fault: String? {
    if incoming != outgoing { return "\(group): \(incoming) sent, \(outgoing) accounted for" }
    if cutOff > cutOffMax {
      return "\(group): \(cutOff) packets of syncs that were cut off, of \(cutOffMax) possible ones"
    }
    if unsent > unsentMax {
      return "\(group): \(unsent) packets died in senders' rings, which held \(unsentMax)"
    }
    if let unreadMax, unread > unreadMax {
      return "\(group): \(unread) packets died in receivers' rings, which held \(unreadMax)"
    }
    return nil
  }
}

/// The rows of all groups, and their sum.
struct Ledger {
  var rows: [LedgerRow] = []

  var fault: String? { rows.compactMap(\.fault).first }

  private static let columns = [
    "group", "sent", "cut off", "delivered", "dropped", "died unsent", "died unread", "kills",
    "stops",
  ]

  private var cells: [[UInt64]] {
    rows.map {
      [
        $0.sent, $0.cutOff, $0.delivered, $0.drops.total, $0.unsent, $0.unread, UInt64($0.kills),
        UInt64($0.stops),
      ]
    }
  }

  /// The ledger as a table.
  var text: String {
    let cells = cells
    let sums = Self.columns.indices.dropFirst().map { column in
      cells.reduce(UInt64(0)) { $0 &+ $1[column - 1] }
    }
    var lines = [
      "| " + Self.columns.joined(separator: " | ") + " |",
      "|---|" + Self.columns.dropFirst().map { _ in "---:|" }.joined(),
    ]
    for (row, numbers) in zip(rows, cells) {
      lines.append("| \(row.group) | " + numbers.map(Self.grouped).joined(separator: " | ") + " |")
    }
    lines.append("| **sum** | " + sums.map(Self.grouped).joined(separator: " | ") + " |")
    let (incoming, outgoing) = (sums[0] &+ sums[1], sums[2] &+ sums[3] &+ sums[4] &+ sums[5])
    lines.append("")
    lines.append(
      "sent + cut off = \(Self.grouped(incoming)); delivered + dropped + died ="
        + " \(Self.grouped(outgoing)): \(incoming == outgoing ? "equal" : "NOT EQUAL")")
    for row in rows where row.drops.total > 0 {
      lines.append("dropped in \(row.group): \(row.drops)")
    }
    return lines.joined(separator: "\n")
  }

  /// The ledger as one JSON object for each row.
  var json: String {
    rows.map { row in
      let reasons = DropReason.allCases.filter { row.drops[$0] > 0 }
        .map { "\"\($0.name)\":\(row.drops[$0])" }.joined(separator: ",")
      return "{\"group\":\"\(row.group)\",\"sent\":\(row.sent),\"cut_off\":\(row.cutOff),"
        + "\"delivered\":\(row.delivered),\"dropped\":\(row.drops.total),\"reasons\":{\(reasons)},"
        + "\"died_unsent\":\(row.unsent),\"died_unread\":\(row.unread),\"kills\":\(row.kills),"
        + "\"stops\":\(row.stops),\"adds_up\":\(row.fault == nil)}"
    }.joined(separator: "\n")
  }

  /// A number with its thousands apart.
  static func grouped(_ number: UInt64) -> String {
    var text = ""
    for (place, digit) in String(number).reversed().enumerated() {
      if place > 0, place % 3 == 0 { text = " " + text }
      text = "\(digit)" + text
    }
    return text
  }
}
